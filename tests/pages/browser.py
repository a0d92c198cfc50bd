"""A person at the page: real Chromium, driven from outside."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Locator,
    Page,
    Playwright,
    Request,
    expect,
)

WAIT_MS = 15_000
expect.set_options(timeout=WAIT_MS)
DESK, PHONE = (1280, 800), (390, 844)
"""Two screens, in CSS pixels."""

Scheme = Literal["light", "dark"]

LOADING = "Failed to load resource"
"""What the browser itself complains of where the network or the server says no."""


async def launch(playwright: Playwright) -> Browser:
    """Start the system's Chromium; Playwright's own need not be there."""
    path = shutil.which("chromium")
    assert path is not None, "Chromium is not installed: run `make test`, or tests/pages/install"
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    return await playwright.chromium.launch(executable_path=path, args=[*as_root, "--disable-dev-shm-usage"])


class Visitor:
    """A browser of somebody's own: storage, tabs, and what went wrong in any of them."""

    def __init__(self, context: BrowserContext, url: str, user: int) -> None:
        self.context = context
        self.url = url
        self.user = user
        self.complaints: list[str] = []
        self.asked: list[str] = []
        """What native dialogs asked."""
        self.confirms = True
        self.is_cut_off = False
        """Whether requests may fail: then the browser's own words about that are no complaint."""
        context.set_default_timeout(WAIT_MS)
        context.on("console", self._hear)
        context.on("weberror", lambda error: self.complaints.append(f"uncaught: {error.error}"))
        context.on("dialog", self._answer)
        context.on("request", self._see)

    async def open(self, path: str = "/") -> Page:
        """Open a tab; it is up to date when this returns."""
        page = await self.context.new_page()
        await page.goto(f"{self.url}{path}?userId={self.user}")
        await self.live(page)
        return page

    async def live(self, page: Page) -> None:
        """Wait until the page says that it is told of everything."""
        await page.locator('#senal[data-state="live"]').wait_for()

    async def _answer(self, dialog: Dialog) -> None:
        self.asked.append(dialog.message)
        await (dialog.accept() if self.confirms else dialog.dismiss())

    def _see(self, request: Request) -> None:
        if not request.url.startswith(self.url):
            self.complaints.append(f"asks elsewhere: {request.url}")

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type not in {"error", "warning"}:
            return
        if self.is_cut_off and (message.text.startswith((LOADING, "WebSocket connection to"))):
            return
        self.complaints.append(f"{message.type}: {message.text}")


@asynccontextmanager
async def visit(
    browser: Browser,
    url: str,
    user: int,
    *,
    screen: tuple[int, int] = DESK,
    scheme: Scheme = "light",
    **options: Any,
) -> AsyncIterator[Visitor]:
    """A visitor, who must have had nothing to complain of in the end."""
    width, height = screen
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, locale="es-ES", **options
    )
    visitor = Visitor(context, url, user)
    try:
        yield visitor
    finally:
        await context.close()
    assert not visitor.complaints, visitor.complaints


def button(page: Page, what: str, number: int) -> Locator:
    """The button of a connection's row."""
    return page.get_by_role("button", name=f"{what}: conexión {number}", exact=True)


def row(page: Page, number: int) -> Locator:
    """A connection's row."""
    return page.locator("#conexiones .row").filter(
        has=page.get_by_role("heading", name=f"Conexión {number}", exact=True)
    )


def card(page: Page, number: int) -> Locator:
    """The card of a connection's operation."""
    return page.get_by_role("article", name=f"Conexión {number}", exact=True)


async def outcome(page: Page, number: int, name: str) -> None:
    """Wait until the card says so."""
    await card(page, number).locator(".card-head .pill").get_by_text(name, exact=True).wait_for()


async def in_step(page: Page, number: int, step: str) -> None:
    """Wait until that step runs."""
    line = card(page, number).locator('li[data-status="in_progress"]')
    await line.get_by_text(step, exact=True).wait_for()


def banner(page: Page) -> Locator:
    """What is said where the page may not be up to date."""
    return page.locator("#aviso")


async def try_again(page: Page) -> None:
    """Press the banner's button, also where the page has been quicker and the banner is gone."""
    await page.locator("#aviso-boton").dispatch_event("click")


async def total(page: Page, number: int) -> int:
    """How far the whole bar is."""
    bar = card(page, number).get_by_role("progressbar", name=f"Conexión {number}: avance total", exact=True)
    return int(await bar.get_attribute("aria-valuenow") or "-1")
