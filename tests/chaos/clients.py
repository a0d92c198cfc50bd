"""Clients that reconnect for ever and keep all they saw; hundreds of them are cheap in one process.

Written from protocol §3 and §4 alone, with parsers of their own.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from tests.chaos.event_stream import Block, EventStream, MalformedError, Request
from tests.chaos.ledger import Log, Seen, seq_of

WAIT_SECONDS = (0.05, 0.25)
LATE_SECONDS = (0.05, 1.0)
"""How long a client waits before it connects again; every fifth comes late, with more to catch up on."""

SILENT_SECONDS = 3.0
"""A client that hears nothing for so long connects anew; heartbeats must be more frequent than this."""

EVENT_FIELDS = ["operation_id", "step", "status", "message", "progress", "timestamp"]
ENDING_FIELDS = ["operation_id", "outcome", "progress", "timestamp"]


class LiveAt(NamedTuple):
    """When a client was told that it is up to date, and up to where; in the loop's time."""

    opened_at: float
    """When it had begun to connect."""
    told_at: float
    cursor: str


class Data:
    """Parsed JSON, shared by all clients that were sent the same text."""

    def __init__(self) -> None:
        self._known: dict[str, Mapping[str, Any]] = {}

    def parse(self, text: str) -> Mapping[str, Any]:
        """The object that `text` spells."""
        data = self._known.get(text)
        if data is None:
            data = self._known[text] = json.loads(text)
        return data


class Client:
    """What all clients have in common: the cursor, the log, and reconnecting for ever."""

    def __init__(self, name: str, port: int, user: int, *, seed: int, data: Data) -> None:
        self.log = Log(name, user)
        self.lives: list[LiveAt] = []
        self.failures: list[str] = []
        """What the protocol does not allow; a reader that meets it goes on all the same."""
        self.reasons: list[str] = []
        """Why the server closed its connections, as far as it said so."""
        self.cursor: str | None = None
        self._port = port
        self._user = user
        self._data = data
        self._random = Random(f"{seed} {name}")  # noqa: S311 - seeded, so that a run can be repeated
        self._wait_seconds = LATE_SECONDS if self._random.random() < 0.2 else WAIT_SECONDS
        self._clock = asyncio.get_running_loop().time
        self._opened_at = 0.0

    @property
    def port(self) -> int:
        """Of the server that it is a client of."""
        return self._port

    @property
    def position(self) -> int:
        """The newest place that it knows."""
        return seq_of(self.cursor)

    def live_since(self, seconds: float) -> LiveAt | None:
        """The first time that it was up to date on a connection which it began after then."""
        return next((live for live in self.lives if live.opened_at >= seconds), None)

    async def run(self) -> None:
        """Follow until cancelled, or until the server says that nothing will follow."""
        while True:
            self.log.asked.append(self.cursor)
            self._opened_at = self._clock()
            with suppress(OSError):  # the server is away: that is what this is for
                if await self.connect():
                    return
            await asyncio.sleep(self._random.uniform(*self._wait_seconds))

    async def connect(self) -> bool:
        """One connection to its end; True where no other is to follow."""
        raise NotImplementedError

    def take(self, event: str, cursor: str | None, data: Mapping[str, Any]) -> None:
        """Note what came, and move on to it."""
        if event == "gap":
            self.log.gaps.append(data)
        elif cursor is None:
            self.reasons.append(str(data.get("reason")))
            if event != "end" or data.keys() != {"reason"}:
                self.failures.append(f"{self.log.client}: {event} {dict(data)} without a cursor")
        else:
            if event == "live":
                self.lives.append(LiveAt(self._opened_at, self._clock(), cursor))
            else:
                fields = EVENT_FIELDS if event == "progress" else ENDING_FIELDS
                if list(data) != fields:
                    self.failures.append(f"{self.log.client}: {event} {dict(data)}")
                self.log.seen.append(Seen(len(self.log.asked) - 1, cursor, data))
            if event in {"live", "end"} and self.log.complete_after is None:
                self.log.complete_after = cursor
            self.cursor = cursor


class SseClient(Client):
    """EventSource's manners: resumes with `Last-Event-ID`, stops at 204."""

    path = "/sse/progress"
    stream: EventStream | None = None
    """Its connection, or the last one that it had."""

    def request(self) -> Request:
        """How to go on from the cursor."""
        return Request(f"{self.path}?userId={self._user}", self.cursor)

    async def connect(self) -> bool:
        """See `Client.connect`."""
        loop = asyncio.get_running_loop()
        request = self.request()
        async with asyncio.timeout(SILENT_SECONDS):
            _, stream = await loop.create_connection(
                lambda: EventStream(request, self._block), "127.0.0.1", self._port
            )
        self.stream = stream
        watch = loop.call_later(SILENT_SECONDS, self._watch, stream)
        try:
            await stream.lost
        except (MalformedError, ValueError) as error:
            self.failures.append(f"{self.log.client}: {error!r}")
        finally:
            watch.cancel()
            stream.abort()
        if stream.status not in {0, 200, 204}:
            self.failures.append(f"{self.log.client}: answered {stream.status}")
        return stream.status == 204

    def _block(self, block: Block) -> None:
        self.take(block.event or "progress", block.id, self._data.parse(block.data))

    def _watch(self, stream: EventStream) -> None:
        """Leave a stream on which not even heartbeats come."""
        if not stream.lost.done():
            loop = asyncio.get_running_loop()
            if loop.time() - stream.heard_at >= SILENT_SECONDS:
                stream.abort()
            else:
                loop.call_at(stream.heard_at + SILENT_SECONDS, self._watch, stream)


class OperationClient(SseClient):
    """Watches one operation on its own stream, until the server answers 204."""

    def __init__(self, name: str, port: int, user: int, operation_id: str, *, seed: int, data: Data) -> None:
        super().__init__(name, port, user, seed=seed, data=data)
        self.path = f"/sse/operations/{operation_id}"
        self.log.operation_id = operation_id

    async def run(self) -> None:
        """See `Client.run`."""
        await super().run()
        self.log.closed = True


class SocketClient(Client):
    """The v2 dialect of `/ws/progress`, by PyPI `websockets`."""

    def __init__(self, name: str, port: int, user: int, *, seed: int, data: Data) -> None:
        super().__init__(name, port, user, seed=seed, data=data)
        self.codes: list[int | None] = []
        """How its sockets were closed; None where one was cut off."""

    async def connect(self) -> bool:
        """See `Client.connect`."""
        resume = "" if self.cursor is None else f"&lastEventId={quote(self.cursor)}"
        opening = connect(
            f"ws://127.0.0.1:{self._port}/ws/progress?userId={self._user}{resume}",
            subprotocols=[Subprotocol("wellnet.progress.v2")],
            compression=None,
            proxy=None,
            open_timeout=SILENT_SECONDS,
            ping_interval=SILENT_SECONDS / 2,
            ping_timeout=SILENT_SECONDS / 2,
            close_timeout=0.1,
        )
        try:
            async with opening as socket:
                try:
                    async for text in socket:
                        self._message(json.loads(text))
                finally:
                    self.codes.append(socket.close_code)
        except InvalidStatus as error:
            self.failures.append(f"{self.log.client}: {error!r}")
        except WebSocketException:
            pass  # cut off
        return False

    def _message(self, message: dict[str, Any]) -> None:
        if message.keys() != {"event", "id", "data"}:
            self.failures.append(f"{self.log.client}: {message}")
        else:
            self.take(message["event"], message["id"], message["data"])


class Follower:
    """Watches a user's operations one after another, each on its own stream, from before it begins.

    `name(n)` is the n-th operation's id.
    """

    def __init__(
        self, name: str, port: int, user: int, operation: Callable[[int], str], *, seed: int, data: Data
    ) -> None:
        self._name = name
        self._port = port
        self._user = user
        self._operation = operation
        self._seed = seed
        self._data = data
        self.clients: list[OperationClient] = []

    @property
    def current(self) -> OperationClient | None:
        """The one that it watches now."""
        return self.clients[-1] if self.clients else None

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            operation_id = self._operation(len(self.clients))
            name = f"{self._name}:{operation_id}"
            client = OperationClient(
                name, self._port, self._user, operation_id, seed=self._seed, data=self._data
            )
            self.clients.append(client)
            await client.run()
