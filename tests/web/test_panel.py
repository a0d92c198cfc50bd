"""The operator's endpoint: what everybody does, for whoever may see it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
import pytest_asyncio

from tests.conftest import MakeServer, demo_settings
from tests.e2e.identity import OPERATOR, TOKEN_MODE, bearer, cookie
from tests.e2e.support import ELIMINAR, begin, body_of, do, publish
from tests.e2e.test_refusals import assert_refused
from tests.harness import (
    LegacySocket,
    RouterControl,
    ServerProcess,
    SseReader,
    V2Socket,
    eventually,
    free_port,
)
from tests.identity.signing import token
from tests.web.test_openapi import check, described
from wellnet_sse.app import create_app, services
from wellnet_sse.errors import UnavailableError
from wellnet_sse.settings import Settings


async def shown(client: httpx.AsyncClient, **options: Any) -> dict[str, Any]:
    """What the panel tells, which is as it is described."""
    answer = await client.get("/api/panel", **options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    described(answer, "/api/panel")
    panel: dict[str, Any] = answer.json()
    return panel


def of(user: int, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of one user: others use the same server."""
    return [one for one in told if one["userId"] == str(user)]


async def test_active_operations_of_all_users_are_told(
    http: httpx.AsyncClient, user: int, server: ServerProcess
) -> None:
    async with server.http(user=user) as one, server.http(user=user + 1) as other:
        await begin(one, "declared", "a", "b")
        await publish(one, "declared", "a", "completed")
        await publish(other, "published", "copy", progress=40, message="Copiando")
        await begin(other, "bare")
        panel = await shown(http)
        (first,) = of(user, panel["operations"])
        assert (first["operation_id"], first["progress"], first["step"], first["status"]) == (
            "declared", 50, "a", "completed",
        )  # fmt: skip
        bare, published = of(user + 1, panel["operations"])
        assert (bare["operation_id"], bare["step"], bare["message"]) == ("bare", None, None)
        assert (published["message"], published["running"]) == ("Copiando", False)
        assert panel["figures"]["activeOperations"] >= 3
        for client, operation_id in ((one, "declared"), (other, "published"), (other, "bare")):
            await client.post(f"/api/operaciones/{operation_id}/detener", json={})
        panel = await shown(http)
        assert of(user, panel["operations"]) + of(user + 1, panel["operations"]) == []


async def test_the_process_that_answers_is_named(http: httpx.AsyncClient, server: ServerProcess) -> None:
    """Readers and figures are its own: beside others it is one of several."""
    assert (await shown(http))["process"] == f"{socket.gethostname()}/{server.pid}"


async def test_readers_are_told_by_what_they_follow_and_how(
    http: httpx.AsyncClient, user: int, server: ServerProcess
) -> None:
    named = f"?userId={user}"
    async with (
        SseReader(f"{server.url}/sse/operations/op{named}") as one,
        SseReader(f"{server.url}/sse/progress{named}") as everything,
        LegacySocket(f"{server.ws_url}/ws/progress{named}"),
        V2Socket(f"{server.ws_url}/ws/progress{named}") as v2,
    ):
        await asyncio.gather(one.until_live(), everything.until_live(), v2.until_live())
        panel = await shown(http)
        readers = of(user, panel["readers"])
        assert sorted((it["via"], it["operation_id"]) for it in readers if it["operation_id"] is None) == [
            ("sse", None), ("websocket", None), ("websocket-v2", None),
        ]  # fmt: skip
        assert [it["via"] for it in readers if it["operation_id"] == "op"] == ["sse"]
        assert not any(it["slow"] for it in readers)
        assert panel["figures"]["readers"] >= 4

    async def gone() -> bool:
        return of(user, (await shown(http))["readers"]) == []

    await eventually(gone)


async def test_latency_is_measured_from_an_event_to_its_readers(
    http: httpx.AsyncClient, user: int, server: ServerProcess
) -> None:
    async with server.http(user=user) as client:
        await publish(client, "op", "copy")
    figures = (await shown(http))["figures"]
    assert 0 <= figures["latencyP50"] <= figures["latencyP99"] < 5000


async def test_a_reader_that_takes_nothing_comes_first(make_server: MakeServer) -> None:
    server = await make_server(demo=False, broker_url="memory://", slow_seconds=60)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
    writer.write(b"GET /sse/progress?userId=7 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    await reader.readuntil(b"event: live")
    async with server.http(user=7) as client, SseReader(f"{server.url}/sse/progress?userId=8") as quick:
        await quick.until_live()

        async def behind() -> bool:
            await asyncio.gather(*(publish(client, "op", "copy", message="x" * 2000) for _ in range(200)))
            return bool((await shown(client))["figures"]["slowReaders"])

        await eventually(behind, 30)
        panel = await shown(client)
        first, last = panel["readers"]
        assert (first["userId"], first["slow"], last["userId"], last["slow"]) == ("7", True, "8", False)
        assert first["waiting_bytes"] > 0
        assert first["stuck_seconds"] >= 2
        assert panel["figures"]["slowReaders"] == 1
    writer.transport.abort()


async def test_clean_ups_of_all_users_are_told(make_server: MakeServer, user: int) -> None:
    port = free_port()
    server = await make_server(
        demo_router_bind=f"127.0.0.1:{port}", router_timeout_seconds=0.3, router_attempts=1
    )
    await RouterControl(port).behave("unreachable")
    async with server.http(user=user) as client:
        await do(client, ELIMINAR, 1, "op")
        await client.post("/api/routers/quitar-conexion", json=body_of("/api/routers/quitar-conexion", 2))
        panel = await shown(client)
    assert [(it["userId"], it["direccion_ip"]) for it in panel["cleanups"]] == [
        (str(user), "10.0.0.1"), (None, "10.0.0.2"),
    ]  # fmt: skip
    assert panel["figures"]["pendingCleanups"] == 2


async def test_what_nobody_can_tell_hides_nothing_else(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/wellnet.db"
    settings = Settings.from_environment({"WELLNET_DATABASE_URL": url, "WELLNET_BROKER_URL": "memory://"})
    app = create_app(settings)

    async def away(*, limit: int) -> NoReturn:
        raise UnavailableError(f"none of {limit}")

    parts = services(app)
    parts.progress.broker.active = away  # type: ignore[method-assign]  # the history, when it is away
    parts.removals.cleanups.oldest = away  # type: ignore[method-assign]  # the database
    answer = await app.test_client().get("/api/panel", headers={"Host": "localhost"})
    assert answer.status_code == 200
    panel = await answer.get_json()
    assert (panel["operations"], panel["cleanups"], panel["figures"]["pendingCleanups"]) == (None, None, None)
    assert (panel["readers"], panel["figures"]["activeConnections"]) == ([], 0)
    check(panel, {"$ref": "#/components/schemas/Panel"})
    await parts.database.aclose()


# Who may look


async def test_in_mode_documented_only_this_machine_may_look(
    http: httpx.AsyncClient, make_server: MakeServer
) -> None:
    """Under its own name: another one is a proxy's, or a page's that was made to point here."""
    await shown(http)
    for host in ("wellnet-rd.com", "wellnet-rd.com:444", "10.0.0.1", "localhost.evil.example", "[", ""):
        assert_refused(await http.get("/api/panel", headers={"Host": host}), 403)
    for host in ("localhost", "[::1]:4440", "127.0.0.1"):
        await shown(http, headers={"Host": host})
    port = free_port()
    open_to_all = await make_server("--bind", f"0.0.0.0:{port}", demo=False, port=port, auth="documented")
    async with open_to_all.http() as client:
        assert_refused(await client.get("/api/panel"), 403)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """A server in mode `token`."""
    settings = demo_settings(dict(TOKEN_MODE))
    async with ServerProcess(tmp_path_factory.mktemp("guarded"), settings=settings) as process:
        yield process


async def test_in_mode_token_it_takes_an_operator_and_the_scope_operate(
    guarded: ServerProcess, user: int
) -> None:
    async with guarded.http() as client:
        await begin_as(client, user + 1)
        for headers in (bearer(token(OPERATOR, "operate")), cookie(token(OPERATOR, "watch operate"))):
            panel = await shown(client, headers=headers)
            assert [it["operation_id"] for it in of(user + 1, panel["operations"])] == ["op"]
        for headers, status in (
            ({}, 401),
            ({"X-User-ID": str(user)}, 401),
            (bearer("garbage"), 401),
            (bearer(token(OPERATOR, "watch publish")), 403),
            (bearer(token(user)), 403),  # who works, and sees no more than their own
            (bearer(token("import-worker", "operate")), 403),
            ({**bearer(token(OPERATOR)), "X-User-ID": str(user)}, 403),
            ({**bearer(token(user)), "X-User-ID": str(OPERATOR)}, 403),
        ):
            assert_refused(await client.get("/api/panel", headers=headers), status)


async def begin_as(client: httpx.AsyncClient, user: int) -> None:
    """Somebody begins an operation."""
    answer = await client.post("/api/operaciones", json={"operation_id": "op"}, headers=bearer(token(user)))
    assert answer.status_code == 201


async def test_other_methods_are_refused(http: httpx.AsyncClient) -> None:
    assert_refused(await http.post("/api/panel", json={}), 405)
    assert (await http.head("/api/panel")).status_code == 200
