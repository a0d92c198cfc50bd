"""The work belongs to the server: it is done once, told exactly, and survives whoever asked for it."""

import asyncio
import json
import re
import sqlite3

import httpx
import pytest

from tests.conftest import MakeServer
from tests.e2e.support import (
    CONFIG,
    DOCUMENTED,
    ELIMINAR,
    ELIMINAR_CONFIGURACION,
    ENDPOINTS,
    PENDING,
    QUITAR_ASIGNACION,
    QUITAR_CONEXION,
    ROUTER,
    SERVICE,
    Told,
    address,
    body_of,
    do,
    ended,
    mark,
    publish,
    published,
    seq,
    state,
    state_of,
    told,
)
from tests.harness import (
    CurlReader,
    LegacySocket,
    RouterControl,
    ServerProcess,
    SseEvent,
    SseReader,
    V2Message,
    V2Socket,
    eventually,
    free_port,
)

CONNECTING, REMOVING = ROUTER[0], ROUTER[1]


def own_url(server: ServerProcess, user: int, operation_id: str = "op") -> str:
    return f"{server.url}/sse/operations/{operation_id}?userId={user}"


def reads(event: Told) -> "Matches":
    return Matches(event)


class Matches:
    """Whether a message tells this, on whichever transport."""

    def __init__(self, event: Told) -> None:
        self._event = event

    def __call__(self, message: SseEvent | V2Message) -> bool:
        data = message.json if isinstance(message, SseEvent) else message.data
        return "step" in data and told([data]) == [self._event]


# Whoever asked


async def test_a_client_that_goes_away_changes_nothing(
    server: ServerProcess, mine: httpx.AsyncClient, user: int, router: RouterControl
) -> None:
    """Its curl is killed while the router is being waited for; the work is done, once, to the end."""
    await router.behave("unreachable")
    async with SseReader(own_url(server, user)) as stream:
        await stream.until_live()
        async with CurlReader(
            server.url + ELIMINAR,
            *("-X", "POST", "--json", '{"id_conexion": 1}'),
            *("-H", f"X-User-ID: {user}", "-H", "X-Operation-ID: op"),
        ):
            events = await stream.until(reads(CONNECTING))
        await router.behave("normal")
        events += await stream.rest()
    assert told(it.json for it in events[:-1]) == [*PENDING, *SERVICE, *ROUTER, *CONFIG]
    assert events[-1].json["outcome"] == "completed"
    assert await router.entries(address(1)) == 0
    answer = await do(mine, ELIMINAR, 1, "op")
    assert answer.json() == {"success": True, "message": ENDPOINTS[3].message}
    assert answer.headers["idempotent-replay"] == "true"


async def test_a_client_that_leaves_its_streamed_post_changes_nothing(
    server: ServerProcess, mine: httpx.AsyncClient, user: int, router: RouterControl
) -> None:
    await router.behave("unreachable")
    async with CurlReader(
        server.url + QUITAR_CONEXION,
        *("-X", "POST", "--json", json.dumps(body_of(QUITAR_CONEXION, 2)), "-H", "Accept: text/event-stream"),
        *("-H", f"X-User-ID: {user}", "-H", "X-Operation-ID: op"),
    ) as curl:
        await curl.opened()
        await curl.until(b'"progress":20')
        assert await _connections(mine) == 1
    await eventually(lambda: _gone(mine))
    await router.behave("normal")
    assert (await ended(mine, "op"))["outcome"] == "completed"
    assert await router.entries(address(2)) == 0


async def _connections(client: httpx.AsyncClient) -> int:
    count: int = (await client.get("/api/metricas")).json()["activeConnections"]
    return count


async def _gone(client: httpx.AsyncClient) -> bool:
    return await _connections(client) == 0


# Once


async def test_twenty_equal_posts_are_one_execution(
    server: ServerProcess, mine: httpx.AsyncClient, user: int, router: RouterControl
) -> None:
    async with V2Socket(f"{server.ws_url}/ws/progress?userId={user}") as socket:
        await socket.until_live()
        before = await router.calls()
        alone = await do(mine, QUITAR_CONEXION, 3, "alone")
        assert alone.status_code == 200
        one_execution = await router.calls() - before
        await router.behave("unreachable")
        before = await router.calls()
        async with asyncio.TaskGroup() as tasks:
            posts = [tasks.create_task(do(mine, QUITAR_CONEXION, 4, "op")) for _ in range(20)]
            await socket.until(lambda it: it.data["operation_id"] == "op")
            await router.behave("normal")
        calls = await router.calls() - before
        marker = await mark(mine)
        events = await socket.until(lambda it: it.data["operation_id"] == marker)
    for post in posts:
        assert post.result().status_code == 200
        assert post.result().json() == {"success": True, "message": ENDPOINTS[1].message}
    assert calls == one_execution
    assert told(it.data for it in events[:-1]) == ROUTER[1:]
    found = await state(mine, "op")
    assert [it["attempt"] for it in found["steps"]] == [1]


async def test_equal_posts_at_the_same_moment_are_one_execution(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    """Nobody is held up here, so that some join and some are replayed; each of them has the answer."""
    answers = await asyncio.gather(*(do(mine, ELIMINAR, 5, "op") for _ in range(10)))
    assert {(it.status_code, it.text) for it in answers} == {(200, answers[0].text)}
    async with SseReader(own_url(server, user)) as stream:
        events = await stream.rest()
    assert seq(events[-1].id) == len(ENDPOINTS[3].events) + 1


@pytest.mark.parametrize("path", DOCUMENTED)
async def test_a_replay_calls_the_router_no_more_and_tells_nobody(
    server: ServerProcess, mine: httpx.AsyncClient, user: int, router: RouterControl, path: str
) -> None:
    connection = 6 + DOCUMENTED.index(path)
    first = await do(mine, path, connection, "op")
    assert first.status_code == 200
    assert "idempotent-replay" not in first.headers
    calls = await router.calls()
    async with V2Socket(f"{server.ws_url}/ws/progress?userId={user}") as socket:
        await socket.until_live()
        again = await do(mine, path, connection, "op")
        assert (again.status_code, again.json()) == (200, first.json())
        assert again.headers["idempotent-replay"] == "true"
        marker = await mark(mine)
        assert (await socket.next()).data["operation_id"] == marker
        # To whoever would be told later this may end the operation, but none of its steps says more.
        again = await do(mine, path, connection, "op", Prefer="respond-async")
        assert (again.status_code, again.json()) == (200, first.json())
        assert again.headers["idempotent-replay"] == "true"
        marker = await mark(mine)
        last = await socket.until(lambda it: it.data["operation_id"] == marker)
        assert [it.event for it in last if it.event == "progress"] == ["progress"]
    assert await router.calls() == calls


async def test_a_streamed_replay_begins_with_state(
    server: ServerProcess, mine: httpx.AsyncClient, user: int, router: RouterControl
) -> None:
    await do(mine, ELIMINAR, 10, "op")
    calls = await router.calls()
    headers = {"X-User-ID": str(user), "X-Operation-ID": "op", "Content-Type": "application/json"}
    async with SseReader(
        server.url + ELIMINAR,
        method="POST",
        headers={**headers, "Accept": "text/event-stream"},
        body='{"id_conexion": 10}',
    ) as stream:
        opened = await stream.opened()
        events = await stream.rest()
    assert opened.headers["idempotent-replay"] == "true"
    assert told(it.json for it in events[:-1]) == [SERVICE[-1], ROUTER[-1], CONFIG[-1]]
    assert events[-1].event == "end"
    assert await router.calls() == calls


async def test_a_streamed_join_begins_with_state_and_follows(
    server: ServerProcess, mine: httpx.AsyncClient, user: int, router: RouterControl
) -> None:
    await router.behave("unreachable")
    headers = {"X-User-ID": str(user), "X-Operation-ID": "op", "Content-Type": "application/json"}
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(do(mine, ELIMINAR, 11, "op"))
        async with SseReader(own_url(server, user)) as watch:
            await watch.until(reads(CONNECTING))
        async with SseReader(
            server.url + ELIMINAR,
            method="POST",
            headers={**headers, "Accept": "text/event-stream"},
            body='{"id_conexion": 11}',
        ) as stream:
            shown = await stream.until_live()
            await router.behave("normal")
            rest = await stream.rest()
    assert first.result().status_code == 200
    assert told(it.json for it in shown[:-1]) == [PENDING[2], SERVICE[-1], CONNECTING]
    assert told(it.json for it in rest[:-1]) == [*ROUTER[1:], *CONFIG]
    assert rest[-1].json["outcome"] == "completed"


async def test_another_body_is_refused_while_running_and_when_completed_and_allowed_after_a_failure(
    server: ServerProcess, mine: httpx.AsyncClient, user: int, router: RouterControl
) -> None:
    await router.behave("unreachable")
    async with SseReader(own_url(server, user)) as stream, asyncio.TaskGroup() as tasks:
        await stream.until_live()
        running = tasks.create_task(do(mine, QUITAR_CONEXION, 12, "op"))
        await stream.until(reads(CONNECTING))
        _assert_failed(await do(mine, QUITAR_CONEXION, 13, "op"), 422)
        await router.behave("normal")
        await stream.until(reads(ROUTER[-1]))
    assert running.result().status_code == 200
    _assert_failed(await do(mine, QUITAR_CONEXION, 13, "op"), 422)
    assert await router.entries(address(13)) == 5
    # The same address, written in another way, is the same validated body.
    answer = await mine.post(
        QUITAR_CONEXION,
        content=b'{ "x": 1, "direccion_ip" : "10.0.0.12"}',
        headers={"Content-Type": "application/json", "X-Operation-ID": "op"},
    )
    assert answer.headers["idempotent-replay"] == "true"

    _assert_failed(await do(mine, QUITAR_ASIGNACION, 999, "failed"), 404)
    assert (await do(mine, QUITAR_ASIGNACION, 13, "failed")).status_code == 200
    step = (await state(mine, "failed"))["steps"][0]
    assert (step["status"], step["attempt"]) == ("completed", 2)


async def test_users_do_not_share_answers(server: ServerProcess, mine: httpx.AsyncClient, user: int) -> None:
    await do(mine, QUITAR_ASIGNACION, 14, "op")
    async with server.http(user=user + 1_000_000) as other:
        answer = await do(other, QUITAR_ASIGNACION, 15, "op")
    assert answer.status_code == 200
    assert "idempotent-replay" not in answer.headers


# Failures


def _assert_failed(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert list(body) == ["success", "message"]
    assert body["success"] is False
    message: str = body["message"]
    assert message
    assert not re.search(r"Traceback|Error\(|127\.0\.0\.1|https?:|httpx|wellnet_sse|\.py", message)
    return message


@pytest.mark.parametrize(
    "case",
    [
        (QUITAR_ASIGNACION, {"id_conexion": 999}, SERVICE[:2]),
        (QUITAR_CONEXION, {"direccion_ip": "10.9.9.9"}, ROUTER[:1]),
        (ELIMINAR_CONFIGURACION, {"id_conexion": 999, "id_usuario": 1}, CONFIG[:1]),
        (ELIMINAR_CONFIGURACION, {"id_conexion": 16, "id_usuario": 1}, CONFIG[:1]),  # another's
    ],
)
async def test_what_does_not_exist_is_404_after_the_numbers_reached(
    server: ServerProcess,
    mine: httpx.AsyncClient,
    user: int,
    case: tuple[str, dict[str, int | str], list[Told]],
) -> None:
    path, body, before = case
    async with SseReader(own_url(server, user)) as stream:
        await stream.until_live()
        answer = await mine.post(path, json=body, headers={"X-Operation-ID": "op"})
        reason = _assert_failed(answer, 404)
        await mine.post("/api/operaciones/op/detener", json={})
        events = await stream.rest()
    error = Told(before[0].step, "error", 0, f"Error: {reason}")
    assert told(it.json for it in events[:-1]) == [*before, error]
    assert events[-1].json["outcome"] == "failed"


async def test_an_unknown_connection_fails_the_whole_removal_in_its_first_step(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    async with SseReader(own_url(server, user)) as stream:
        await stream.until_live()
        reason = _assert_failed(await do(mine, ELIMINAR, 999, "op"), 404)
        events = await stream.rest()
    error = Told("remove-service", "error", 0, f"Error: {reason}")
    assert told(it.json for it in events[:-1]) == [*PENDING, *SERVICE[:2], error]
    assert (events[-1].event, events[-1].json["outcome"]) == ("end", "failed")


async def test_what_is_absent_already_counts_as_done(mine: httpx.AsyncClient) -> None:
    for path in DOCUMENTED:
        for attempt in range(2):
            answer = await do(mine, path, 17, f"op-{attempt}")
            assert answer.status_code == 200
            assert answer.json()["success"] is True
            assert "idempotent-replay" not in answer.headers


async def test_a_refusing_router_is_502_after_sixty_and_the_next_attempt_may_succeed(
    server: ServerProcess, mine: httpx.AsyncClient, user: int, router: RouterControl
) -> None:
    await router.behave("refusing")
    async with SseReader(own_url(server, user)) as stream:
        await stream.until_live()
        reason = _assert_failed(await do(mine, ELIMINAR, 18, "op"), 502)
        events = await stream.rest()
    error = Told("remove-router", "error", 0, f"Error: {reason}")
    assert told(it.json for it in events[:-1]) == [*PENDING, *SERVICE, CONNECTING, REMOVING, error]
    assert events[-1].json["outcome"] == "failed"
    assert await router.entries(address(18)) == 5

    # The repeat re-opens the operation and skips what is done.
    await router.behave("normal")
    async with SseReader(own_url(server, user), last_event_id=events[-2].id) as stream:
        assert [it.event for it in await stream.rest()] == ["end"]
    answer = await do(mine, ELIMINAR, 18, "op")
    assert (answer.status_code, answer.json()["message"]) == (200, ENDPOINTS[3].message)
    async with SseReader(own_url(server, user), last_event_id=events[-2].id) as stream:
        again = await stream.rest()
    assert (again[0].event, again[0].id) == ("operation", events[-1].id), (
        "an ending that a re-opening followed"
    )
    assert told(it.json for it in again[1:-1]) == [*ROUTER, *CONFIG]
    assert again[-1].json["outcome"] == "completed"
    assert [it["attempt"] for it in (await state(mine, "op"))["steps"]] == [1, 2, 1]


async def test_whole_removal_skips_steps_that_were_done_one_by_one(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    async with SseReader(own_url(server, user)) as stream:
        await stream.until_live()
        await do(mine, QUITAR_ASIGNACION, 19, "op")
        assert (await do(mine, ELIMINAR, 19, "op")).status_code == 200
        events = await stream.rest()
    assert told(it.json for it in events[:-1]) == [*SERVICE, *PENDING[1:], *ROUTER, *CONFIG]
    assert events[-1].json["outcome"] == "completed"


async def test_a_router_that_does_not_answer_is_504_after_twenty(make_server: MakeServer, user: int) -> None:
    port = free_port()
    server = await make_server(
        demo_router_bind=f"127.0.0.1:{port}", router_timeout_seconds=0.3, router_attempts=2
    )
    await RouterControl(port).behave("unreachable")
    async with server.http(user=user) as client:
        async with SseReader(own_url(server, user)) as stream:
            await stream.until_live()
            reason = _assert_failed(await do(client, ELIMINAR, 1, "op"), 504)
            events = await stream.rest()
        error = Told("remove-router", "error", 0, f"Error: {reason}")
        assert told(it.json for it in events[:-1]) == [*PENDING, *SERVICE, CONNECTING, error]
        assert events[-1].json["outcome"] == "failed"
        _assert_failed(await client.post(QUITAR_CONEXION, json=body_of(QUITAR_CONEXION, 2)), 504)

        # Nobody listens there at all.
        with sqlite3.connect(server.directory / "wellnet.db") as database:
            database.execute("UPDATE routers SET url = ?", (f"http://127.0.0.1:{free_port()}",))
        database.close()
        reason = _assert_failed(await do(client, QUITAR_CONEXION, 3, "refused"), 504)
        steps = (await state(client, "refused"))["steps"]
        assert (steps[0]["message"], steps[0]["progress"]) == (f"Error: {reason}", 0)
    assert "Traceback" not in server.log


async def test_a_slow_router_is_waited_for(
    server: ServerProcess, mine: httpx.AsyncClient, user: int, router: RouterControl
) -> None:
    await router.behave("slow", delay_seconds=0.05)
    async with SseReader(own_url(server, user)) as stream:
        await stream.until_live()
        assert (await do(mine, ELIMINAR, 20, "op")).status_code == 200
        events = await stream.rest()
    assert told(it.json for it in events[:-1]) == ENDPOINTS[3].events


# Stop, cancel, re-open


async def test_a_stop_while_a_post_runs_ends_the_operation_when_it_is_over(
    server: ServerProcess, mine: httpx.AsyncClient, user: int, router: RouterControl
) -> None:
    await router.behave("unreachable")
    async with (
        LegacySocket(f"{server.ws_url}/ws/progress?userId={user}") as tab,
        SseReader(own_url(server, user)) as stream,
        asyncio.TaskGroup() as tasks,
    ):
        await stream.until_live()
        await tab.start("op")
        post = tasks.create_task(do(mine, QUITAR_CONEXION, 21, "op"))
        await stream.until(reads(CONNECTING))
        answer = await mine.post("/api/operaciones/op/detener", json={})
        assert (answer.status_code, answer.json()["outcome"]) == (202, None)
        await tab.stop("op")
        await router.behave("normal")
        events = await stream.rest()
    assert post.result().status_code == 200
    assert told(it.json for it in events[:-1]) == ROUTER[1:]
    assert events[-1].json["outcome"] == "completed"


async def test_cancel_between_two_steps_leaves_the_router_untouched(
    make_server: MakeServer, user: int
) -> None:
    port = free_port()
    server = await make_server(demo_router_bind=f"127.0.0.1:{port}", demo_pace_seconds=1)
    router = RouterControl(port)
    async with server.http(user=user) as client:
        async with SseReader(own_url(server, user)) as stream, asyncio.TaskGroup() as tasks:
            await stream.until_live()
            post = tasks.create_task(do(client, ELIMINAR, 1, "op"))
            events = await stream.until(reads(SERVICE[0]))
            answer = await client.post("/api/operaciones/op/cancelar", json={})
            assert (answer.status_code, answer.json()["outcome"]) == (202, None)
            events += await stream.rest()
        assert told(it.json for it in events[:-1]) == [*PENDING, *SERVICE], "the step that runs may finish"
        assert events[-1].json["outcome"] == "cancelled"
        _assert_failed(post.result(), 409)
        assert await router.calls() == 0
        assert await router.entries(address(1)) == 5

        # From then on nothing is done under its name.
        for path in DOCUMENTED:
            for headers in ({}, {"Prefer": "respond-async"}, {"Accept": "text/event-stream"}):
                _assert_failed(await do(client, path, 2, "op", **headers), 409)
        assert (await publish(client, "op", "copy")).status_code == 409
        assert (await client.post("/api/operaciones/op/cancelar", json={})).status_code == 409
        assert (await client.post("/api/operaciones/op/detener", json={})).status_code == 200
        async with SseReader(own_url(server, user), last_event_id=events[-1].id) as again:
            assert (await again.opened()).status == 204


async def test_cancel_while_the_router_works_lets_that_step_finish_and_begins_no_other(
    server: ServerProcess, mine: httpx.AsyncClient, user: int, router: RouterControl
) -> None:
    await router.behave("unreachable")
    async with (
        V2Socket(f"{server.ws_url}/ws/progress?userId={user}") as socket,
        SseReader(own_url(server, user)) as stream,
        asyncio.TaskGroup() as tasks,
    ):
        await socket.until_live()
        await stream.until_live()
        post = tasks.create_task(do(mine, ELIMINAR, 22, "op"))
        await stream.until(reads(CONNECTING))
        await socket.send({"type": "cancel_operation", "operation_id": "op"})
        await eventually(lambda: _is_refused(mine))
        await router.behave("normal")
        events = await stream.rest()
    _assert_failed(post.result(), 409)
    assert told(it.json for it in events[:-1]) == ROUTER[1:]
    assert events[-1].json["outcome"] == "cancelled"
    assert await router.entries(address(22)) == 0


async def _is_refused(client: httpx.AsyncClient) -> bool:
    """Whether the operation is being cancelled: then nothing new is begun."""
    return (await publish(client, "op", "marker", "pending")).status_code == 409


async def test_closing_every_tab_cancels_nothing(
    server: ServerProcess, mine: httpx.AsyncClient, user: int, router: RouterControl
) -> None:
    await router.behave("unreachable")
    async with LegacySocket(f"{server.ws_url}/ws/progress?userId={user}") as tab:
        await tab.start("op")
        answer = await do(mine, ELIMINAR, 23, "op", Prefer="respond-async")
        assert answer.status_code == 202
        await tab.until(lambda it: told([it]) == [CONNECTING])
    await router.behave("normal")
    assert (await ended(mine, "op"))["outcome"] == "completed"


async def test_work_reopens_an_ended_operation(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    """Documented clients are never refused for the sake of bookkeeping: one ending for each opening."""
    await do(mine, QUITAR_ASIGNACION, 24, "op")
    await mine.post("/api/operaciones/op/detener", json={})
    first = await ended(mine, "op")
    # A replay has nothing to do, naming it changes nothing: it stays ended.
    await do(mine, QUITAR_ASIGNACION, 24, "op")
    answer = await mine.post("/api/operaciones", json={"operation_id": "op", "steps": ["new"]})
    assert (answer.status_code, answer.json()) == (200, first)

    assert (await do(mine, QUITAR_CONEXION, 24, "op")).status_code == 200
    assert (await state(mine, "op"))["outcome"] is None
    await mine.post("/api/operaciones/op/detener", json={})
    async with SseReader(own_url(server, user), last_event_id=first["cursor"]) as stream:
        events = await stream.rest()
    assert told(it.json for it in events[:-1]) == ROUTER
    assert events[-1].json["outcome"] == "completed"

    # A failure re-opens it, and decides the outcome anew.
    _assert_failed(await do(mine, ELIMINAR_CONFIGURACION, 999, "op"), 404)
    await published(mine, "op", "after", "completed")
    await mine.post("/api/operaciones/op/detener", json={})
    assert (await ended(mine, "op"))["outcome"] == "failed"


async def test_naming_a_running_operation_again_declares_new_steps_only(mine: httpx.AsyncClient) -> None:
    answer = await mine.post("/api/operaciones", json={"operation_id": "op", "steps": ["a", "b", "a"]})
    assert answer.status_code == 201
    assert answer.headers["location"] == "/api/operaciones/op"
    await published(mine, "op", "a", "in_progress")
    answer = await mine.post("/api/operaciones", json={"operation_id": "op", "steps": ["c", "a"]})
    assert answer.status_code == 200
    found = state_of(answer)
    assert [(it["step"], it["status"]) for it in found["steps"]] == [
        ("a", "in_progress"),
        ("b", "pending"),
        ("c", "pending"),
    ]
    made = await mine.post("/api/operaciones", json={})
    assert made.status_code == 201
    assert made.headers["location"] == f"/api/operaciones/{made.json()['operation_id']}"
