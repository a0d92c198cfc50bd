"""An event stream over a raw connection: HTTP/1.1, chunks, and blocks, read strictly.

Stricter than HTML §9.2 asks: whatever protocol §3 does not allow raises `MalformedError`.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

NAMES = {"live", "gap", "end", "operation"}
HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
    "transfer-encoding": "chunked",
}


class MalformedError(Exception):
    """The server sent what the protocol does not allow."""


class Block(NamedTuple):
    """One event of the stream; progress events have no name."""

    event: str | None
    id: str | None
    data: str


class BlockParser:
    """Cuts the stream into blocks; comments and `retry` are checked and passed over."""

    def __init__(self) -> None:
        self._rest = b""
        self.retry_ms: int | None = None

    def feed(self, data: bytes) -> Iterator[Block]:
        """The blocks that end with `data`. Raises MalformedError."""
        *whole, self._rest = (self._rest + data).split(b"\n\n")
        for text in whole:
            block = self._block(text)
            if block is not None:
                yield block

    def _block(self, text: bytes) -> Block | None:
        fields: dict[str, str] = {}
        for line in text.decode().split("\n"):
            name, colon, value = line.partition(": ")
            if line.startswith(":"):
                continue
            if not colon or name not in {"event", "id", "data", "retry"} or name in fields or "\r" in line:
                raise MalformedError(f"the line {line!r}")
            fields[name] = value
        if fields.keys() == {"retry"}:
            self.retry_ms = int(fields["retry"])
        elif fields:
            return self._checked(fields)
        return None

    def _checked(self, fields: dict[str, str]) -> Block:
        event, event_id, data = fields.get("event"), fields.get("id"), fields.get("data")
        if self.retry_ms is None:
            raise MalformedError("no `retry` before the first event")
        if data is None or "retry" in fields or (event is not None and event not in NAMES):
            raise MalformedError(f"the block {fields}")
        has_id = event_id is not None
        if (has_id and event == "gap") or (not has_id and event not in {"gap", "end"}):
            raise MalformedError(f"id or none in {fields}")
        return Block(event, event_id, data)


class ChunkedBody:
    """The body of an answer with `Transfer-Encoding: chunked` (RFC 9112 §7.1)."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._size: int | None = None
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """The payload that is whole now. Raises MalformedError."""
        self._buffer += data
        payload = bytearray()
        while not self.ended:
            if self._size is None:
                line, end, _ = self._buffer.partition(b"\r\n")
                if not end:
                    break
                try:
                    self._size = int(line, 16)
                except ValueError as error:
                    raise MalformedError(f"the chunk size {bytes(line)!r}") from error
                del self._buffer[: len(line) + 2]
            if len(self._buffer) < self._size + 2:
                break
            if self._buffer[self._size : self._size + 2] != b"\r\n":
                raise MalformedError("a chunk that does not end")
            payload += self._buffer[: self._size]
            del self._buffer[: self._size + 2]
            self.ended, self._size = self._size == 0, None
        return bytes(payload)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for; `last_event_id` goes into the header."""

    path: str
    last_event_id: str | None = None

    def encode(self) -> bytes:
        """The request's head."""
        cursor = "" if self.last_event_id is None else f"Last-Event-ID: {self.last_event_id}\r\n"
        return (
            f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n{cursor}\r\n"
        ).encode()


class EventStream(asyncio.Protocol):
    """One connection: sends the request and hands each block to `receive`.

    `status` is 0 until the head has come. `lost` is done when the connection is over; it raises what was
    malformed, and nothing else.
    """

    def __init__(self, request: Request, receive: Callable[[Block], None]) -> None:
        loop = asyncio.get_running_loop()
        self._request = request
        self._receive = receive
        self._clock = loop.time
        self._head: bytearray | None = bytearray()
        self._body = ChunkedBody()
        self._blocks = BlockParser()
        self._transport: asyncio.Transport | None = None
        self.status = 0
        self.heard_at = loop.time()
        """When the last byte came, in the loop's time."""
        self.lost: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request.encode())

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self.heard_at = self._clock()
        try:
            if self._head is not None:
                data = self._read_head(data)
            if self.status == 200:
                for block in self._blocks.feed(self._body.feed(data)):
                    self._receive(block)
                if self._body.ended:
                    self.abort()
        except (MalformedError, ValueError) as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over; how it ended does not matter to one who will resume."""
        del exc
        if not self.lost.done():
            self.lost.set_result(None)

    def abort(self) -> None:
        """Leave."""
        if self._transport is not None:
            self._transport.abort()

    def _read_head(self, data: bytes) -> bytes:
        assert self._head is not None
        self._head += data
        head, end, rest = bytes(self._head).partition(b"\r\n\r\n")
        if not end:
            return b""
        self._head = None
        first, *lines = head.decode("ascii").split("\r\n")
        self.status = int(first.split(" ")[1])
        headers = dict(line.lower().split(": ", 1) for line in lines)
        if self.status == 200 and not headers.items() >= HEADERS.items():
            raise MalformedError(f"the headers {headers}")
        if self.status != 200:
            self.abort()
        return rest

    def _fail(self, error: Exception) -> None:
        if not self.lost.done():
            self.lost.set_exception(error)
        self.abort()
