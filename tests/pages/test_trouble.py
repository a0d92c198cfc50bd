"""The page while the server dies, the network goes, a proxy interferes, the house is full: it never lies."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from playwright.async_api import Route, WebSocket, expect

from tests.harness import RouterControl, ServerProcess, eventually, free_port
from tests.pages.browser import banner, button, card, in_step, outcome, row, total, try_again
from tests.pages.conftest import STREAMS, Visit, held_settings

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.asyncio(loop_scope="package")]

TABS = 6
OFFLINE_SECONDS = 20


async def connections(server: ServerProcess) -> int:
    """How many streams and sockets of anybody the server counts."""
    async with server.http() as http:
        open_now: int = (await http.get("/api/metricas")).json()["activeConnections"]
        return open_now


async def are_open(server: ServerProcess, number: int) -> None:
    """Wait until there are so many; those that were closed take a moment to be gone."""

    async def counted() -> bool:
        return await connections(server) == number

    await eventually(counted)


async def test_killed_server_leaves_the_bar_where_it_was_and_the_work_interrupted(
    visiting: Visit, tmp_path: Path
) -> None:
    router_port = free_port()
    async with (
        ServerProcess(tmp_path, arguments=["--demo"], settings=held_settings(router_port)) as server,
        visiting(server) as visitor,
    ):
        page = await visitor.open()
        await RouterControl(router_port).behave("unreachable")
        await button(page, "Eliminar", 1).click()
        await in_step(page, 1, "Router")
        assert await total(page, 1) == 40
        visitor.is_cut_off = True
        await server.kill()
        await expect(banner(page)).to_contain_text("Sin conexión con el servidor. Lo que se ve es de antes")
        assert await total(page, 1) == 40
        await expect(card(page, 1)).to_have_class("card stale")
        await outcome(page, 1, "En curso")  # nobody knows better
        await button(page, "Eliminar", 2).click()
        await expect(card(page, 2)).to_contain_text("se enviará en cuanto el servidor responda")
        await expect(banner(page).get_by_role("button", name="Reintentar ahora")).to_be_enabled()
        await server.start()
        await try_again(page)
        await visitor.live(page)
        await expect(banner(page)).to_be_hidden()
        await outcome(page, 1, "Interrumpida")
        await expect(card(page, 1)).to_contain_text("El trabajo se cortó a medias")
        stopped = card(page, 1).locator('li[data-status="interrupted"]')
        await expect(stopped).to_contain_text("Interrumpido en el paso Router")
        assert await total(page, 1) == 100 // 3
        await outcome(page, 2, "Completada")
        visitor.is_cut_off = (
            False  # before it ordered anew, it asked whether the server knows of the order: 404
        )
        await card(page, 1).get_by_role("button", name="Reintentar").click()
        await outcome(page, 1, "Completada")
        await expect(row(page, 1)).to_contain_text("Eliminada")


async def test_without_network_for_a_while_it_says_so_and_misses_nothing(
    visiting: Visit, server: ServerProcess, router: RouterControl
) -> None:
    number = 11
    async with visiting() as visitor:
        page = await visitor.open()
        await router.behave("unreachable")
        await button(page, "Eliminar", number).click()
        await in_step(page, number, "Router")
        visitor.is_cut_off = True
        await visitor.context.set_offline(True)
        await expect(banner(page)).to_contain_text("Sin red. El trabajo sigue en el servidor")
        await router.behave("normal")
        async with server.http(user=visitor.user) as http:
            (operation,) = (await http.get("/api/operaciones")).json()["operations"]
            await http.get(f"/sse/operations/{operation['operation_id']}")  # until its end
        await asyncio.sleep(OFFLINE_SECONDS)  # it tries in vain meanwhile
        assert await total(page, number) == 40
        await outcome(page, number, "En curso")
        await visitor.context.set_offline(False)
        await outcome(page, number, "Completada")
        await expect(banner(page)).to_be_hidden()
        await expect(row(page, number)).to_contain_text("Eliminada")


async def test_silent_stream_is_doubted_where_nothing_else_answers(
    visiting: Visit, router: RouterControl
) -> None:
    async with visiting() as visitor:
        page = await visitor.open()
        await router.behave("unreachable")
        await button(page, "Eliminar", 21).click()
        await in_step(page, 21, "Router")
        visitor.is_cut_off = True
        async with page.expect_request("**/sse/progress?*"):
            await page.route("**/api/operaciones?limit=100", lambda route: route.abort())
        await page.unroute("**/api/operaciones?limit=100")
        await visitor.live(page)
        await expect(banner(page)).to_be_hidden()
        await router.behave("normal")
        await outcome(page, 21, "Completada")


async def test_order_that_waits_for_the_network_can_be_withdrawn(
    visiting: Visit, server: ServerProcess
) -> None:
    async with visiting() as visitor:
        page = await visitor.open()
        visitor.is_cut_off = True
        await visitor.context.set_offline(True)
        await button(page, "Eliminar", 19).click()
        await outcome(page, 19, "Enviando…")
        async with page.expect_request("**/cancelar"):  # it may have arrived all the same
            await card(page, 19).get_by_role("button", name="Cancelar").click()
        await outcome(page, 19, "Retirada")
        await visitor.context.set_offline(False)
        await visitor.live(page)
        visitor.is_cut_off = False
        await button(page, "Eliminar", 20).click()
        await outcome(page, 20, "Completada")
        await outcome(page, 19, "Retirada")
        await expect(row(page, 19)).to_contain_text("Activa")
        async with server.http(user=visitor.user) as http:
            (only,) = (await http.get("/api/operaciones")).json()["operations"]
        assert only["operation_id"].startswith("eliminar-conexion-20-")
        await card(page, 19).get_by_role("button", name="Cerrar").click()
        await expect(card(page, 19)).to_have_count(0)


async def test_six_tabs_share_one_connection_which_outlives_the_tab_that_holds_it(
    visiting: Visit, server: ServerProcess, router: RouterControl
) -> None:
    await are_open(server, 0)
    async with visiting() as visitor:
        first, *others = [await visitor.open() for _ in range(TABS)]
        assert await connections(server) == 1
        await router.behave("unreachable")
        await button(others[0], "Eliminar", 12).click()
        for page in (first, *others):
            await in_step(page, 12, "Router")
            assert await total(page, 12) == 40
        await first.close()
        await router.behave("normal")
        for page in others:
            await outcome(page, 12, "Completada")
            await visitor.live(page)
        await are_open(server, 1)


@pytest.mark.parametrize("way", ["cut", "forbidden"])
async def test_blocked_stream_gives_way_to_the_websocket(visiting: Visit, user: int, way: str) -> None:
    async def block(route: Route) -> None:
        await (route.abort() if way == "cut" else route.fulfill(status=403))

    def keep(socket: WebSocket) -> None:
        sockets.append(socket)

    number = {"cut": 13, "forbidden": 14}[way]
    sockets: list[WebSocket] = []
    async with visiting() as visitor:
        visitor.is_cut_off = True
        await visitor.context.route("**/sse/progress?*", block)
        visitor.context.on("page", lambda page: page.on("websocket", keep))
        page = await visitor.open()
        visitor.is_cut_off = False
        (socket,) = sockets
        assert f"/ws/progress?userId={user}" in socket.url
        await button(page, "Eliminar", number).click()
        await outcome(page, number, "Completada")
        await expect(card(page, number).locator('li[data-status="completed"]')).to_have_count(3)
        assert sockets == [socket]


async def test_full_house_is_told_and_waited_out(visiting: Visit, server: ServerProcess) -> None:
    async with visiting() as visitor, AsyncExitStack() as others:
        quiet = await visitor.open()
        regions = quiet.get_by_role("status")  # who listens to them must find them before they tell
        await expect(regions).to_have_count(2)
        await expect(banner(quiet)).to_be_hidden()
        await quiet.close()
        await are_open(server, 0)
        http = await others.enter_async_context(server.http(user=visitor.user))
        for _ in range(STREAMS):
            await others.enter_async_context(http.stream("GET", "/sse/progress"))
        visitor.is_cut_off = True
        page = await visitor.context.new_page()
        await page.goto(f"{visitor.url}/?userId={visitor.user}")
        await expect(banner(page)).to_contain_text("El servidor está ocupado o hay demasiadas ventanas")
        await others.aclose()
        await visitor.live(page)
        visitor.is_cut_off = False
        await expect(banner(page)).to_be_hidden()
        await button(page, "Eliminar", 15).click()
        await outcome(page, 15, "Completada")


async def test_order_that_is_refused_for_now_is_sent_again_and_done_once(
    visiting: Visit, server: ServerProcess
) -> None:
    refusals = [429, 503]

    async def refuse(route: Route) -> None:
        if refusals:
            await route.fulfill(status=refusals.pop(0), headers={"Retry-After": "0"})
        else:
            await route.continue_()

    async with visiting() as visitor:
        page = await visitor.open()
        visitor.is_cut_off = True
        await page.route("**/api/conexiones/eliminar", refuse)
        await button(page, "Eliminar", 16).click()
        await outcome(page, 16, "Enviando…")
        await outcome(page, 16, "Completada")
        assert refusals == []
        async with server.http(user=visitor.user) as http:
            (operation,) = (await http.get("/api/operaciones")).json()["operations"]
        assert [step["attempt"] for step in operation["steps"]] == [1, 1, 1]


async def test_order_that_is_refused_for_good_says_why_until_there_is_news(
    visiting: Visit, server: ServerProcess
) -> None:
    identities: list[str] = []

    async def refuse(route: Route) -> None:
        identities.append(route.request.headers["x-operation-id"])
        await route.fulfill(status=409, json={"success": False, "message": "Hoy no se elimina nada"})

    async with visiting() as visitor:
        page = await visitor.open()
        visitor.is_cut_off = True
        await page.route("**/api/conexiones/eliminar", refuse)
        await button(page, "Eliminar", 17).click()
        await outcome(page, 17, "No aceptada")
        await expect(card(page, 17)).to_contain_text("Hoy no se elimina nada")
        await expect(card(page, 17).get_by_role("button", name="Reintentar")).to_be_visible()
        async with server.http(user=visitor.user) as http:
            again = {"X-Operation-ID": identities[0]}
            await http.post("/api/conexiones/eliminar", json={"id_conexion": 17}, headers=again)
        await outcome(page, 17, "Completada")
