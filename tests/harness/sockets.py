"""WebSocket clients: PyPI websockets for both dialects, and npm `ws`, the source document's own."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from tests.harness.processes import WAIT_SECONDS, LineProcess, StreamEndedError, node, parsed

Message = TypeVar("Message")

V2 = "wellnet.progress.v2"


class Socket(Generic[Message]):
    """A WebSocket by PyPI websockets, without compression, whose messages are JSON.

    A refused handshake raises `websockets.exceptions.InvalidStatus` from `async with`.
    """

    protocols: tuple[str, ...] = ()

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        origin: str | None = None,
        compression: str | None = None,
        max_queue: int | None = 16,
    ) -> None:
        self._connecting = connect(
            url,
            origin=None if origin is None else Origin(origin),
            subprotocols=[Subprotocol(protocol) for protocol in self.protocols] or None,
            additional_headers=dict(headers or {}),
            compression=compression,
            max_queue=max_queue,
            proxy=None,
            close_timeout=1,
        )
        self._connection: ClientConnection | None = None
        self.seen: list[Message] = []

    def parse(self, text: str) -> Message:
        """Make a typed value of one message."""
        raise NotImplementedError

    @property
    def connection(self) -> ClientConnection:
        """The library's own connection, for what this class does not offer."""
        assert self._connection is not None, "used before `async with`"
        return self._connection

    async def __aenter__(self) -> Self:
        self._connection = await self._connecting
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.connection.close()
        finally:
            # What a server that hung up never read would keep the transport open beyond the event loop's end.
            self.connection.transport.abort()
            await self.connection.wait_closed()

    async def send(self, message: object) -> None:
        """Send a message as JSON."""
        await self.send_raw(json.dumps(message))

    async def send_raw(self, message: str | bytes) -> None:
        """Send text, or a binary message, as it is."""
        await self.connection.send(message)

    async def next(self, timeout_seconds: float = WAIT_SECONDS) -> Message:
        """Return the next message."""
        try:
            async with asyncio.timeout(timeout_seconds):
                text = await self.connection.recv()
        except TimeoutError:
            raise AssertionError(f"no message within {timeout_seconds} s; {self._seen()}") from None
        except ConnectionClosed as error:
            raise StreamEndedError(f"{error}; {self._seen()}") from error
        assert isinstance(text, str), "the server never sends binary messages"
        self.seen.append(self.parse(text))
        return self.seen[-1]

    async def until(
        self, wanted: Callable[[Message], bool], timeout_seconds: float = WAIT_SECONDS
    ) -> list[Message]:
        """Return the next messages up to and with the first that is wanted."""
        messages = [await self.next(timeout_seconds)]
        while not wanted(messages[-1]):
            messages.append(await self.next(timeout_seconds))
        return messages

    async def closed(self, timeout_seconds: float = WAIT_SECONDS) -> tuple[int, str]:
        """Wait until the server closes; return code and reason (1006 where it closed without a frame)."""
        try:
            async with asyncio.timeout(timeout_seconds):
                async for _ in self:
                    pass
                await self.connection.wait_closed()
        except TimeoutError:
            raise AssertionError(f"still open after {timeout_seconds} s; {self._seen()}") from None
        return self.connection.close_code or 1006, self.connection.close_reason or ""

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            try:
                message = await self.next()
            except StreamEndedError:
                return
            yield message

    def _seen(self) -> str:
        tail = "\n  ".join(str(message) for message in self.seen[-30:])
        return f"{len(self.seen)} seen, the last ones:\n  {tail}"


class LegacySocket(Socket[dict[str, Any]]):
    """The documented dialect: messages are progress objects and nothing else."""

    def parse(self, text: str) -> dict[str, Any]:
        """Return the progress object."""
        return parsed(text.encode())

    async def start(self, operation_id: str, *, steps: list[str] | None = None) -> None:
        """Send the documented `start_operation`."""
        extra = {} if steps is None else {"steps": steps}
        await self.send({"type": "start_operation", "operation_id": operation_id, **extra})

    async def stop(self, operation_id: str) -> None:
        """Send the documented `stop_operation`."""
        await self.send({"type": "stop_operation", "operation_id": operation_id})


@dataclass(frozen=True, slots=True)
class V2Message:
    """One message of the v2 dialect."""

    event: str
    id: str | None
    data: dict[str, Any]


class V2Socket(Socket[V2Message]):
    """The v2 dialect: messages name their event and carry its cursor."""

    protocols = (V2,)

    def parse(self, text: str) -> V2Message:
        """Return the message, which has exactly the three keys."""
        return V2Message(**parsed(text.encode()))

    async def until_live(self, timeout_seconds: float = WAIT_SECONDS) -> list[V2Message]:
        """Return the next messages up to and with `live`."""
        return await self.until(lambda it: it.event == "live", timeout_seconds)


class NodeSocket(LineProcess[dict[str, Any]]):
    """npm `ws`: `open`, `next`, `send`, `closed`; a refused handshake answers `refused`."""

    def __init__(
        self,
        url: str,
        *,
        protocols: tuple[str, ...] = (),
        origin: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        arguments = [url]
        for protocol in protocols:
            arguments += ["--protocol", protocol]
        if origin is not None:
            arguments += ["--origin", origin]
        for name, value in (headers or {}).items():
            arguments += ["--header", f"{name}: {value}"]
        super().__init__(node("ws.mjs", *arguments))

    def parse(self, line: bytes) -> dict[str, Any]:
        """Return one line of ws.mjs."""
        return parsed(line)

    async def opened(self) -> dict[str, Any]:
        """Wait for the handshake; return its `protocol`, `extensions` and `headers`. Call it first."""
        return await self._only("open")

    async def refused(self) -> dict[str, Any]:
        """Wait for a handshake that is refused; return its `status`, `headers` and `body`."""
        return await self._only("refused")

    async def send(self, message: object) -> None:
        """Send a message as JSON."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        await self.process.stdin.drain()

    async def next(self, timeout_seconds: float = WAIT_SECONDS) -> dict[str, Any]:
        """Return the next message, which is a JSON object."""
        line = await self.take(lambda it: "ping" not in it, timeout_seconds)
        assert "message" in line, f"no message: {line}"
        return parsed(line["message"].encode())

    async def until(
        self, wanted: Callable[[dict[str, Any]], bool], timeout_seconds: float = WAIT_SECONDS
    ) -> list[dict[str, Any]]:
        """Return the next messages up to and with the first that is wanted."""
        messages = [await self.next(timeout_seconds)]
        while not wanted(messages[-1]):
            messages.append(await self.next(timeout_seconds))
        return messages

    async def closed(self, timeout_seconds: float = WAIT_SECONDS) -> tuple[int, str]:
        """Wait until the server closes; return code and reason."""
        line = await self.take(lambda it: "close" in it, timeout_seconds)
        return line["close"]["code"], line["close"]["reason"]

    async def _only(self, key: str) -> dict[str, Any]:
        line = await self.take()
        assert key in line, f"expected {key}: {line}"
        value: dict[str, Any] = line[key]
        return value
