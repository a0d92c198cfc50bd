"""The page for everybody: with a keyboard, a screen reader, a phone, in the dark."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.harness import RouterControl, ServerProcess, free_port
from tests.pages.browser import DESK, PHONE, Scheme, banner, card, in_step, outcome, row
from tests.pages.conftest import Visit, held_settings
from tests.pages.scene import RUNNING, make_busy

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="package")]

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
NARROW = (320, 640)
"""To which a page must shrink without scrolling sideways (WCAG 2.2, 1.4.10)."""
FINGER_PX = 44


async def found_by_axe(page: Page) -> list[dict[str, Any]]:
    """What axe says is wrong, in short."""
    violations: list[dict[str, Any]] = await page.evaluate(
        """async () => (await axe.run(document)).violations.map(
            ({ id, impact, nodes }) => ({ id, impact, where: nodes.map(({ html }) => html) }))"""
    )
    return violations


async def test_axe_finds_nothing_on_any_screen(visiting: Visit, tmp_path: Path) -> None:
    port = free_port()
    async with (
        ServerProcess(tmp_path, arguments=["--demo"], settings=held_settings(port)) as server,
        visiting(server, reduced_motion="reduce") as visitor,
    ):
        page = await visitor.open()
        await make_busy(visitor, page, server, RouterControl(port))
        await page.locator("#historial summary").click()
        await expect(page.locator("#historial-lista li")).to_have_count(3 + len(RUNNING))
        await page.evaluate(AXE.read_text())
        visitor.is_cut_off = True
        for is_offline in (False, True):
            await visitor.context.set_offline(is_offline)
            await expect(banner(page)).to_be_visible(visible=is_offline)
            for width, height in (DESK, PHONE):
                await page.set_viewport_size({"width": width, "height": height})
                for scheme in SCHEMES:
                    await page.emulate_media(color_scheme=scheme)
                    assert await found_by_axe(page) == [], (width, scheme, is_offline)


async def test_keyboard_is_enough_and_its_place_is_never_lost(visiting: Visit, router: RouterControl) -> None:
    async with visiting() as visitor:
        page = await visitor.open()
        press = page.keyboard.press

        async def stands_on(place: Locator) -> None:
            await expect(place).to_be_focused()
            assert await place.evaluate("it => getComputedStyle(it).outlineStyle") == "solid"

        await press("Tab")
        await stands_on(page.get_by_role("link", name="Saltar a las operaciones"))
        await press("Enter")
        await expect(page.locator("#operaciones")).to_be_focused()
        await page.get_by_role("searchbox").focus()
        await page.keyboard.type("10.0.0.21")
        await expect(page.locator("#conexiones .row")).to_have_count(1)
        await router.behave("unreachable")
        await press("Tab")
        await stands_on(page.get_by_role("button", name="Eliminar: conexión 21"))
        await press("Enter")
        await stands_on(page.get_by_role("button", name="Ver progreso: conexión 21"))
        await press("Enter")
        await stands_on(card(page, 21).get_by_role("heading"))
        await in_step(page, 21, "Router")
        await press("Tab")
        await stands_on(card(page, 21).get_by_role("button", name="Cancelar"))
        await press("Enter")
        await stands_on(card(page, 21).get_by_role("heading"))
        await router.behave("normal")
        await outcome(page, 21, "Cancelada")
        await press("Tab")
        await stands_on(card(page, 21).get_by_role("button", name="Empezar de nuevo"))
        await press("Enter")
        await outcome(page, 21, "Completada")
        await stands_on(card(page, 21).get_by_role("heading"))
        await press("Tab")
        await press("Enter")
        await expect(card(page, 21)).to_have_count(0)
        await expect(page.locator("#operaciones")).to_be_focused()
        await press("Tab")
        await stands_on(page.locator("#historial summary"))
        await press("Enter")
        await expect(page.locator("#historial-lista li").first).to_contain_text("Conexión 21Completada")
        await expect(row(page, 21)).to_contain_text("Eliminada")
    assert len(visitor.asked) == 1


async def test_phone_has_room_for_all_and_buttons_for_fingers(visiting: Visit, router: RouterControl) -> None:
    async with visiting(screen=NARROW) as visitor:
        page = await visitor.open()
        await router.behave("unreachable")
        await row(page, 22).get_by_role("button").click()
        dock = page.locator("#muelle")
        await expect(dock).to_have_text("1 operación en curso · 40 %")
        small = await page.evaluate(
            """least => [...document.querySelectorAll('button, input')]
                .filter((it) => it.checkVisibility() && it.getBoundingClientRect().height < least)
                .map((it) => it.outerHTML)""",
            FINGER_PX,
        )
        assert small == []
        assert await page.evaluate("document.documentElement.scrollWidth") == NARROW[0]
        await dock.click()
        await expect(card(page, 22)).to_be_in_viewport()
        await expect(dock).to_be_hidden()  # it would only cover what it sums up
        await router.behave("normal")
        await outcome(page, 22, "Completada")
        assert await page.evaluate("document.documentElement.scrollWidth") == NARROW[0]
