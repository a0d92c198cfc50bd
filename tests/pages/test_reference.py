"""The reference in a browser: complete in itself, and for everybody."""

import pytest
from playwright.async_api import expect

from tests.pages.browser import DESK, Scheme
from tests.pages.conftest import Visit
from tests.pages.test_access import AXE, NARROW, found_by_axe

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="package")]

LOOKS: tuple[tuple[tuple[int, int], Scheme], ...] = ((DESK, "dark"), (NARROW, "light"))


async def test_reference_is_for_everybody(visiting: Visit) -> None:
    """The visitor complains of what is asked elsewhere, forbidden by the policy, or said on the console."""
    async with visiting() as visitor:
        page = await visitor.context.new_page()
        await page.goto(f"{visitor.url}/docs")
        await page.get_by_role("navigation").get_by_role("link", name="/sse/progress").first.click()
        await expect(page.locator(":target")).to_be_in_viewport()
        await page.evaluate(AXE.read_text())
        for (width, height), scheme in LOOKS:
            await page.set_viewport_size({"width": width, "height": height})
            await page.emulate_media(color_scheme=scheme)
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
            assert await found_by_axe(page) == [], (width, scheme)
