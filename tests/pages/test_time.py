"""How long work has taken, and how long it still takes, as the page tells it."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import Route, expect

from tests.harness import RouterControl, ServerProcess, free_port
from tests.pages.browser import button, card, in_step, outcome, total
from tests.pages.conftest import Visit, held_settings

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.asyncio(loop_scope="package")]

SLOW_PACE_SECONDS = 3
"""Work takes as long as it takes the page to look for what is foreseen, which it does every two seconds."""


async def test_page_that_comes_late_sees_how_far_it_is_and_since_when(
    visiting: Visit, router: RouterControl
) -> None:
    async with visiting() as visitor:
        page = await visitor.open()
        await router.behave("unreachable")
        await button(page, "Eliminar", 9).click()
        await in_step(page, 9, "Router")
        await expect(card(page, 9).locator(".time")).to_have_text("Lleva 1 s")
        later = await visitor.context.new_page()
        await later.goto(page.url)
        await in_step(later, 9, "Router")
        assert await total(later, 9) == 40
        lasted = await card(later, 9).locator(".time").inner_text()
        assert int(lasted.split()[1]) >= 1
        await router.behave("normal")
        await asyncio.gather(*(outcome(it, 9, "Completada") for it in (page, later)))


async def test_page_that_comes_late_to_a_retry_does_not_count_from_the_first_attempt(
    visiting: Visit, router: RouterControl
) -> None:
    async def hours_ago(route: Route) -> None:
        answer = await (await route.fetch()).json()
        for operation in answer["operations"]:
            operation["started_at"] = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
        looked_up.set()
        await route.fulfill(json=answer)

    looked_up = asyncio.Event()
    async with visiting() as visitor:
        page = await visitor.open()
        await router.behave("refusing")
        await button(page, "Eliminar", 24).click()
        await outcome(page, 24, "Fallida")
        await router.behave("unreachable")
        await card(page, 24).get_by_role("button", name="Reintentar").click()
        await in_step(page, 24, "Router")
        await page.close()
        await visitor.context.route("**/api/operaciones?limit=100", hours_ago)
        later = await visitor.open()
        await in_step(later, 24, "Router")
        await looked_up.wait()
        await expect(card(later, 24).locator(".time")).to_have_text(re.compile(r"^Lleva ([2-9]|1\d) s"))
        await router.behave("normal")
        await outcome(later, 24, "Completada")


async def test_time_that_is_left_and_silence_are_told_where_the_server_knows(
    visiting: Visit, router: RouterControl
) -> None:
    foreseen: dict[str, object] = {}
    silent: dict[str, object] = {}

    async def foresee(route: Route) -> None:
        answer = await (await route.fetch()).json()
        for operation in answer["operations"]:
            operation.update(foreseen)
            operation["steps"][1].update(silent)
        await route.fulfill(json=answer)

    def after(seconds: float) -> str:
        return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()

    async with visiting() as visitor:
        await visitor.context.route("**/api/operaciones?limit=100", foresee)
        page = await visitor.open()
        await router.behave("unreachable")
        await button(page, "Eliminar", 23).click()
        await in_step(page, 23, "Router")
        time = card(page, 23).locator(".time")
        foreseen["estimate"] = {"p50": after(3), "p90": after(20)}  # as docs/protocol.md has it
        await expect(time).to_have_text(re.compile(r"^Lleva .* · faltan entre \d s y 1\d s$"))
        await expect(time).to_have_text(re.compile(r"^Lleva .* · falta menos de 1\d s$"))
        foreseen.clear()
        silent["stalled"] = True
        await expect(time).to_have_text(re.compile(r"^Lleva \d s$"))
        told = card(page, 23).get_by_text("Sin noticias desde hace más de lo habitual")
        await expect(told).to_be_visible()
        await router.behave("normal")
        await outcome(page, 23, "Completada")
        await expect(told).to_be_hidden()


async def test_time_that_is_left_is_learned_from_five_removals(visiting: Visit, tmp_path: Path) -> None:
    settings = held_settings(free_port(), demo_pace_seconds=SLOW_PACE_SECONDS)
    async with (
        ServerProcess(tmp_path, arguments=["--demo"], settings=settings) as server,
        visiting(server) as visitor,
        server.http(user=visitor.user) as http,
    ):

        async def remove(number: int) -> None:
            headers = {"X-Operation-ID": f"op-{number}"}
            await http.post("/api/conexiones/eliminar", json={"id_conexion": number}, headers=headers)

        page = await visitor.open()
        await asyncio.gather(*(remove(number) for number in range(1, 6)))
        await button(page, "Eliminar", 6).click()
        await expect(card(page, 6).locator(".time")).to_have_text(re.compile("^Lleva .* · faltan? "))
        await outcome(page, 6, "Completada")
