"""One resume with one cursor: what the server tells, and whether that is the truth (protocol §3)."""

import asyncio
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple
from urllib.parse import quote

from tests.chaos.clients import Client, Data, SocketClient, SseClient
from tests.chaos.event_stream import Request
from tests.chaos.ledger import Seen, seq_of, split_cursor

ANSWER_SECONDS = 5.0

Key = tuple[str, str | None]
"""An operation and its step; None stands for its ending."""


class Way(Enum):
    """How a cursor travels."""

    HEADER = "header"
    QUERY = "query"
    SOCKET = "socket"


class Watch(NamedTuple):
    """What is watched, and how."""

    user: int
    operation_id: str | None = None
    way: Way = Way.HEADER


class Told(NamedTuple):
    """What came up to `live`, or to the end of the stream."""

    stopped: bool
    """The answer was 204."""
    gap: Mapping[str, Any] | None
    """The first thing, where it was that."""
    seen: Sequence[Seen]
    live: str | None


class _Once(Client):
    """Goes on once, up to `live`; keeps the order of everything."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.names: list[str] = []
        self.told = asyncio.Event()

    def take(self, event: str, cursor: str | None, data: Mapping[str, Any]) -> None:
        """See `Client.take`."""
        if not self.told.is_set():
            self.names.append(event)
            super().take(event, cursor, data)
        if event == "live":
            self.told.set()


class _OnceStream(_Once, SseClient):
    watch = Watch(0)

    def request(self) -> Request:
        """See `SseClient.request`."""
        operation_id = self.watch.operation_id
        path = "/sse/progress" if operation_id is None else f"/sse/operations/{operation_id}"
        path = f"{path}?userId={self._user}"
        if self.watch.way is Way.QUERY:
            return Request(f"{path}&lastEventId={quote(self.cursor or '')}")
        return Request(path, self.cursor)


class _OnceSocket(_Once, SocketClient):
    pass


async def resume(port: int, watch: Watch, cursor: str | None) -> Told:
    """Go on from `cursor`. Raises AssertionError where no answer comes, or one that is not allowed."""
    kind = _OnceSocket if watch.way is Way.SOCKET else _OnceStream
    client = kind("once", port, watch.user, seed=0, data=Data())
    if isinstance(client, _OnceStream):
        client.watch = watch
    client.cursor = cursor
    client.log.asked.append(cursor)
    connection = asyncio.ensure_future(client.connect())
    told = asyncio.ensure_future(client.told.wait())
    await asyncio.wait([connection, told], timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    stopped = connection.done() and connection.result()
    ended = client.names[-1:] == ["end"] and watch.operation_id is not None
    assert client.told.is_set() or ended or stopped, f"{watch} from {cursor!r}: only {client.names}"
    for task in (connection, told):
        task.cancel()
    await asyncio.wait([connection, told])
    assert not client.failures, client.failures
    assert client.names.count("gap") == (client.names[:1] == ["gap"]), f"a gap comes first: {client.names}"
    live = client.lives[0].cursor if client.lives else None
    return Told(stopped, client.log.gaps[0] if client.log.gaps else None, client.log.seen, live)


def verify(told: Told, truth: Sequence[Seen], watch: Watch, cursor: str | None) -> None:
    """Hold what was told to the whole history, which is `truth` and at rest.

    Without a `gap` nothing may be missing; with one the state must be the true one, and nothing else.
    """
    where = f"{watch} from {cursor!r}: {told}"
    newest = truth[-1].cursor
    mine = [it for it in truth if watch.operation_id in {None, it.data["operation_id"]}]
    if told.gap is None and cursor is not None:
        epoch, seq = split_cursor(cursor)
        assert epoch == split_cursor(newest)[0], f"a silent gap: another epoch, {where}"
        assert seq <= seq_of(newest), f"a silent gap: from the future, {where}"
        wanted = [it for it in mine if seq_of(it.cursor) > seq]
    else:
        wanted = _state(mine, watch, cursor if told.gap is not None else None, newest)
    assert _placed(told.seen) == _placed(wanted), f"{len(wanted)} wanted, {where}"
    if told.gap is not None:
        if watch.way is not Way.HEADER or (cursor or "").isascii():  # which characters a header has is open
            assert told.gap["requested"] == cursor, where
        assert told.gap["latest"] == newest, where
        assert seq_of(told.gap["earliest"]) <= seq_of(newest), where
    if told.stopped:
        last = [it for it in mine if it.is_ending][-1:]
        assert told.gap is None, where
        assert last, where
        assert last == mine[-1:], where
    elif not (watch.operation_id is not None and wanted and wanted[-1].is_ending):
        assert told.live == newest, where


def view(seen: Sequence[Seen]) -> dict[Key, Seen]:
    """The last event of each step, and the ending of each operation that has ended."""
    state: dict[Key, Seen] = {}
    for it in seen:
        operation_id = it.data["operation_id"]
        if it.is_ending:
            state[(operation_id, None)] = it
        else:
            state.pop((operation_id, None), None)  # re-opened
            state[(operation_id, it.data["step"])] = it
    return state


def _state(mine: Sequence[Seen], watch: Watch, gap_from: str | None, newest: str) -> list[Seen]:
    """What a newcomer is told (no `gap_from`), or one whose cursor cannot be served."""
    state = view(mine)
    endings = {operation_id: seq_of(it.cursor) for (operation_id, step), it in state.items() if step is None}
    if watch.operation_id is not None:
        dropped: set[str] = set()
    elif gap_from is None:
        dropped = set(endings)
    else:
        after = _usable(gap_from, newest)
        dropped = {operation_id for operation_id, seq in endings.items() if seq <= after}
    kept = [it for (operation_id, _), it in state.items() if operation_id not in dropped]
    return sorted(kept, key=lambda it: seq_of(it.cursor))


def _usable(cursor: str, newest: str) -> int:
    """The place of a cursor of this history; 0 of one that is none."""
    try:
        epoch, seq = split_cursor(cursor)
    except ValueError:
        return 0
    return seq if epoch == split_cursor(newest)[0] and seq <= seq_of(newest) else 0


def _placed(seen: Sequence[Seen]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(it.cursor, it.data) for it in seen]
