"""The page, from the click to the end of the work, as a person goes through it."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Page, Request, Route, expect

from tests.harness import RouterControl, ServerProcess
from tests.pages.browser import button, card, in_step, outcome, row, total
from tests.pages.conftest import Visit

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="package")]

SECOND = timedelta(seconds=1)
STEPS = ["Servicio", "Router", "Configuración"]


async def test_removal_is_followed_from_the_click_to_its_end(visiting: Visit, router: RouterControl) -> None:
    posts: list[Request] = []
    async with visiting() as visitor:
        page = await visitor.open()
        page.on("request", lambda request: posts.append(request) if request.method == "POST" else None)
        await router.behave("unreachable")
        await button(page, "Eliminar", 1).click()
        await in_step(page, 1, "Router")
        one = card(page, 1)
        assert await one.locator(".step-name").all_inner_texts() == STEPS
        assert await total(page, 1) == (100 + 20 + 0) // 3
        bar = one.get_by_role("progressbar", name="Conexión 1: Router", exact=True)
        assert await bar.get_attribute("aria-valuenow") == "20"
        await expect(one).to_contain_text("Conectando con el router...")
        await expect(one.locator(".time")).to_contain_text("Lleva ")
        await expect(row(page, 1)).to_contain_text("Eliminando · 40 %")
        await router.behave("normal")
        await outcome(page, 1, "Completada")
        assert await total(page, 1) == 100
        await expect(one.locator('li[data-status="completed"]')).to_have_count(3)
        await expect(one.locator(".time")).to_contain_text("Duró ")
        await expect(row(page, 1)).to_contain_text("Eliminada")
        await expect(button(page, "Eliminar", 1)).to_be_hidden()
        await page.locator("#historial summary").click()
        await expect(page.locator("#historial-lista li").first).to_contain_text("Conexión 1Completada")
    assert visitor.asked == ["¿Eliminar la conexión 1 (10.0.0.1)?\nNo se puede deshacer."]
    (post,) = posts
    assert post.url.endswith("/api/conexiones/eliminar")
    assert post.post_data_json == {"id_conexion": 1}
    assert post.headers["x-user-id"] == str(visitor.user)
    assert post.headers["x-operation-id"].startswith("eliminar-conexion-1-")


async def test_who_says_no_changes_nothing(visiting: Visit, server: ServerProcess) -> None:
    async with visiting() as visitor:
        visitor.confirms = False
        page = await visitor.open()
        await button(page, "Eliminar", 2).click()
        await expect(row(page, 2)).to_contain_text("Activa")
        await expect(page.get_by_role("article")).to_have_count(0)
        async with server.http(user=visitor.user) as http:
            assert (await http.get("/api/operaciones")).json()["operations"] == []


async def test_several_go_on_at_once(visiting: Visit, router: RouterControl) -> None:
    async with visiting() as visitor:
        page = await visitor.open()
        await router.behave("unreachable")
        for number in (3, 4, 5):
            await button(page, "Eliminar", number).click()
        for number in (3, 4, 5):
            await in_step(page, number, "Router")
        assert await page.title() == "(40 %) Conexiones · WellNet"
        names = await page.get_by_role("article").get_by_role("heading").all_inner_texts()
        assert names == ["Conexión 5", "Conexión 4", "Conexión 3"]
        await router.behave("normal")
        for number in (3, 4, 5):
            await outcome(page, number, "Completada")
        await expect(page).to_have_title("Conexiones · WellNet")


async def test_failure_is_told_and_its_retry_goes_on_where_it_was(
    visiting: Visit, server: ServerProcess, router: RouterControl
) -> None:
    async with visiting() as visitor:
        page = await visitor.open()
        await router.behave("refusing")
        await button(page, "Eliminar", 6).click()
        await outcome(page, 6, "Fallida")
        failed = card(page, 6).locator('li[data-status="error"]')
        await expect(failed).to_have_text(re.compile("^RouterError: El router rechazó"))
        await expect(page.locator("#anuncios")).to_contain_text(
            "Conexión 6, Router: Error: El router rechazó"
        )
        await expect(row(page, 6)).to_contain_text("Router pendiente")
        await router.behave("normal")
        await card(page, 6).get_by_role("button", name="Reintentar").click()
        await outcome(page, 6, "Completada")
        await expect(row(page, 6)).to_contain_text("Eliminada")
        async with server.http(user=visitor.user) as http:
            (one,) = (await http.get("/api/operaciones")).json()["operations"]
    assert {step["step"]: step["attempt"] for step in one["steps"]} == {
        "remove-service": 1,
        "remove-router": 2,
        "remove-config": 1,
    }


async def test_what_is_left_in_a_router_is_cleaned_before_ones_eyes(
    visiting: Visit, router: RouterControl
) -> None:
    async with visiting() as visitor:
        page = await visitor.open()
        await router.behave("refusing")
        await button(page, "Eliminar", 10).click()
        await outcome(page, 10, "Fallida")
        await expect(row(page, 10)).to_contain_text("Router pendiente")
        await router.behave("normal")
        cleanup = page.get_by_role("article", name=re.compile(r"^Limpieza de router n\.º \d+$"))
        await expect(cleanup.locator(".card-head .pill")).to_have_text("Completada")
        await expect(cleanup.get_by_role("button", name="Reintentar")).to_be_hidden()
        await expect(row(page, 10)).to_contain_text("A medias")


async def test_cancelled_is_told_as_such_and_begins_anew(visiting: Visit, router: RouterControl) -> None:
    async with visiting() as visitor:
        page = await visitor.open()
        await router.behave("unreachable")
        await button(page, "Eliminar", 7).click()
        await in_step(page, 7, "Router")
        await card(page, 7).get_by_role("button", name="Cancelar").click()
        await outcome(page, 7, "Cancelando…")
        await router.behave("normal")
        await outcome(page, 7, "Cancelada")
        await expect(card(page, 7)).to_contain_text("Lo que ya estaba hecho no se deshace")
        await expect(card(page, 7).get_by_role("button", name="Reintentar")).to_be_hidden()
        await card(page, 7).get_by_role("button", name="Empezar de nuevo").click()
        await outcome(page, 7, "Completada")


async def test_page_that_is_closed_half_way_leaves_nothing_half_done(
    visiting: Visit, server: ServerProcess, router: RouterControl
) -> None:
    async with visiting() as visitor:
        page = await visitor.open()
        await router.behave("unreachable")
        await button(page, "Eliminar", 8).click()
        await in_step(page, 8, "Router")
        await page.close()
        await router.behave("normal")
        async with server.http(user=visitor.user) as http:
            (operation,) = (await http.get("/api/operaciones")).json()["operations"]
            identity = operation["operation_id"]
            assert "event: end" in (await http.get(f"/sse/operations/{identity}")).text
            ended = (await http.get(f"/api/operaciones/{identity}")).json()
        assert [step["status"] for step in ended["steps"]] == ["completed"] * 3
        page = await visitor.open()
        await expect(row(page, 8)).to_contain_text("Eliminada")
        await page.locator("#historial summary").click()
        past = page.locator("#historial-lista li")
        await expect(past).to_contain_text("Conexión 8Completada")


async def test_work_begun_elsewhere_is_shown_as_well(visiting: Visit, server: ServerProcess) -> None:
    async with visiting() as visitor:
        page = await visitor.open()
        async with server.http(user=visitor.user) as http:
            step = "/api/operaciones/import-1/pasos/copy"
            await http.post(step, json={"status": "in_progress", "message": "Copiando...", "progress": None})
            other = page.get_by_role("article", name="import-1", exact=True)
            await expect(other).to_contain_text("Copiando...")
            bar = other.get_by_role("progressbar", name="import-1: copy", exact=True)
            assert await bar.get_attribute("aria-valuenow") is None
            whole = other.get_by_role("progressbar", name="import-1: avance total", exact=True)
            await http.post(step, json={"status": "in_progress", "message": "Copiado", "progress": 90})
            await expect(bar).to_have_attribute("aria-valuenow", "90")
            assert await whole.get_attribute("aria-valuenow") is None  # who knows how much is yet to come
            steps = {"operation_id": "import-1", "steps": ["copy", "check"]}
            await http.post("/api/operaciones", json=steps)
            await expect(whole).to_have_attribute("aria-valuenow", "45")
            await http.post(step, json={"status": "error", "message": "Disco lleno", "progress": 0})
            await http.post("/api/operaciones/import-1/detener", json={})
        await expect(other).to_contain_text("Fallida")
        await expect(other.get_by_role("button", name="Reintentar")).to_be_hidden()  # it is not ours to do
        await other.get_by_role("button", name="Cerrar").click()
        await expect(other).to_have_count(0)


async def test_history_is_of_today_and_stays_unfolded(visiting: Visit, server: ServerProcess) -> None:
    async def yesterday(route: Route) -> None:
        answer = await (await route.fetch()).json()
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        for operation in answer["operations"]:
            operation.update(dict.fromkeys(("started_at", "finished_at"), (midnight - SECOND).isoformat()))
        await route.fulfill(json=answer)

    async def some(first: int, last: int) -> None:
        for number in range(first, last + 1):
            name = f"import-{number}"
            await http.post("/api/operaciones", json={"operation_id": name})
            await http.post(f"/api/operaciones/{name}/detener", json={})

    async with visiting(timezone_id="UTC") as visitor, server.http(user=visitor.user) as http:
        await some(1, 25)
        page = await visitor.open()
        past = page.locator("#historial-lista li")
        await page.locator("#historial summary").click()
        await expect(past).to_have_count(20)
        await page.locator("#historial-mas").click()
        await expect(past).to_have_count(25)
        await some(26, 26)
        await expect(past.first).to_contain_text("import-26")
        await expect(past).to_have_count(25)
        await page.route("**/api/operaciones?limit=*", yesterday)
        await some(27, 27)
        await expect(page.get_by_text("Todavía no hay operaciones hoy.")).to_be_visible()
        await expect(past).to_have_count(0)


async def test_list_is_searched_and_read_on(visiting: Visit) -> None:
    async with visiting() as visitor:
        page = await visitor.open()
        rows = page.locator("#conexiones .row")
        await expect(rows).to_have_count(25)
        more = page.locator("#conexiones-mas")
        await more.click()
        await expect(rows).to_have_count(50)
        await expect(more).to_be_hidden()
        await expect(page.get_by_role("heading", name="Conexión 26", exact=True)).to_be_focused()
        await page.get_by_role("searchbox").fill("10.0.0.4")
        await expect(rows).to_have_count(11)
        await page.get_by_role("searchbox").fill("nada")
        await expect(page.get_by_text("Ninguna conexión coincide.")).to_be_visible()
        await page.get_by_role("searchbox").fill("")
        await expect(rows).to_have_count(25)


async def chosen(page: Page) -> str:
    """Return who the page takes its visitor for."""
    return await page.locator("#usuario").input_value()


async def test_visitor_says_who_they_are_and_is_remembered(visiting: Visit) -> None:
    async with visiting() as visitor:
        page = await visitor.context.new_page()
        await page.goto(visitor.url)
        await visitor.live(page)
        assert await chosen(page) == "7"  # the demonstration's
        await page.locator("#usuario").fill(str(visitor.user))
        await page.get_by_role("button", name="Cambiar").click()
        await page.wait_for_url(f"**/?userId={visitor.user}")
        await page.goto(visitor.url)
        await visitor.live(page)
        assert await chosen(page) == str(visitor.user)
