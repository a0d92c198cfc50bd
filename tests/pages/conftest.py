"""One Chromium for all tests of the pages, and a demo server a module whose work can be held.

These tests share one event loop, since the browser belongs to the loop that started it.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.conftest import demo_settings
from tests.harness import RouterControl, ServerProcess, free_port
from tests.pages.browser import Visitor, launch, visit

PACE_SECONDS = 0.1
STREAMS = 3
"""How many connections a person may have: fewer than they have tabs."""


class Visit(Protocol):
    """Opens a browser of somebody's own at a server; by default the module's, as the test's user."""

    def __call__(
        self, at: ServerProcess | None = None, **options: Any
    ) -> AbstractAsyncContextManager[Visitor]: ...


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    """It starts in a second, and each test has a context of its own in it."""
    async with async_playwright() as playwright:
        chromium = await launch(playwright)
        yield chromium
        await chromium.close()


def held_settings(router_port: int, **settings: object) -> dict[str, object]:
    """The environment of a demo whose router can hold the work for as long as a test wants."""
    return demo_settings(
        {
            "demo_pace_seconds": PACE_SECONDS,
            "demo_router_bind": f"127.0.0.1:{router_port}",
            "streams_per_user": STREAMS,
            "router_timeout_seconds": 50,
            "router_attempts": 1,
            **settings,
        }
    )


@pytest.fixture(scope="module")
def router() -> RouterControl:
    """The module's router: `unreachable` holds the work at it until it is `normal` again."""
    return RouterControl(free_port())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    tmp_path_factory: pytest.TempPathFactory, router: RouterControl
) -> AsyncIterator[ServerProcess]:
    """See `held_settings`; it must end well and without a traceback in its log."""
    port = int(router.url.rpartition(":")[2])
    async with ServerProcess(
        tmp_path_factory.mktemp("server"), arguments=["--demo"], settings=held_settings(port)
    ) as one:
        yield one
        assert await one.terminate() == 0, one.tail()
        assert "Traceback" not in one.log, one.log


@pytest.fixture
def visiting(browser: Browser, server: ServerProcess, user: int) -> Visit:
    """Come to the page: `async with visiting() as visitor`."""

    def come(at: ServerProcess | None = None, **options: Any) -> AbstractAsyncContextManager[Visitor]:
        return visit(browser, (at or server).url, user, **options)

    return come
