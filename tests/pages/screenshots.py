"""Takes the pictures of docs/screenshots, which README.md shows: `make screenshots`."""

import asyncio
import tempfile
from pathlib import Path

from playwright.async_api import Page, async_playwright, expect

from tests.harness import RouterControl, ServerProcess, free_port
from tests.pages.browser import DESK, PHONE, Scheme, banner, button, card, launch, outcome, visit
from tests.pages.conftest import held_settings
from tests.pages.scene import RUNNING, begin_two, end_some

PICTURES = Path(__file__).parent.parent.parent / "docs" / "screenshots"
USER = 7
PACE_SECONDS = 0.5
ROUTER_SECONDS = 2.0
"""How long the router takes for each answer."""
WORK_MS = 60_000
BEFORE = range(21, 26)
"""Connections that were removed earlier, so that it is known how long that takes."""


async def look(page: Page, screen: tuple[int, int], scheme: Scheme) -> None:
    """See the page on another screen, from its top, with nothing half-way in motion."""
    width, height = screen
    await page.set_viewport_size({"width": width, "height": height})
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    await page.mouse.move(0, 0)
    await page.evaluate("scrollTo(0, 0)")


async def work_before(page: Page) -> None:
    """Remove some, and put their cards away."""
    for number in BEFORE:
        await button(page, "Eliminar", number).click()
    for number in BEFORE:
        await outcome(page, number, "Completada")
        await card(page, number).get_by_role("button", name="Cerrar").click()


async def take(page: Page) -> None:
    """Take them all of one afternoon."""
    for number in RUNNING:
        await expect(card(page, number).locator(".time")).to_contain_text("falta")
    await look(page, DESK, "light")
    await page.screenshot(path=PICTURES / "desk-light.png")
    await look(page, DESK, "dark")
    await page.screenshot(path=PICTURES / "desk-dark.png")
    await look(page, PHONE, "light")
    await page.screenshot(path=PICTURES / "phone-light.png")
    await look(page, PHONE, "dark")
    await page.context.set_offline(True)
    await banner(page).wait_for()
    await card(page, RUNNING[-1]).evaluate("card => scrollTo(0, card.offsetTop - 180)")
    await expect(page.locator("#muelle")).to_be_hidden()
    await page.screenshot(path=PICTURES / "phone-dark.png")


async def main() -> None:
    """Start a server and a browser, and work at the page."""
    PICTURES.mkdir(exist_ok=True)
    port = free_port()
    settings = held_settings(port, demo_pace_seconds=PACE_SECONDS)
    with tempfile.TemporaryDirectory() as directory:
        async with (
            async_playwright() as playwright,
            await launch(playwright) as browser,
            ServerProcess(Path(directory), arguments=["--demo"], settings=settings) as server,
            visit(browser, server.url, USER) as visitor,
        ):
            visitor.context.set_default_timeout(WORK_MS)
            page = await visitor.open()
            router = RouterControl(port)
            await router.behave("slow", delay_seconds=ROUTER_SECONDS)
            await work_before(page)
            await end_some(visitor, page, server, router)
            await router.behave("slow", delay_seconds=ROUTER_SECONDS)
            await begin_two(page)
            visitor.is_cut_off = True
            await take(page)


if __name__ == "__main__":
    asyncio.run(main())
