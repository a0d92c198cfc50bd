"""`watch` and `run` in a pipe, against the real server: what they print, and how they end."""

import json
import signal

import httpx
import pytest

from tests.conftest import MakeServer
from tests.e2e.support import CONFIG, ELIMINAR, PENDING, ROUTER, SERVICE, do
from tests.e2e.support import told as told_by
from tests.harness import CurlReader, RouterControl, ServerProcess, SseReader, eventually, free_port
from tests.terminal.support import Piped, ran

RETRY_MS = 200
UPDATE = {"status": "in_progress", "message": "Copiando...", "progress": 40}


def of(server: ServerProcess, user: int) -> list[str]:
    """The options that name server and user."""
    return ["--url", server.url, "--user", str(user)]


def messages(lines: list[str]) -> list[dict[str, object]]:
    """What `--json` told of steps."""
    told = [json.loads(line) for line in lines]
    return [it["data"] for it in told if it["event"] == "progress"]


async def publish(client: httpx.AsyncClient, operation: str, status: str, progress: int) -> None:
    body = {"status": status, "message": f"{status} {progress}", "progress": progress}
    answer = await client.post(f"/api/operaciones/{operation}/pasos/copy", json=body)
    assert answer.status_code == 201, answer.text


async def stop(client: httpx.AsyncClient, operation: str) -> None:
    """Say that no more steps come."""
    assert (await client.post(f"/api/operaciones/{operation}/detener", json={})).status_code == 202


async def test_run_tells_each_step_of_its_work_and_ends_well(server: ServerProcess, user: int) -> None:
    piped = await ran("run", "eliminar", "--id-conexion", "11", *of(server, user))
    assert piped.process.returncode == 0, piped.errors
    assert piped.errors == ""
    steps = [*PENDING, *SERVICE, *ROUTER, *CONFIG]
    for line, step in zip(piped.lines, steps, strict=False):
        assert line.split()[1:3] == [step.step, step.status]
        assert line.endswith(f"{step.progress} %  {step.message}")
    assert [line.split()[1:] for line in piped.lines[len(steps) :]] == [["completed"]]


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        (["quitar-asignacion", "--id-conexion", "12"], SERVICE),
        (["quitar-conexion", "--direccion-ip", "10.0.0.12"], ROUTER),
        (["eliminar-configuracion", "--id-conexion", "12", "--id-usuario", "3"], CONFIG),
    ],
    ids=lambda it: it[0] if isinstance(it[0], str) else "",
)
async def test_run_does_each_of_the_documented_works(
    server: ServerProcess, user: int, arguments: list[str], steps: list[object]
) -> None:
    piped = await ran("run", *arguments, "--json", *of(server, user))
    assert piped.process.returncode == 0, piped.errors
    assert told_by(messages(piped.lines)) == steps
    assert json.loads(piped.lines[-1])["data"]["outcome"] == "completed"


async def test_json_is_what_the_v2_dialect_says(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    await mine.post("/api/operaciones", json={"operation_id": "one", "steps": ["copy"]})
    async with Piped("watch", "one", "--json", *of(server, user)) as piped:
        await piped.take(lambda line: '"live"' in line)
        await publish(mine, "one", "completed", 100)
        assert await piped.ended() == 0
    told = [json.loads(line) for line in piped.lines]
    assert [(it["event"], it["data"].get("status")) for it in told] == [
        ("progress", "pending"),
        ("live", None),
        ("progress", "completed"),
        ("operation", None),
    ]
    assert all(list(it) == ["event", "id", "data"] and it["id"] for it in told)


async def test_exit_code_is_the_outcome(server: ServerProcess, mine: httpx.AsyncClient, user: int) -> None:
    await publish(mine, "failed", "error", 0)
    await stop(mine, "failed")
    await mine.post("/api/operaciones", json={"operation_id": "cancelled"})
    await mine.post("/api/operaciones/cancelled/cancelar", json={})
    for operation, code in [("failed", 3), ("cancelled", 4)]:
        piped = await ran("watch", operation, *of(server, user))
        assert (piped.process.returncode, piped.lines[-1].split()[-1]) == (code, operation)
    piped = await ran("run", "quitar-asignacion", "--id-conexion", "999", *of(server, user))
    assert piped.process.returncode == 3
    assert "Error: No existe la conexión 999" in piped.lines[-2]


async def test_an_operation_that_expires_has_its_code(make_server: MakeServer, user: int) -> None:
    server = await make_server(idle_seconds=0.3)
    async with server.http(user=user) as client:
        await client.post("/api/operaciones", json={"operation_id": "one", "steps": ["copy"]})
    assert (await ran("watch", "one", *of(server, user))).process.returncode == 6


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "quitar-asignacion", "--id-conexion", "0"], 1, "422: id_conexion"),
        (["watch"], 2, "Name an operation, or say --all"),
        (["watch", "one", "--all"], 2, "Name an operation, or say --all"),
        (["watch", "a b"], 2, "must be 1 to 128 of"),
        (["watch", "one", "--user", "07"], 2, "must be a number from 1"),
        (["run", "eliminar"], 2, "--id-conexion"),
    ],
)
async def test_mistakes_are_said_in_a_sentence(
    server: ServerProcess, user: int, arguments: list[str], code: int, said: str
) -> None:
    piped = await ran(*arguments[:1], *arguments[1:2], *of(server, user), *arguments[2:])
    assert piped.process.returncode == code
    assert said in " ".join(piped.errors.split())
    assert "Traceback" not in piped.errors


async def test_nobody_there_has_its_code() -> None:
    piped = await ran(
        "watch", "one", "--user", "7", "--url", f"http://127.0.0.1:{free_port()}", "--patience", "0.1"
    )
    assert piped.process.returncode == 7
    assert "cannot be reached" in piped.errors


async def test_all_goes_on_until_ctrl_c(server: ServerProcess, mine: httpx.AsyncClient, user: int) -> None:
    """Also in a job of a script, for which the shell has it ignored."""
    async with Piped("watch", "--all", *of(server, user), through=["env", "--ignore-signal=INT"]) as piped:
        await publish(mine, "two", "in_progress", 10)
        await piped.take(lambda line: line.split()[1:3] == ["two", "copy"])
        await publish(mine, "one", "completed", 100)
        await stop(mine, "one")
        await piped.take(lambda line: line.split()[1:] == ["one", "completed"])
        piped.process.send_signal(signal.SIGINT)
        assert await piped.ended() == 130
    assert "Traceback" not in piped.errors


# When things go wrong


async def test_server_killed_in_between_is_followed_on_exactly_once(
    make_server: MakeServer, user: int
) -> None:
    server = await make_server(demo=False, retry_ms=RETRY_MS)
    async with Piped("watch", "one", "--json", *of(server, user)) as piped:
        await piped.take(lambda line: '"live"' in line)
        async with server.http(user=user) as client:
            await publish(client, "one", "in_progress", 10)
            await publish(client, "one", "in_progress", 20)
            await piped.take(lambda line: "in_progress 20" in line)
        await server.kill()
        await eventually(lambda: "trying again" in piped.errors)
        await server.start()
        async with server.http(user=user) as client:
            await publish(client, "one", "in_progress", 30)
            await publish(client, "one", "completed", 100)
            await stop(client, "one")
        assert await piped.ended() == 0, piped.errors
    assert [it["progress"] for it in messages(piped.lines)] == [10, 20, 30, 100]
    ids = [json.loads(line)["id"] for line in piped.lines if '"live"' not in line]
    assert len(ids) == len(set(ids))


async def test_work_that_died_with_the_server_has_its_code(make_server: MakeServer, user: int) -> None:
    router_port = free_port()
    server = await make_server(demo_router_bind=f"127.0.0.1:{router_port}", retry_ms=RETRY_MS)
    await RouterControl(router_port).behave("unreachable")
    async with Piped("run", "eliminar", "--id-conexion", "3", *of(server, user)) as piped:
        await piped.take(lambda line: "Conectando con el router" in line)
        await server.kill()
        await server.start()
        assert await piped.ended() == 5, piped.errors
    assert len(piped.lines) == len(set(piped.lines))
    assert "remove-router" in piped.lines[-2]
    assert piped.lines[-1].split()[-1] == "interrupted"


async def test_server_that_is_full_is_asked_again(make_server: MakeServer, user: int) -> None:
    server = await make_server(streams_per_user=1)
    async with server.http(user=user) as client:
        await publish(client, "one", "in_progress", 10)
        async with SseReader(f"{server.url}/sse/progress?userId={user}") as holder:
            await holder.until_live()
            piped = Piped("watch", "one", *of(server, user))
            await piped.__aenter__()
            await eventually(lambda: "429: " in piped.errors)
        await publish(client, "one", "completed", 100)
        await stop(client, "one")
        assert await piped.ended() == 0, piped.errors
    assert piped.lines[-1].split()[-1] == "completed"


async def test_history_that_ended_with_the_server_is_told_as_lost(make_server: MakeServer, user: int) -> None:
    server = await make_server(demo=False, broker_url="memory://", retry_ms=RETRY_MS)
    async with Piped("watch", "one", *of(server, user)) as piped:
        async with server.http(user=user) as client:
            await publish(client, "one", "in_progress", 10)
        await piped.take()
        await server.kill()
        await server.start()
        assert await piped.ended() == 8
    assert "history of one is gone" in piped.errors


# The other way to look


async def test_curl_shows_each_event_when_it_happens(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    """A stream is text that a person can read: one line with what happened, as soon as it did."""
    async with CurlReader(f"{server.url}/sse/operations/one?userId={user}") as curl:
        await curl.opened()
        await curl.until(b"event: live")
        for progress in (10, 20):
            await publish(mine, "one", "in_progress", progress)
            lines = await curl.until(b'data: {"operation_id"')
            assert f'"message":"in_progress {progress}","progress":{progress}' in lines[-1].decode()
            assert lines[-2].startswith(b"id: ")
        await do(mine, ELIMINAR, 13, "other")
        await publish(mine, "one", "completed", 100)
        await stop(mine, "one")
        assert b"other" not in await curl.body()
