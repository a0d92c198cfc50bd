"""Joining, leaving and coming back: nothing lost, nothing double, and never silence where history is gone."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio

from tests.conftest import MakeServer, demo_settings
from tests.e2e.support import (
    ELIMINAR,
    ENDPOINTS,
    QUITAR_ASIGNACION,
    SERVICE,
    begin,
    do,
    ended,
    moved,
    publish,
    published,
    seq,
    state,
    told,
)
from tests.harness import (
    CurlReader,
    EventSourceClient,
    LegacySocket,
    ServerProcess,
    SseEvent,
    SseReader,
    V2Message,
    V2Socket,
)
from tests.harness.sse import Comment, Retry

EVENTS = 150
OPERATIONS = ("left", "right")


class Seen(NamedTuple):
    """An event with its cursor, on whichever transport it came."""

    id: str
    data: dict[str, Any]


def from_v2(messages: Sequence[V2Message]) -> list[Seen]:
    return [Seen(it.id or "", it.data) for it in messages if it.event in {"progress", "operation"}]


def from_sse(events: Sequence[SseEvent]) -> list[Seen]:
    return [Seen(it.id or "", it.json) for it in events if it.event in {"message", "operation", "end"}]


def stream_url(server: ServerProcess, user: int, operation_id: str | None = None) -> str:
    path = "/sse/progress" if operation_id is None else f"/sse/operations/{operation_id}"
    return f"{server.url}{path}?userId={user}"


def socket_url(server: ServerProcess, user: int, cursor: str | None = None) -> str:
    resumed = "" if cursor is None else f"&lastEventId={cursor}"
    return f"{server.ws_url}/ws/progress?userId={user}{resumed}"


async def history(server: ServerProcess, user: int) -> list[Seen]:
    """Everything that was ever told to the user."""
    async with V2Socket(socket_url(server, user)) as socket:
        newest = (await socket.until_live())[-1].id
    async with V2Socket(socket_url(server, user, moved(newest, -seq(newest)))) as socket:
        messages = await socket.until_live()
    assert messages[0].event != "gap"
    return from_v2(messages)


class Load:
    """Two operations whose publishers are as fast as they can be; readers join at chosen moments.

    `width` is how many events of an operation are on their way at once: with 1 they are told in their order.
    """

    def __init__(self, client: httpx.AsyncClient, *, width: int) -> None:
        self._client = client
        self._width = width
        self._published = 0
        self._moved = asyncio.Condition()

    async def run(self) -> None:
        """Publish `EVENTS` numbered events of each operation, then end both."""
        async with asyncio.TaskGroup() as tasks:
            for operation_id in OPERATIONS:
                tasks.create_task(self._operate(operation_id))

    async def reached(self, count: int) -> None:
        """Wait until so many events have been published."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._published >= count)

    async def _operate(self, operation_id: str) -> None:
        await begin(self._client, operation_id, "copy")
        numbers = iter(range(EVENTS))
        await asyncio.gather(*(self._publish(operation_id, numbers) for _ in range(self._width)))
        await published(self._client, operation_id, "copy", "completed")

    async def _publish(self, operation_id: str, numbers: Iterator[int]) -> None:
        for number in numbers:
            answer = await publish(self._client, operation_id, "copy", message=str(number))
            assert answer.status_code == 201
            async with self._moved:
                self._published += 1
                self._moved.notify_all()


class Joined(NamedTuple):
    """What a reader was told: before `live` (None where it came with a cursor) and after it."""

    cursor: str
    before_live: list[Seen] | None
    after: list[Seen]


def told_of(message: V2Message | SseEvent) -> str | None:
    """Which operation a message is about."""
    data = message.data if isinstance(message, V2Message) else message.json
    operation_id: str | None = data.get("operation_id")
    return operation_id


def all_ended(awaited: set[str]) -> Callable[[V2Message | SseEvent], bool]:
    """Whether the last of these operations' endings has come."""
    left = set(awaited)

    def check(message: V2Message | SseEvent) -> bool:
        if message.event == "operation":
            left.discard(told_of(message) or "")
        return not left

    return check


def awaited_by(cursor: str | None, head: Sequence[V2Message | SseEvent]) -> set[str]:
    """Whose endings a reader will be told: with a cursor all, without one those that had not ended."""
    return set(OPERATIONS) if cursor is not None else set(OPERATIONS) & {told_of(it) or "" for it in head}


async def test_joining_in_the_middle_under_load_loses_and_doubles_nothing(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    """Each reader has, after its state or its cursor, exactly what history says, in that order."""
    load = Load(mine, width=8)
    start = await published(mine, "before", "copy", "in_progress")

    async def socket_joins(at: int, cursor: str | None) -> Joined:
        await load.reached(at)
        async with V2Socket(socket_url(server, user, cursor)) as socket:
            head = await socket.until_live() if cursor is None else []
            awaited = awaited_by(cursor, head)
            tail = await socket.until(all_ended(awaited)) if awaited else []
        assert "gap" not in {it.event for it in (*head, *tail)}
        if cursor is not None:
            return Joined(cursor, None, from_v2(tail))
        return Joined(head[-1].id or "", from_v2(head), from_v2(tail))

    async def stream_joins(at: int, cursor: str | None) -> Joined:
        await load.reached(at)
        async with SseReader(stream_url(server, user), last_event_id=cursor) as stream:
            head = await stream.until_live() if cursor is None else []
            awaited = awaited_by(cursor, head)
            tail = await stream.until(all_ended(awaited)) if awaited else []
        assert "gap" not in {it.event for it in (*head, *tail)}
        if cursor is not None:
            return Joined(cursor, None, from_sse(tail))
        return Joined(head[-1].id or "", from_sse(head), from_sse(tail))

    async def own_stream_joins(at: int, operation_id: str) -> tuple[str, list[Seen]]:
        await load.reached(at)
        async with SseReader(stream_url(server, user, operation_id), last_event_id=start) as stream:
            return operation_id, from_sse(await stream.rest(timeout_seconds=40))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(load.run())
        joins = [
            tasks.create_task(socket_joins(at, cursor))
            for at in range(10, 2 * EVENTS, 25)
            for cursor in (None, moved(start, at // 2))
        ]
        joins += [
            tasks.create_task(stream_joins(at, cursor))
            for at, cursor in ((25, None), (60, moved(start, 40)), (100, None), (150, start))
        ]
        own = [
            tasks.create_task(own_stream_joins(at, operation_id))
            for at, operation_id in zip((60, 120), OPERATIONS, strict=True)
        ]

    truth = await history(server, user)
    assert [seq(it.id) for it in truth] == list(range(1, len(truth) + 1))
    assert len(truth) == 1 + 2 * (EVENTS + 3)
    for task in joins:
        cursor, before_live, after = task.result()
        assert after == truth[seq(cursor) :]
        if before_live is not None:
            live = seq(cursor)
            possible = [_state_at(truth[:at]) + truth[at:live] for at in range(live + 1)]
            assert before_live in possible, "the state at one moment, and everything from there on"
    for task_of_one in own:
        operation_id, seen = task_of_one.result()
        assert seen == [it for it in truth if it.data["operation_id"] == operation_id]


def _state_at(truth: Sequence[Seen]) -> list[Seen]:
    """The last event of the one step of each operation, while none has ended, in the order of cursors."""
    last = {it.data["operation_id"]: it for it in truth}
    return sorted(last.values(), key=lambda it: seq(it.id))


async def test_readers_that_leave_take_nothing_from_those_who_stay(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    """Tabs are opened and closed, well and badly, in the middle of everything."""
    load = Load(mine, width=8)

    async def come_and_go(number: int) -> None:
        while not stayed.done():
            async with V2Socket(socket_url(server, user)) as socket:
                await socket.until_live()
                await socket.next()
                if number % 2:
                    socket.connection.transport.abort()

    async def stay() -> list[V2Message]:
        async with V2Socket(socket_url(server, user)) as socket:
            await socket.until_live()
            return await socket.until(all_ended(set(OPERATIONS)))

    logged = len(server.log)
    async with asyncio.TaskGroup() as tasks:
        stayed = tasks.create_task(stay())
        comers = [tasks.create_task(come_and_go(number)) for number in range(6)]
        tasks.create_task(load.run())
        seen = from_v2(await stayed)
        for comer in comers:
            comer.cancel()
    assert [seq(it.id) for it in seen] == list(range(1, 2 * (EVENTS + 3) + 1))
    assert "Traceback" not in server.log[logged:]


async def test_documented_socket_that_joins_in_the_middle_misses_nothing_after_its_state(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    load = Load(mine, width=1)

    async def watch(at: int) -> list[int]:
        await load.reached(at)
        async with LegacySocket(socket_url(server, user)) as tab:
            seen = await tab.until(lambda it: it["operation_id"] == "left" and it["status"] == "completed")
        return [
            int(it["message"])
            for it in seen
            if it["operation_id"] == "left" and it["status"] == "in_progress"
        ]

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(load.run())
        watchers = [tasks.create_task(watch(at)) for at in (20, 100, 180, 240)]
    for watcher in watchers:
        numbers = watcher.result()
        assert numbers == list(range(numbers[0], EVENTS))


async def test_first_bytes_come_at_once_and_tell_how_long_to_wait(make_server: MakeServer, user: int) -> None:
    """Also of an operation that does not exist yet; then `live`, and a comment in silence."""
    server = await make_server(heartbeat_seconds=0.2, retry_ms=100_000)
    waits = set()
    async with AsyncExitStack() as stack:
        for operation_id in (None, "not-yet", None):
            stream = await stack.enter_async_context(SseReader(stream_url(server, user, operation_id)))
            assert (await stream.opened()).status == 200
            retry = await stream.take()
            assert isinstance(retry, Retry), "first of all"
            assert 75_000 <= retry.milliseconds <= 125_000
            waits.add(retry.milliseconds)
            live = await stream.next()
            assert (live.event, live.data, seq(live.id)) == ("live", "{}", 0)
        for _ in range(2):
            assert isinstance(await stream.take(timeout_seconds=5), Comment)
    assert len(waits) > 1, "jittered"


async def test_default_retry_is_about_two_seconds(server: ServerProcess, user: int) -> None:
    async with CurlReader(stream_url(server, user)) as curl:
        await curl.opened()
        line = await curl.line()
    assert line.startswith(b"retry: ")
    assert 1500 <= int(line.split()[1]) <= 2500


async def test_a_stream_waits_for_an_operation_that_does_not_exist_yet(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    async with SseReader(stream_url(server, user, "later")) as stream:
        await stream.until_live()
        await published(mine, "another", "copy", "in_progress")
        await do(mine, QUITAR_ASIGNACION, 1, "later")
        await mine.post("/api/operaciones/later/detener", json={})
        events = await stream.rest()
    assert told(it.json for it in events[:-1]) == SERVICE
    assert seq(events[0].id) == 2


async def test_ended_operation_is_told_at_once_and_then_is_204(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    await do(mine, ELIMINAR, 2, "op")
    url = stream_url(server, user, "op")
    async with SseReader(url) as stream:
        events = await stream.rest()
    assert [it.event for it in events] == ["message", "message", "message", "end"], "no live"
    ids = [seq(it.id) for it in events]
    assert ids == sorted(ids)
    end = events[-1].id
    assert end is not None
    newest = await published(mine, "another", "copy", "in_progress")

    for header, query in [(end, None), (newest, None), (None, end), (end, "rubbish"), (None, newest)]:
        answer = await mine.get(
            "/sse/operations/op",
            params={} if query is None else {"lastEventId": query},
            headers={} if header is None else {"Last-Event-ID": header},
        )
        assert (answer.status_code, answer.content) == (204, b"")
    async with SseReader(url, last_event_id=moved(end, -3)) as stream:
        assert [seq(it.id) for it in await stream.rest()] == [seq(end) - 2, seq(end) - 1, seq(end)]
    async with SseReader(f"{url}&lastEventId=") as stream:
        assert await stream.rest() == events, "empty is none"


async def test_cut_between_the_last_step_and_the_ending_the_client_still_learns_the_ending(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    await begin(mine, "op", "copy")
    async with SseReader(stream_url(server, user, "op")) as stream:
        await stream.until_live()
        await published(mine, "op", "copy", "completed")
        completed = await stream.next()
    async with SseReader(stream_url(server, user, "op"), last_event_id=completed.id) as stream:
        events = await stream.rest()
    assert [(it.event, seq(it.id)) for it in events] == [("end", seq(completed.id) + 1)]
    assert events[0].json["outcome"] == "completed"
    async with V2Socket(socket_url(server, user, completed.id)) as socket:
        messages = await socket.until_live()
    assert [(it.event, seq(it.id)) for it in messages] == [
        ("operation", seq(completed.id) + 1),
        ("live", seq(completed.id) + 1),
    ]


async def test_browser_reconnects_by_itself_and_stops_after_the_end(
    make_server: MakeServer, user: int
) -> None:
    """EventSource sees each event once although its connection is closed at the end, and is then told 204."""
    server = await make_server(retry_ms=100)
    async with server.http(user=user) as client, EventSourceClient(stream_url(server, user, "op")) as page:
        await page.until(lambda it: it.type == "live")
        await do(client, ELIMINAR, 3, "op")
        events = await page.until(lambda it: it.type == "error" and it.ready_state == 2)
    told_types = [it.type for it in events if it.type not in {"open", "error"}]
    assert told_types == ["message"] * len(ENDPOINTS[3].events) + ["end"]
    ids = [seq(it.last_event_id) for it in events if it.data is not None]
    assert ids == list(range(1, len(ids) + 1))


async def test_stop_with_no_step_ends_and_then_is_204(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    async with (
        LegacySocket(socket_url(server, user)) as tab,
        SseReader(stream_url(server, user, "op")) as stream,
    ):
        await stream.until_live()
        await tab.start("op")
        await tab.stop("op")
        events = await stream.rest()
    assert [(it.event, seq(it.id)) for it in events] == [("end", 1)]
    assert events[0].json["outcome"] == "cancelled"
    assert events[0].json["progress"] is None
    answer = await mine.get("/sse/operations/op", headers={"Last-Event-ID": events[0].id or ""})
    assert answer.status_code == 204


async def test_a_failing_curl_ends_within_a_second(server: ServerProcess, user: int) -> None:
    async with CurlReader(
        server.url + ELIMINAR,
        *("-X", "POST", "--json", '{"id_conexion": 999}'),
        *("-H", "Accept: text/event-stream", "-H", f"X-User-ID: {user}"),
    ) as curl:
        assert (await curl.opened()).status == 200
        begun = time.perf_counter()
        body = (await curl.body()).decode()
        assert time.perf_counter() - begun < 1
    assert '"status":"error","message":"Error: No existe la conexión 999","progress":0' in body
    assert '"outcome":"failed"' in body.split("event: end\n")[1]


async def test_reopened_operation_shows_its_first_ending_and_ends_once_more(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    """An ending that a re-opening followed is `operation`, and the stream goes on to the last one."""
    url = stream_url(server, user, "op")
    await begin(mine, "op", "copy")
    await published(mine, "op", "copy", "completed")
    first = (await state(mine, "op"))["cursor"]
    assert (await mine.get("/sse/operations/op", headers={"Last-Event-ID": first})).status_code == 204
    await published(mine, "op", "copy", "pending")
    async with SseReader(url, last_event_id=moved(first, -1)) as stream:
        events = await stream.until_live()
        assert [it.event for it in events] == ["operation", "message", "live"]
        async with SseReader(url, last_event_id=first) as again:
            assert [it.event for it in await again.until_live()] == ["message", "live"]
            await published(mine, "op", "copy", "in_progress", "completed")
            rest = await stream.rest()
            assert [it.event for it in rest] == ["message", "message", "end"]
            assert await again.rest() == rest
    assert (
        await mine.get("/sse/operations/op", headers={"Last-Event-ID": rest[-1].id or ""})
    ).status_code == 204


# Gaps


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def forgetful(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """A server that keeps 32 events of a user, and lets go of older ones at once."""
    settings = demo_settings({"history_events": 32, "broker_url": "memory://"})
    async with ServerProcess(tmp_path_factory.mktemp("forgetful"), settings=settings) as process:
        yield process
        assert await process.terminate() == 0, process.tail()
        assert "Traceback" not in process.log, process.log


async def flood(client: httpx.AsyncClient, operation_id: str, count: int = 60) -> None:
    """Publish so much that what was before is forgotten."""
    for number in range(count):
        answer = await publish(client, operation_id, "copy", message=str(number))
        assert answer.status_code == 201


async def test_a_gap_is_told_with_the_state_and_the_endings_that_were_missed(
    forgetful: ServerProcess, user: int
) -> None:
    """`op` ends inside the gap; `old` had ended before the cursor; `noise` still runs."""
    server = forgetful
    async with server.http(user=user) as client, AsyncExitStack() as stack:
        await begin(client, "old", "copy")
        await published(client, "old", "copy", "completed")
        await begin(client, "op", "copy", "check")
        cursor = await published(client, "op", "copy", "completed")
        await published(client, "op", "check", "in_progress", "completed")
        assert (await ended(client, "op"))["outcome"] == "completed"
        await flood(client, "noise")
        newest = (await state(client, "noise"))["cursor"]

        stream = await stack.enter_async_context(SseReader(stream_url(server, user), last_event_id=cursor))
        events = await stream.until_live()
        gap, told_state, live = events[0], events[1:-1], events[-1]
        assert (gap.event, gap.id) == ("gap", None)
        assert list(gap.json) == ["requested", "earliest", "latest"]
        assert (gap.json["requested"], gap.json["latest"]) == (cursor, newest)
        assert seq(cursor) < seq(gap.json["earliest"]) <= seq(newest) - 31
        assert [
            (it.event, it.json["operation_id"], it.json.get("step", it.json.get("outcome")))
            for it in told_state
        ] == [
            ("message", "op", "copy"),
            ("message", "op", "check"),
            ("operation", "op", "completed"),
            ("message", "noise", "copy"),
        ]
        ids = [seq(it.id) for it in (*told_state, live)]
        assert ids == sorted(ids)
        assert len(set(ids[:-1])) == len(ids) - 1
        assert live.id == newest
        # The same on the socket, one to one.
        socket = await stack.enter_async_context(V2Socket(socket_url(server, user, cursor)))
        messages = await socket.until_live()
        names = {"message": "progress"}
        assert [(names.get(it.event, it.event), it.id, it.json) for it in events] == [
            (it.event, it.id, it.data) for it in messages
        ]
        # And so the next reconnect has none: from `live`, and from the last event of the state.
        for last in (live.id, told_state[-1].id):
            async with SseReader(stream_url(server, user), last_event_id=last) as again:
                assert [it.event for it in await again.until_live()] == ["live"]
        # Both are live.
        await published(client, "after", "copy", "in_progress")
        assert (await stream.next()).id == (await socket.next()).id == moved(newest, 1)


async def test_own_stream_tells_an_operation_that_ended_inside_a_gap(
    forgetful: ServerProcess, user: int
) -> None:
    server = forgetful
    async with server.http(user=user) as client:
        await begin(client, "op", "copy")
        cursor = (await state(client, "op"))["cursor"]
        await published(client, "op", "copy", "in_progress", "completed")
        await flood(client, "noise")
    async with SseReader(stream_url(server, user, "op"), last_event_id=cursor) as stream:
        events = await stream.rest()
    assert [it.event for it in events] == ["gap", "message", "end"]
    assert events[1].json["status"] == "completed"
    assert events[2].json["outcome"] == "completed"


async def test_own_stream_has_no_gap_where_only_others_events_are_gone(
    forgetful: ServerProcess, user: int
) -> None:
    server = forgetful
    async with server.http(user=user) as client:
        cursor = await published(client, "op", "copy", "in_progress")
        await flood(client, "noise")
        async with SseReader(stream_url(server, user, "op"), last_event_id=cursor) as stream:
            assert [it.event for it in await stream.until_live()] == ["live"]
            await published(client, "op", "copy", "completed")
            assert (await stream.next()).json["status"] == "completed"
        async with SseReader(stream_url(server, user), last_event_id=cursor) as stream:
            assert (await stream.next()).event == "gap", "of all operations there is one"


@pytest.mark.parametrize(
    "cursor",
    [
        "rubbish",
        "0000-1",
        "-",
        "7",
        "año-1",
        "{epoch}-99999",
        "{epoch}-x",
        "{epoch}--1",
        "{epoch}-01",
        "x" * 5000,
    ],
)
async def test_an_unusable_cursor_is_a_gap_with_state_and_endings(
    server: ServerProcess, mine: httpx.AsyncClient, user: int, cursor: str
) -> None:
    """Foreign, malformed, from the future: never an error, never silence."""
    await begin(mine, "ended", "copy")
    await published(mine, "ended", "copy", "completed")
    newest = await published(mine, "running", "copy", "in_progress")
    given = cursor.replace("{epoch}", newest.rpartition("-")[0])
    expected = [
        ("gap", None),
        ("message", 2),
        ("operation", 3),
        ("message", 4),
        ("live", 4),
    ]
    url = httpx.URL(stream_url(server, user)).copy_merge_params({"lastEventId": given})
    async with SseReader(str(url)) as stream:
        events = await stream.until_live()
    assert [(it.event, None if it.id is None else seq(it.id)) for it in events] == expected
    assert events[0].json == {"requested": given, "earliest": moved(newest, -3), "latest": newest}
    own = httpx.URL(stream_url(server, user, "ended")).copy_merge_params({"lastEventId": given})
    async with SseReader(str(own)) as stream:
        events = await stream.rest()
    assert [it.event for it in events] == ["gap", "message", "end"], "of that operation only"


async def test_an_unusable_cursor_before_the_first_event(server: ServerProcess, user: int) -> None:
    async with SseReader(stream_url(server, user), last_event_id="k3f9-41") as stream:
        events = await stream.until_live()
    assert [it.event for it in events] == ["gap", "live"]
    assert events[0].json == {"requested": "k3f9-41", "earliest": None, "latest": None}
    assert seq(events[1].id) == 0
    async with SseReader(stream_url(server, user), last_event_id=events[1].id) as stream:
        assert [it.event for it in await stream.until_live()] == ["live"], "<epoch>-0 is a good cursor"


async def test_header_wins_over_query(server: ServerProcess, mine: httpx.AsyncClient, user: int) -> None:
    newest = await published(mine, "op", "copy", "in_progress", "completed")
    url = f"{stream_url(server, user)}&lastEventId=rubbish"
    async with SseReader(url, last_event_id=newest) as stream:
        assert [it.event for it in await stream.until_live()] == ["live"]
    url = f"{stream_url(server, user)}&lastEventId={newest}"
    async with SseReader(url, last_event_id=moved(newest, -1)) as stream:
        assert [it.event for it in await stream.until_live()] == ["message", "live"]
