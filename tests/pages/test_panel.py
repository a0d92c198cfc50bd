"""The operator's page, and how a person enters where tokens are asked for."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from tests.e2e.identity import OPERATOR, TOKEN_MODE
from tests.e2e.support import begin, publish
from tests.harness import ServerProcess, SseReader, free_port
from tests.identity.signing import token
from tests.pages.browser import DESK, PHONE, button, outcome, row
from tests.pages.conftest import Visit, held_settings
from tests.pages.test_access import AXE, SCHEMES, found_by_axe

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.asyncio(loop_scope="package")]


def figure(page: Page, name: str) -> Locator:
    """What the panel says of it."""
    return page.locator("#cifras div").filter(has=page.get_by_text(name, exact=True)).locator("dd")


async def test_everybodys_work_and_connections_are_seen_as_they_come_and_go(
    visiting: Visit, server: ServerProcess, user: int
) -> None:
    async with visiting() as visitor, server.http(user=user + 1) as other:
        page = await visitor.open("/panel")
        await expect(page.locator("#operaciones-nota")).to_have_text("Ninguna.")
        await expect(page.locator("#proceso")).to_contain_text(
            f"del proceso {socket.gethostname()}/{server.pid};"
        )
        await begin(other, "import", "copy", "check")
        await publish(other, "import", "copy", progress=40, message="Copiando")
        line = page.locator("#operaciones tbody tr")
        await expect(line).to_have_count(1)
        await expect(line).to_contain_text(f"{user + 1}importcopyCopiando20 %Externo o en espera")
        await expect(figure(page, "Operaciones activas")).to_have_text("1")
        await expect(figure(page, "Latencia p99")).to_contain_text(" ms")
        async with SseReader(f"{server.url}/sse/operations/import?userId={user + 1}") as reader:
            await reader.until_live()
            seen = page.locator("#lectores tbody tr")
            await expect(seen).to_have_count(1)
            await expect(seen).to_contain_text(f"{user + 1}importSSE")
            await expect(seen).to_contain_text("Al día")
        await expect(seen).to_have_count(0)
        await other.post("/api/operaciones/import/detener", json={})
        await expect(line).to_have_count(0)


async def test_panel_says_when_it_knows_nothing_new_and_goes_on_by_itself(
    visiting: Visit, tmp_path: Path, user: int
) -> None:
    port = free_port()
    settings = held_settings(free_port())
    first = ServerProcess(tmp_path, arguments=["--demo"], settings=settings, port=port)
    async with first, visiting(first) as visitor:
        page = await visitor.open("/panel")
        visitor.is_cut_off = True
        await first.kill()
        banner = page.locator("#aviso")
        await expect(banner).to_contain_text("El servidor no responde. Se reintenta solo.")
        await expect(page.locator("html")).to_have_class("stale")
        async with ServerProcess(tmp_path, arguments=["--demo"], settings=settings, port=port) as again:
            await visitor.live(page)
            await expect(banner).to_be_hidden()
            async with again.http(user=user) as client:
                await begin(client, "op")
            await expect(page.locator("#operaciones tbody tr")).to_have_count(1)


async def test_axe_finds_nothing_on_the_panel(visiting: Visit, server: ServerProcess, user: int) -> None:
    async with visiting(reduced_motion="reduce") as visitor, server.http(user=user) as client:
        await publish(client, "op", "copy", progress=40, message="Copiando")
        page = await visitor.open("/panel")
        async with SseReader(f"{server.url}/sse/progress?userId={user}") as reader:
            await reader.until_live()
            await expect(page.locator("#lectores tbody tr")).to_have_count(1)
            await page.evaluate(AXE.read_text())
            for width, height in (DESK, PHONE):
                await page.set_viewport_size({"width": width, "height": height})
                assert await page.evaluate("document.documentElement.scrollWidth") == width
                for scheme in SCHEMES:
                    await page.emulate_media(color_scheme=scheme)
                    assert await found_by_axe(page) == [], (width, scheme)


# Where tokens are asked for


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """A demo server in mode `token`."""
    settings = held_settings(free_port(), **TOKEN_MODE)
    directory = tmp_path_factory.mktemp("guarded")
    async with ServerProcess(directory, arguments=["--demo"], settings=settings) as one:
        yield one


async def enter(page: Page, credential: str) -> None:
    """Give a token."""
    await page.get_by_label("Credencial").fill(credential)
    await page.get_by_role("button", name="Entrar").click()


async def test_a_token_opens_the_page_until_one_leaves(
    visiting: Visit, guarded: ServerProcess, user: int
) -> None:
    async with visiting(guarded) as visitor:
        visitor.is_cut_off = True  # the browser complains of each 401
        page = await visitor.context.new_page()
        await page.goto(f"{guarded.url}/")
        banner = page.locator("#aviso")
        await expect(banner).to_contain_text("Este servidor pide una sesión")
        await enter(page, "garbage")
        await expect(banner).to_contain_text("La credencial no es válida")
        await enter(page, token(user, "watch operate"))
        await visitor.live(page)
        await expect(banner).to_be_hidden()
        await expect(page.locator("#salida")).to_contain_text(f"Usuario {user}")
        await button(page, "Eliminar", 1).click()
        await outcome(page, 1, "Completada")
        await page.reload()
        await visitor.live(page)
        await expect(row(page, 1)).to_contain_text("Eliminada")
        assert await page.evaluate("document.cookie + JSON.stringify(localStorage)") == "{}"
        await page.get_by_role("button", name="Salir").click()
        await expect(page.get_by_label("Credencial")).to_be_focused()
        await expect(page.locator("#contenido")).to_be_hidden()


async def test_panel_is_for_operators(visiting: Visit, guarded: ServerProcess, user: int) -> None:
    async with visiting(guarded) as visitor:
        visitor.is_cut_off = True
        page = await visitor.context.new_page()
        await page.goto(f"{guarded.url}/panel")
        await enter(page, token(user, "watch"))
        await expect(page.locator("#aviso")).to_contain_text("hace falta el permiso operate")
        await expect(page.locator("table tr")).to_have_count(0)
        await page.get_by_role("button", name="Salir").click()
        await enter(page, token(user, "operate"))
        await expect(page.locator("#aviso")).to_contain_text(
            "El panel es solo de quienes nombra WELLNET_OPERATORS"
        )
        await page.get_by_role("button", name="Salir").click()
        await enter(page, token(OPERATOR, "operate"))
        await visitor.live(page)
        await expect(page.locator("#operaciones-nota")).to_have_text("Ninguna.")
