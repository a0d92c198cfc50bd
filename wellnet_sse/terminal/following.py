"""Following an operation, or all of a user's, whatever happens to the connection."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

from wellnet_sse.progress.events import Cursor
from wellnet_sse.terminal.event_stream import Block, EventStream
from wellnet_sse.terminal.exits import LostError, StrangerError
from wellnet_sse.terminal.remote import (
    FIRST_WAIT_SECONDS,
    BusyError,
    Patience,
    Remote,
    body_of,
    check,
    trouble,
)

_CLOSED = {
    "drain": "the server is restarting",
    "slow": "this terminal was too slow",
    "expired": "the credentials have expired",
}


class Told(NamedTuple):
    """What a stream told, named as in `wellnet.progress.v2`: `progress`, `operation`, `gap`, `live` or `end`.

    `final`: it is the ending that was waited for.
    """

    event: str
    id: str | None
    data: dict[str, Any]
    final: bool = False


class Waiting(NamedTuple):
    """The connection is gone; it is tried again in `seconds`."""

    seconds: float
    reason: str


class Stalled(NamedTuple):
    """A step is silent for longer than such steps ever are."""

    operation_id: str
    step: str


class Start(NamedTuple):
    """The POST that begins what is then followed.

    `is_new`: nobody else knows the operation's id, so nothing has happened under it before.
    """

    path: str
    body: dict[str, Any]
    is_new: bool = False


class Following:
    """What happens to `operation_id` (None: to all operations of the user), each event once.

    With `start` it is begun first; that is asked again unless it may have been done: then only where nothing
    has happened to the operation meanwhile. Iterating ends with the ending of the operation. Raises
    RefusedError, UnreachableError, and LostError where the server's history does not know any more what was
    followed.
    """

    def __init__(
        self, remote: Remote, operation_id: str | None, *, patience: Patience, start: Start | None = None
    ) -> None:
        self._remote = remote
        self._operation_id = operation_id
        self._patience = patience
        self._start = start
        self._before: str | None = None
        self._in_doubt = False
        self._cursor: Cursor | None = None
        self._known = False
        self._known_since_gap = True
        self._retry_seconds = FIRST_WAIT_SECONDS
        self._clock_offset_seconds = 0.0

    def server_time(self) -> float:
        """Seconds since 1970 by the server's clock, to about a second."""
        return time.time() + self._clock_offset_seconds

    async def events(self) -> AsyncGenerator[Told | Waiting]:
        """All that is told, and each time that the connection is lost."""
        while True:
            try:
                async with aclosing(self._connection()) as connection:
                    async for told in connection:
                        yield told
                        if told.final:
                            return
            except BusyError as busy:
                self._in_doubt = self._in_doubt or busy.in_doubt
                seconds = self._patience.next_wait(busy, first_seconds=self._retry_seconds)
                yield Waiting(seconds, busy.reason)
                await asyncio.sleep(seconds)

    async def _connection(self) -> AsyncGenerator[Told]:
        """One connection, from where the last one left off. Raises BusyError at its end."""
        try:
            async with await self._request() as response:
                await check(response)
                self._measure_clock(response)
                self._start = None
                if not _is_stream(response):
                    yield await self._ending_without_stream(response)
                    return
                stream = EventStream()
                async for chunk in response.aiter_bytes():
                    self._patience.answered()
                    for block in stream.feed(chunk):
                        if (told := self._told(block)) is not None:
                            yield told
                    if stream.retry_ms is not None:
                        self._retry_seconds = stream.retry_ms / 1000
        except httpx.TransportError as error:
            raise BusyError(
                trouble(error), in_doubt=not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            ) from error
        raise BusyError("the stream ended")

    async def _request(self) -> AbstractAsyncContextManager[httpx.Response]:
        headers = {"Accept": "text/event-stream"}
        if self._start is not None and not await self._is_begun(self._start):
            headers["X-Operation-ID"] = self._operation_id or ""
            return self._remote.stream("POST", self._start.path, json=self._start.body, headers=headers)
        if self._cursor is not None:
            headers["Last-Event-ID"] = str(self._cursor)
        one = self._operation_id
        path = "/sse/progress" if one is None else f"/sse/operations/{quote(one)}"
        return self._remote.stream("GET", path, headers=headers)

    async def _is_begun(self, start: Start) -> bool:
        """Whether a request that was cut off has begun the work all the same."""
        if self._before is None:
            self._before = "" if start.is_new else await self._newest()
        elif self._in_doubt:
            # What is already under way is joined by a repeat; what went wrong would be tried once more.
            newest = await self._newest()
            if newest not in {"", self._before}:
                return True
        self._in_doubt = False
        return False

    async def _newest(self) -> str:
        """The cursor of the operation's last event; empty before one."""
        state = await self._remote.ask("GET", f"/api/operaciones/{quote(self._operation_id or '')}")
        return "" if state.status_code == 404 else str((await body_of(state)).get("cursor") or "")

    async def _ending_without_stream(self, response: httpx.Response) -> Told:
        """The ending of what has nothing more to tell.

        A stream says so with 204. A repeated POST answers alone where the history of its operation is gone.
        Raises StrangerError where it is neither, BusyError where the operation was opened again meanwhile.
        """
        one, progress = self._operation_id, None
        if response.status_code == 204 and one is not None:
            state = await self._remote.ask("GET", f"/api/operaciones/{quote(one)}")
            if state.status_code == 404:
                raise LostError(f"The server does not know {one} any more")
            told = await body_of(state)
            outcome, progress = told.get("outcome"), told.get("progress")
            if outcome is None:
                raise BusyError("the operation was opened again")
        elif response.request.method == "POST" and (await body_of(response)).get("success") is True:
            outcome = "completed"
        else:
            raise StrangerError
        data = {"operation_id": one, "outcome": outcome, "progress": progress}
        return Told("operation", None, data, final=True)

    def _told(self, block: Block) -> Told | None:
        """What a block tells; None where it was told before, or is of a kind that this version knows not."""
        try:
            data = json.loads(block.data)
        except ValueError:
            return None
        if not isinstance(data, dict):
            return None
        match block.event:
            case "message" | "operation" | "end" if "reason" not in data:
                event = "progress" if block.event == "message" else "operation"
                return self._once(Told(event, block.last_event_id, data, final=block.event == "end"))
            case "end":
                reason = str(data["reason"])
                raise BusyError(_CLOSED.get(reason, reason))
            case "live":
                self._cursor = Cursor.parse(block.last_event_id)
                if self._known and not self._known_since_gap and self._operation_id is not None:
                    raise LostError(f"The server's history of {self._operation_id} is gone")
                return Told("live", block.last_event_id, data)
            case "gap":
                self._known_since_gap = False
                return Told("gap", None, data)
        return None

    def _once(self, told: Told) -> Told | None:
        self._known = self._known_since_gap = True
        before, cursor = self._cursor, Cursor.parse(told.id or "")
        if before and cursor and cursor.epoch == before.epoch and cursor.seq <= before.seq:
            return None
        self._cursor = cursor
        return told

    def _measure_clock(self, response: httpx.Response) -> None:
        try:
            self._clock_offset_seconds = (
                parsedate_to_datetime(response.headers["Date"]).timestamp() - time.time()
            )
        except (KeyError, ValueError):
            return


def _is_stream(response: httpx.Response) -> bool:
    media_type = str(response.headers.get("Content-Type", "")).partition(";")[0]
    return media_type.strip().lower() == "text/event-stream"
