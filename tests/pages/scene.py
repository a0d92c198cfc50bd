"""A busy afternoon at the page: a bit of everything that it can show."""

from playwright.async_api import Page

from tests.harness import RouterControl, ServerProcess
from tests.pages.browser import Visitor, button, in_step, outcome, try_again

INTERRUPTED, COMPLETED, FAILED, RUNNING = 3, 4, 6, (8, 9)
"""The connections whose operations are so."""


async def make_busy(visitor: Visitor, page: Page, server: ServerProcess, router: RouterControl) -> None:
    """Bring it about, on a server of one's own, which is killed for it and started again."""
    await end_some(visitor, page, server, router)
    await router.behave("unreachable")
    await begin_two(page)


async def end_some(visitor: Visitor, page: Page, server: ServerProcess, router: RouterControl) -> None:
    """Have one interrupted, one completed and one failed."""
    await router.behave("unreachable")
    await button(page, "Eliminar", INTERRUPTED).click()
    await in_step(page, INTERRUPTED, "Router")
    visitor.is_cut_off = True
    await server.kill()
    await server.start()
    await try_again(page)
    await visitor.live(page)
    visitor.is_cut_off = False
    await outcome(page, INTERRUPTED, "Interrumpida")
    await button(page, "Eliminar", COMPLETED).click()
    await outcome(page, COMPLETED, "Completada")
    await router.behave("refusing")
    await button(page, "Eliminar", FAILED).click()
    await outcome(page, FAILED, "Fallida")


async def begin_two(page: Page) -> None:
    """Have two at work, for as long as the router takes."""
    for number in RUNNING:
        await button(page, "Eliminar", number).click()
        await in_step(page, number, "Router")
