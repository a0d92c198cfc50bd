"""The commands: how they start, what they refuse, and how they end."""

import asyncio
import json
import re
import shlex
import signal
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.conftest import MakeServer, demo_settings
from tests.e2e.support import (
    DOCUMENTED,
    ELIMINAR,
    ENDPOINTS,
    QUITAR_ASIGNACION,
    ROUTER,
    SERVICE,
    body_of,
    do,
    publish,
    published,
    state,
    told,
)
from tests.harness import (
    LegacySocket,
    NodeSocket,
    RouterControl,
    ServerProcess,
    SseReader,
    V2Socket,
    eventually,
    free_port,
)
from wellnet_sse import __version__

SCRIPT = Path(sys.executable).parent / "wellnet-sse"
SECRET = "s3creto"  # noqa: S105 - of a router that is not there
HYPERCORN = (sys.executable, "-m", "hypercorn", "wellnet_sse.asgi:app")


async def output(*command: str | Path) -> tuple[int, str]:
    """Run a command to its end; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 10)
    return process.returncode or 0, printed.decode()


async def test_the_installed_command_tells_its_version_and_what_it_can_do() -> None:
    assert await output(SCRIPT, "--version") == (0, f"wellnet-sse, version {__version__}\n")
    code, text = await output(SCRIPT, "serve", "--help")
    assert code == 0
    assert "--bind" in text
    assert "--demo" in text


# What it refuses


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"HEARTBEAT_SECNDS": 5}, ["WELLNET_HEARTBEAT_SECNDS", "WELLNET_HEARTBEAT_SECONDS"]),
        ({"NONSENSE": 1, "IDLE_SECONDS": "soon"}, ["WELLNET_NONSENSE", "WELLNET_IDLE_SECONDS"]),
        ({"BROKER_URL": "nats://bus:s3creto@10.9.9.9"}, ["WELLNET_BROKER_URL"]),
        ({"DATABASE_URL": "mysql://wellnet:s3creto@localhost/wellnet"}, ["WELLNET_DATABASE_URL"]),
        ({"DATABASE_URL": "postgresql://wellnet:s3creto@127.0.0.1:1/x"}, ["base de datos", "doctor"]),
    ],
)
async def test_unknown_and_bad_settings_are_named_at_start(
    tmp_path: Path, settings: dict[str, object], named: list[str]
) -> None:
    given = {f"WELLNET_{name}": value for name, value in settings.items()}
    await assert_refuses_to_start(ServerProcess(tmp_path, settings=given), *named)


async def test_a_bad_bind_is_named_at_start(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, arguments=["--bind", "127.0.0.1:99999"])
    await assert_refuses_to_start(server, "WELLNET_BIND")


async def assert_refuses_to_start(server: ServerProcess, *named: str) -> None:
    """It ends at once with 1 and a sentence that names what is wrong, and nothing that is secret."""
    try:
        await server.start(ready=False)
        assert await server.wait() == 1
    finally:
        server.sweep()
    assert server.log.startswith("Error: ")
    assert "Traceback" not in server.log
    assert SECRET not in server.log
    for name in named:
        assert name in server.log


async def test_a_bind_that_others_can_reach_needs_a_word_about_who_is_trusted(
    make_server: MakeServer, tmp_path: Path, user: int
) -> None:
    refused = ServerProcess(tmp_path, arguments=["--bind", "0.0.0.0:0"])
    await assert_refuses_to_start(refused, "WELLNET_AUTH")
    port = free_port()
    server = await make_server("--bind", f"0.0.0.0:{port}", port=port, auth="documented")
    async with server.http(user=user) as client:
        assert (await do(client, QUITAR_ASIGNACION, 1, "op")).status_code == 200
        # No loopback bind, so that any host may be the server's own name.
        headers = {"Host": "wellnet-rd.com:444", "Origin": "https://wellnet-rd.com:444"}
        answer = await client.get("/api/operaciones", headers=headers)
        assert answer.headers["access-control-allow-origin"] == headers["Origin"]
        answer = await client.get("/api/operaciones", headers={**headers, "Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in answer.headers


async def test_a_busy_port_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        await assert_refuses_to_start(ServerProcess(tmp_path, port=port), str(port))


# How it ends


async def test_sigterm_lets_work_end_tells_readers_and_refuses_new_work(
    make_server: MakeServer, user: int
) -> None:
    port = free_port()
    server = await make_server(demo_router_bind=f"127.0.0.1:{port}")
    router = RouterControl(port)
    await router.behave("unreachable")
    query = f"?userId={user}"
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(server.http(user=user))
        own = await stack.enter_async_context(SseReader(f"{server.url}/sse/operations/op{query}"))
        everything = await stack.enter_async_context(SseReader(f"{server.url}/sse/progress{query}"))
        tab = await stack.enter_async_context(LegacySocket(f"{server.ws_url}/ws/progress{query}"))
        node_tab = await stack.enter_async_context(NodeSocket(f"{server.ws_url}/ws/progress{query}"))
        modern = await stack.enter_async_context(V2Socket(f"{server.ws_url}/ws/progress{query}"))
        for stream in (own, everything):
            await stream.until_live()
        await modern.until_live()
        await node_tab.opened()
        await published(client, "ended", "copy", "completed")
        post = asyncio.create_task(do(client, ELIMINAR, 1, "op"))
        await own.until(lambda it: told([it.json]) == [ROUTER[0]])

        server.signal(signal.SIGTERM)
        await eventually(lambda: _answers(client, "/readyz", 503))
        assert (await client.get("/healthz")).status_code == 200
        refusals = [await do(client, path, 2, "late") for path in DOCUMENTED]
        refusals += [
            await client.post("/api/operaciones", json={"operation_id": "late"}),
            await publish(client, "late", "copy"),
            await client.post("/api/operaciones/ended/detener", json={}),
            await client.post("/api/operaciones/ended/cancelar", json={}),
            await client.post(ELIMINAR, json=body_of(ELIMINAR, 2)),
        ]
        for refused in refusals:
            assert refused.status_code == 503, refused.request.url
            assert int(refused.headers["retry-after"]) > 0
            documented = refused.request.url.path in DOCUMENTED
            kind = "application/json" if documented else "application/problem+json"
            assert refused.headers["content-type"] == kind
        assert (await client.get("/api/operaciones/late")).status_code == 404

        await router.behave("normal")
        answer = await post
        assert (answer.status_code, answer.json()["success"]) == (200, True)
        assert (await own.rest())[-1].json["outcome"] == "completed"
        events = await everything.rest()
        assert [(it.event, it.id is None) for it in events[-2:]] == [("operation", False), ("end", True)]
        assert events[-1].json == {"reason": "drain"}
        assert (await tab.closed())[0] == 1012
        assert (await node_tab.closed())[0] == 1012
        assert (await modern.closed())[0] == 1012
        assert (modern.seen[-1].event, modern.seen[-1].id, modern.seen[-1].data) == (
            "end",
            None,
            {"reason": "drain"},
        )
    assert await server.wait() == 0
    assert "Traceback" not in server.log


async def _answers(client: httpx.AsyncClient, path: str, status: int) -> bool:
    return (await client.get(path)).status_code == status


async def test_work_that_outlives_the_grace_is_interrupted_and_told(
    make_server: MakeServer, user: int
) -> None:
    port = free_port()
    server = await make_server(demo_router_bind=f"127.0.0.1:{port}", grace_seconds=0.2)
    await RouterControl(port).behave("unreachable")
    async with (
        server.http(user=user) as client,
        SseReader(f"{server.url}/sse/operations/op?userId={user}") as own,
    ):
        await own.until_live()
        post = asyncio.create_task(do(client, ELIMINAR, 1, "op"))
        await own.until(lambda it: told([it.json]) == [ROUTER[0]])
        server.signal(signal.SIGTERM)
        events = await own.rest()
        answer = await post
    assert [it.event for it in events] == ["message", "end"]
    error = events[0].json
    assert (error["step"], error["status"], error["progress"]) == ("remove-router", "error", 0)
    assert "remove-router" in error["message"], "it names the step"
    assert events[1].json["outcome"] == "interrupted"
    assert (answer.status_code, answer.json()["success"]) == (503, False)
    assert await server.wait() == 0
    assert "Traceback" not in server.log


async def test_a_reader_that_takes_nothing_does_not_hold_up_the_end(
    make_server: MakeServer, user: int
) -> None:
    server = await make_server()
    with socket.create_connection(("127.0.0.1", server.port)) as stalled:
        stalled.sendall(f"GET /sse/progress?userId={user} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with (
            server.http(user=user) as client,
            V2Socket(f"{server.ws_url}/ws/progress?userId={user}") as healthy,
        ):
            await healthy.until_live()
            reading = asyncio.create_task(healthy.until(lambda it: it.event == "end"))
            for number in range(200):
                await publish(client, "op", "copy", message=f"{number} {'€' * 1990}")
            server.signal(signal.SIGTERM)
            await reading
            assert seq_of(healthy) == list(range(1, 201))
        assert await server.wait(8) == 0
    assert "Traceback" not in server.log


def seq_of(socket: V2Socket) -> list[int]:
    return [int((it.id or "").rpartition("-")[2]) for it in socket.seen if it.event == "progress"]


async def test_sigint_ends_it_well_too(make_server: MakeServer) -> None:
    server = await make_server(demo=False)
    server.signal(signal.SIGINT)
    assert await server.wait() == 0
    assert "Traceback" not in server.log


# The other ways to start it


async def test_demo_shows_an_operation_and_keeps_serving(tmp_path: Path, user: int) -> None:
    command = (sys.executable, "-m", "wellnet_sse", "demo")
    async with ServerProcess(tmp_path, settings=demo_settings({}), command=command) as server:
        await eventually(lambda: "Serving until Ctrl-C" in server.log, 15)
        for event in ENDPOINTS[3].events:
            line = rf"{event.progress} %\s+{event.step}\s+{event.status}\s+{re.escape(event.message)}"
            assert re.search(line, server.log), event
        assert "completed" in server.log.split(SERVICE[-1].message)[1]
        assert server.url in server.log
        async with server.http(user=user) as client:
            assert (await do(client, ELIMINAR, 4, "op")).status_code == 200
            assert (await state(client, "op"))["outcome"] == "completed"
        # The line to paste is one that works.
        pasted = re.search(r"^\s*(curl -N \S*/api/.*\\\n.*)$", server.log, re.MULTILINE)
        assert pasted, server.log
        code, text = await output(*shlex.split(pasted[1].replace("\\\n", " ")), "-sS", "-q")
        assert code == 0
        assert "event: end\n" in text
        assert '"outcome":"completed"' in text
        assert await server.terminate() == 0
        assert "Traceback" not in server.log


async def test_a_demo_fills_only_an_empty_database(
    make_server: MakeServer, tmp_path: Path, user: int
) -> None:
    first = await make_server(directory=tmp_path / "same")
    async with first.http(user=user) as client:
        assert (await do(client, QUITAR_ASIGNACION, 1, "op")).status_code == 200
    assert await first.terminate() == 0
    port = free_port()
    second = await make_server(directory=tmp_path / "same", demo_router_bind=f"127.0.0.1:{port}")
    async with second.http(user=user) as client:
        answer = await do(client, ELIMINAR, 2, "op-2")
        assert answer.status_code == 200, "it is told where its router is now"
    assert await RouterControl(port).calls() > 0
    assert await second.terminate() == 0


async def test_hypercorn_itself_needs_to_be_told_who_is_trusted(tmp_path: Path) -> None:
    """It tells no bind, so that nobody can know who may reach it."""
    async with AsyncExitStack() as stack:
        server = ServerProcess(tmp_path, command=HYPERCORN)
        stack.callback(server.sweep)
        await server.start(ready=False)
        await server.wait()  # its exit code is Hypercorn's affair, and 0 (pgjones/hypercorn#269)
    assert "WELLNET_AUTH must be set" in server.log
    assert "Running on" not in server.log


async def test_hypercorn_itself_serves_the_application(tmp_path: Path, user: int) -> None:
    settings = {"WELLNET_AUTH": "documented"}
    async with (
        ServerProcess(tmp_path, command=HYPERCORN, settings=settings) as server,
        server.http(user=user) as client,
    ):
        async with (
            SseReader(f"{server.url}/sse/operations/op?userId={user}") as own,
            V2Socket(f"{server.ws_url}/ws/progress?userId={user}") as socket,
        ):
            await own.until_live()
            await socket.until_live()
            await client.post("/api/operaciones", json={"operation_id": "op", "steps": ["copy"]})
            await published(client, "op", "copy", "in_progress", "completed")
            events = await own.rest()
            messages = await socket.until(lambda it: it.event == "operation")
        assert [it.id for it in events] == [it.id for it in messages]
        assert events[-1].json["outcome"] == "completed"
        # There is no demo here: its database is empty.
        assert (await do(client, ELIMINAR, 1, "nobody")).status_code == 404
        assert await server.terminate() == 0


async def test_logs_as_json_are_one_object_a_line(make_server: MakeServer, user: int) -> None:
    port = free_port()
    server = await make_server(
        log_format="json", log_level="DEBUG", router_password=SECRET, demo_router_bind=f"127.0.0.1:{port}"
    )
    async with (
        server.http(user=user) as client,
        LegacySocket(f"{server.ws_url}/ws/progress?userId={user}") as tab,
    ):
        await tab.send_raw("hola\nadiós")
        assert (await do(client, ELIMINAR, 1, "op")).status_code == 200
        await eventually(lambda: "message_refused" in server.log)
    assert await server.terminate() == 0
    lines = [json.loads(line) for line in server.log.splitlines()]
    assert all(isinstance(line, dict) and {"event", "level", "timestamp"} <= set(line) for line in lines)
    refused = next(line for line in lines if line["event"] == "message_refused")
    assert refused["user_id"] == user
    assert SECRET not in server.log
