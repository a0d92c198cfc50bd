"""A streamed POST ends with its work, also where somebody else had begun that."""

import asyncio
import sqlite3

import httpx
from websockets.exceptions import ConnectionClosed

from tests.e2e.support import QUITAR_ASIGNACION, QUITAR_CONEXION, body_of, do
from tests.harness import CurlReader, LegacySocket, RouterControl, ServerProcess, eventually


def _curl(server: ServerProcess, user: int, path: str) -> CurlReader:
    return CurlReader(
        server.url + path,
        *("-X", "POST", "--json", httpx.Request("POST", "/", json=body_of(path, 5)).content.decode()),
        *("-H", f"X-User-ID: {user}", "-H", "X-Operation-ID: op", "-H", "Accept: text/event-stream"),
    )


async def test_a_streamed_post_that_joins_a_plain_one_ends_with_it(
    server: ServerProcess, mine: httpx.AsyncClient, user: int, router: RouterControl
) -> None:
    await router.behave("unreachable")
    async with asyncio.TaskGroup() as tasks:
        plain = tasks.create_task(do(mine, QUITAR_CONEXION, 5, "op"))
        await eventually(lambda: _is_known(mine))
        async with _curl(server, user, QUITAR_CONEXION) as curl:
            await curl.until(b"event: live")
            await router.behave("normal")
            assert b"event: end" in await curl.body()
    assert plain.result().status_code == 200


async def test_a_streamed_post_that_comes_after_a_plain_one_ends_at_once(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    assert (await do(mine, QUITAR_ASIGNACION, 5, "op")).status_code == 200
    async with _curl(server, user, QUITAR_ASIGNACION) as curl:
        body = await curl.body()
    assert body.count(b"event: end") == 1
    assert b'"outcome":"completed"' in body


async def test_a_flood_is_seen_although_its_commands_wait(server: ServerProcess, user: int) -> None:
    """The database is held by another process, so that no command comes to its end."""
    with sqlite3.connect(server.directory / "wellnet.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        async with LegacySocket(f"{server.ws_url}/ws/progress?userId={user}") as tab:
            reading = asyncio.create_task(tab.closed())
            for number in range(1000):
                try:
                    await tab.start(f"op-{number}")
                except ConnectionClosed:
                    break
            async with asyncio.timeout(3):
                assert (await reading)[0] == 1008
        other.execute("ROLLBACK")
    other.close()


async def _is_known(client: httpx.AsyncClient) -> bool:
    return (await client.get("/api/operaciones/op")).status_code == 200
