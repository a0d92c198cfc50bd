"""The source document's flow, on every transport at once, with the exact sequences that it promises."""

import re
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.e2e.support import (
    CONFIG,
    ELIMINAR,
    ENDPOINTS,
    FIELDS,
    PENDING,
    QUITAR_ASIGNACION,
    QUITAR_CONEXION,
    ROUTER,
    SERVICE,
    STEPS,
    Endpoint,
    address,
    body_of,
    do,
    ended,
    joined,
    mark,
    moved,
    publish,
    seq,
    state,
    told,
)
from tests.harness import (
    CurlReader,
    LegacySocket,
    NodeSocket,
    RouterControl,
    ServerProcess,
    SseReader,
    V2Message,
    V2Socket,
)

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

endpoints = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda it: it.path.removeprefix("/api/"))


@endpoints
async def test_all_transports_tell_the_documented_sequence_with_the_same_cursors(
    server: ServerProcess, mine: httpx.AsyncClient, user: int, endpoint: Endpoint
) -> None:
    operation_id = "remove-config-1721181234567-abc123xyz"
    query = f"?userId={user}"
    async with (
        SseReader(f"{server.url}/sse/operations/{operation_id}{query}") as own,
        SseReader(f"{server.url}/sse/progress{query}") as everything,
        LegacySocket(f"{server.ws_url}/ws/progress{query}") as tab,
        NodeSocket(f"{server.ws_url}/ws/progress{query}") as second_tab,
        V2Socket(f"{server.ws_url}/ws/progress{query}") as modern,
    ):
        await own.until_live()
        await everything.until_live()
        await modern.until_live()
        await second_tab.opened()
        await joined(tab, mine)
        await joined(second_tab, mine)

        await tab.start(operation_id)
        answer = await do(mine, endpoint.path, 1, operation_id)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {"success": True, "message": endpoint.message}
        await tab.stop(operation_id)  # `eliminar` has ended by then, and ignores it

        on_stream = await own.rest()
        on_progress = await everything.until(lambda it: it.event == "operation")
        on_modern = await modern.until(lambda it: it.event == "operation")
        count = len(endpoint.events)
        on_tab = [await tab.next() for _ in range(count)]
        on_second_tab = [await second_tab.next() for _ in range(count)]
        after = await mark(mine)
        assert (await tab.next())["operation_id"] == after, "the documented dialect says nothing of endings"
        assert (await second_tab.next())["operation_id"] == after

    assert told(it.json for it in on_stream[:-1]) == endpoint.events
    assert [it.event for it in on_stream] == ["message"] * count + ["end"]
    assert [it.event for it in on_progress] == ["message"] * count + ["operation"]
    assert [it.event for it in on_modern] == ["progress"] * count + ["operation"]
    assert [seq(it.id) for it in on_stream] == list(range(1, count + 2))
    assert [it.id for it in on_stream] == [it.id for it in on_progress] == [it.id for it in on_modern]
    assert [it.data for it in on_stream] == [it.data for it in on_progress]
    assert [it.json for it in on_stream] == [it.data for it in on_modern]
    assert [it.json for it in on_stream[:-1]] == on_tab == on_second_tab
    for event in (*on_tab, *(it.json for it in on_stream[:-1])):
        assert list(event) == FIELDS
        assert event["operation_id"] == operation_id
        assert TIMESTAMP.fullmatch(event["timestamp"])
    ending = on_stream[-1].json
    assert list(ending) == ["operation_id", "outcome", "progress", "timestamp"]
    assert ending["outcome"] == "completed"
    assert ending["progress"] == (100 if endpoint.path == ELIMINAR else None), "null while undeclared"


async def test_declared_steps_are_pending_first_and_the_operation_ends_with_the_last_of_them(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    async with (
        LegacySocket(f"{server.ws_url}/ws/progress?userId={user}") as tab,
        SseReader(f"{server.url}/sse/operations/op?userId={user}") as stream,
    ):
        await stream.until_live()
        await tab.start("op", steps=STEPS)
        for endpoint in ENDPOINTS[:3]:
            assert (await do(mine, endpoint.path, 2, "op")).status_code == 200
        events = await stream.rest()
        assert told(it.json for it in events[:-1]) == [*PENDING, *SERVICE, *ROUTER, *CONFIG]
        assert (events[-1].json["outcome"], events[-1].json["progress"]) == ("completed", 100)
        assert told([await tab.next() for _ in events[:-1]]) == [*PENDING, *SERVICE, *ROUTER, *CONFIG]


async def test_a_closed_tab_takes_nothing_from_the_second(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    url = f"{server.ws_url}/ws/progress?userId={user}"
    async with NodeSocket(url) as second:
        await second.opened()
        await joined(second, mine)
        async with LegacySocket(url) as first:
            await joined(first, mine)
            await do(mine, QUITAR_ASIGNACION, 3, "op")
            assert told([await first.next() for _ in SERVICE]) == SERVICE
        await do(mine, QUITAR_CONEXION, 3, "op")
        assert told([await second.next() for _ in SERVICE + ROUTER]) == SERVICE + ROUTER


async def test_users_with_the_same_operation_id_see_only_their_own(server: ServerProcess, user: int) -> None:
    other, stranger = user + 1_000_000, user + 2_000_000
    async with AsyncExitStack() as stack:
        clients: dict[int, httpx.AsyncClient] = {}
        streams: dict[int, SseReader] = {}
        sockets: dict[int, V2Socket] = {}
        for one in (user, other, stranger):
            query = f"?userId={one}"
            clients[one] = await stack.enter_async_context(server.http(user=one))
            reader = SseReader(f"{server.url}/sse/operations/same{query}")
            streams[one] = await stack.enter_async_context(reader)
            sockets[one] = await stack.enter_async_context(V2Socket(f"{server.ws_url}/ws/progress{query}"))
            await streams[one].until_live()
            await sockets[one].until_live()
        assert (await do(clients[user], QUITAR_ASIGNACION, 4, "same")).status_code == 200
        assert (await do(clients[other], QUITAR_ASIGNACION, 999, "same")).status_code == 404
        for verb in ("detener", "cancelar"):
            answer = await clients[stranger].post(f"/api/operaciones/same/{verb}", json={})
            assert answer.status_code == 404, "existence is not told either"
        assert (await clients[stranger].get("/api/operaciones/same")).status_code == 404
        assert (await clients[stranger].get("/api/operaciones")).json() == {"operations": [], "next": None}
        assert (await state(clients[user], "same"))["outcome"] is None, "a stranger's stop is not its own"
        for one in (user, other):
            answer = await clients[one].post("/api/operaciones/same/detener", json={})
            assert answer.status_code == 202

        done = await streams[user].rest()
        failed = await streams[other].rest()
        await mark(clients[stranger])
        seen = {one: await sockets[one].until(_is_ending_or_marker) for one in clients}
        assert [it.event for it in seen[stranger]] == ["progress"], "only its own marker"
        assert seq(seen[stranger][0].id) == 1
    assert told(it.json for it in done[:-1]) == SERVICE
    assert done[-1].json["outcome"] == "completed"
    assert [(it.step, it.status, it.progress) for it in told(it.json for it in failed[:-1])] == [
        ("remove-service", "in_progress", 10),
        ("remove-service", "in_progress", 30),
        ("remove-service", "error", 0),
    ]
    assert failed[-1].json["outcome"] == "failed"
    assert [it.id for it in seen[user]] == [it.id for it in done]
    assert [it.id for it in seen[other]] == [it.id for it in failed]
    assert seq(done[0].id) == seq(failed[0].id) == 1, "each user's events are counted by themselves"


def _is_ending_or_marker(message: V2Message) -> bool:
    return message.event == "operation" or message.data["step"] == "marker"


@endpoints
async def test_without_an_operation_id_the_work_is_done_and_nobody_is_told(
    server: ServerProcess, mine: httpx.AsyncClient, user: int, router: RouterControl, endpoint: Endpoint
) -> None:
    connection = 10 + ENDPOINTS.index(endpoint)
    assert await router.entries(address(connection)) == 5
    async with (
        V2Socket(f"{server.ws_url}/ws/progress?userId={user}") as socket,
        server.http() as nobody,
    ):
        await socket.until_live()
        body = endpoint.body(connection)
        for client in (mine, nobody):  # in the documented mode nobody needs to be named
            answer = await client.post(endpoint.path, json=body)
            assert answer.status_code == 200
            assert answer.json() == {"success": True, "message": endpoint.message}
            assert "idempotent-replay" not in answer.headers
        marker = await mark(mine)
        assert (await socket.next()).data["operation_id"] == marker
    left = 0 if endpoint.path in {QUITAR_CONEXION, ELIMINAR} else 5
    assert await router.entries(address(connection)) == left


@endpoints
async def test_respond_async_answers_at_once_with_a_place_to_ask_and_one_to_watch(
    server: ServerProcess, mine: httpx.AsyncClient, user: int, endpoint: Endpoint
) -> None:
    connection = 20 + ENDPOINTS.index(endpoint)
    operation_ids = []
    for headers in ({"X-Operation-ID": "op"}, {}):
        answer = await mine.post(
            endpoint.path, json=endpoint.body(connection), headers={"Prefer": "respond-async", **headers}
        )
        assert answer.status_code == 202
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["success"] is True
        location = answer.headers["location"]
        assert location.startswith("/api/operaciones/")
        operation_ids.append(location.rpartition("/")[2])
        link = re.fullmatch(r'<([^>]+)>; rel="monitor"', answer.headers["link"])
        assert link, answer.headers["link"]
        assert urlsplit(link[1]).path == f"/sse/operations/{operation_ids[-1]}"
        assert parse_qs(urlsplit(link[1]).query) == {"userId": [str(user)]}
        async with SseReader(server.url + link[1]) as stream:
            events = await stream.rest()
        assert events[-1].event == "end"
        assert events[-1].json["outcome"] == "completed"
        found = (await mine.get(location)).json()
        assert (found["outcome"], found["cursor"]) == ("completed", events[-1].id)
    assert operation_ids[0] == "op"
    assert operation_ids[1] != "op"


@endpoints
async def test_one_curl_starts_follows_and_ends(
    server: ServerProcess, user: int, mine: httpx.AsyncClient, endpoint: Endpoint
) -> None:
    connection = 30 + ENDPOINTS.index(endpoint)
    for named in (["-H", "X-Operation-ID: op"], []):
        async with CurlReader(
            server.url + endpoint.path,
            *("-X", "POST", "-H", "Accept: text/event-stream", "-H", "Content-Type: application/json"),
            *(
                "-H",
                f"X-User-ID: {user}",
                *named,
                "--json",
                httpx.Request("POST", "/", json=endpoint.body(connection)).content.decode(),
            ),
        ) as curl:
            opened = await curl.opened()
            body = (await curl.body()).decode()
        assert opened.status == 200
        assert opened.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert opened.headers["cache-control"] == "no-cache, no-transform"
        assert opened.headers["x-accel-buffering"] == "no"
        assert re.match(r"retry: \d+\n\n", body)
        blocks = [block for block in body.split("\n\n") if 'data: {"operation_id"' in block]
        assert len(blocks) == len(endpoint.events) + 1, "begun before its first event"
        assert "event: end\n" in blocks[-1]
        assert '"outcome":"completed"' in blocks[-1]
        for block, event in zip(blocks, endpoint.events, strict=False):
            assert block.startswith("id: "), "no event: line"
            assert (
                f'"status":"{event.status}","message":"{event.message}","progress":{event.progress}' in block
            )
        operation_id = opened.headers["location"].rpartition("/")[2]
        assert (operation_id == "op") == bool(named)
        assert (await state(mine, operation_id))["outcome"] == "completed"


async def test_fetch_streams_a_post_as_well(server: ServerProcess, user: int) -> None:
    headers = {"X-User-ID": str(user), "Content-Type": "application/json", "Accept": "text/event-stream"}
    body = httpx.Request("POST", "/", json=body_of(ELIMINAR, 34)).content.decode()
    async with SseReader(server.url + ELIMINAR, method="POST", headers=headers, body=body) as stream:
        assert (await stream.opened()).status == 200
        events = [it for it in await stream.rest() if it.event != "live"]
    assert told(it.json for it in events[:-1]) == ENDPOINTS[3].events
    assert events[-1].json["outcome"] == "completed"


async def test_a_declared_operation_goes_on_after_a_streamed_step(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    await mine.post("/api/operaciones", json={"operation_id": "op", "steps": STEPS})
    headers = {"X-User-ID": str(user), "X-Operation-ID": "op"}
    headers |= {"Content-Type": "application/json", "Accept": "text/event-stream"}
    async with SseReader(
        server.url + QUITAR_ASIGNACION, method="POST", headers=headers, body='{"id_conexion": 35}'
    ) as stream:
        await stream.until(lambda it: '"completed"' in it.data)
        assert (await state(mine, "op"))["outcome"] is None
        await do(mine, QUITAR_CONEXION, 35, "op")
        await do(mine, ENDPOINTS[2].path, 35, "op")
        assert (await stream.rest())[-1].json["outcome"] == "completed"


async def test_a_stopped_operation_ends_with_what_its_steps_say(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    """All completed: completed; an error: failed; unfinished or none: cancelled. Again: as it was."""
    expected = {"done": "completed", "error": "failed", "half": "cancelled", "none": "cancelled"}
    async with LegacySocket(f"{server.ws_url}/ws/progress?userId={user}") as tab:
        for operation_id in expected:
            await tab.start(operation_id)
        await joined(tab, mine)
        await do(mine, QUITAR_ASIGNACION, 36, "done")
        await do(mine, QUITAR_ASIGNACION, 999, "error")
        await publish(mine, "half", "copy", "in_progress")
        outcomes = {}
        for operation_id in expected:
            await tab.stop(operation_id)
            found = await ended(mine, operation_id)
            outcomes[operation_id] = found["outcome"]
            answer = await mine.post(f"/api/operaciones/{operation_id}/detener", json={})
            assert answer.status_code == 200, "already ended"
            assert answer.json() == found
    assert outcomes == expected


async def test_what_a_page_says_before_it_closes_its_socket_is_heard(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    """It stops its operation and goes: both are on their way at once."""
    for number in range(20):
        async with LegacySocket(f"{server.ws_url}/ws/progress?userId={user}") as tab:
            await tab.start(f"op-{number}")
            await tab.stop(f"op-{number}")
    for number in range(20):
        assert (await ended(mine, f"op-{number}"))["outcome"] == "cancelled"


async def test_documented_socket_is_told_state_on_connect(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    """The page that comes back after the last event sees where everything stands."""
    await do(mine, ELIMINAR, 37, "ended")
    await publish(mine, "running", "copy", "in_progress", message="A medias", progress=40)
    async with NodeSocket(f"{server.ws_url}/ws/progress?userId={user}") as tab:
        await tab.opened()
        seen: list[dict[str, Any]] = [await tab.next() for _ in range(4)]
        marker = await mark(mine)
        assert (await tab.next())["operation_id"] == marker, "the last event of each step, and no more"
    assert told(seen) == [
        SERVICE[-1],
        ROUTER[-1],
        CONFIG[-1],
        ("copy", "in_progress", 40, "A medias"),
    ]


async def test_one_cursor_works_on_every_transport(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    """A client leaves SSE and goes on over the WebSocket from there, and back."""
    await do(mine, ELIMINAR, 38, "op")
    async with SseReader(f"{server.url}/sse/operations/op?userId={user}&lastEventId=") as stream:
        first = (await stream.next()).id
    url = f"/ws/progress?userId={user}&lastEventId={moved(first, 2)}"
    async with V2Socket(server.ws_url + url) as socket:
        got = await socket.until_live()
    assert [seq(it.id) for it in got[:-1]] == list(range(seq(first) + 3, 15))
    async with SseReader(f"{server.url}/sse/progress?userId={user}", last_event_id=got[0].id) as stream:
        rest = await stream.until_live()
    assert [it.id for it in rest] == [it.id for it in got[1:]]
