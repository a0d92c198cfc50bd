"""Hypercorn's WebSocket, mended: plain frames, messages bounded in bytes, pongs that are waited for."""

import asyncio
from typing import Any

from hypercorn.protocol.events import Data, Request, StreamClosed
from hypercorn.protocol.ws_stream import (
    ASGIWebsocketState,
    FrameTooLargeError,
    WebsocketBuffer,
    WSStream,
)
from hypercorn.typing import ASGISendEvent, WebsocketAcceptEvent
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from wellnet_sse.server.direct import DirectWriter
from wellnet_sse.transports import websocket as transport

MAX_MESSAGE_BYTES = transport.MAX_MESSAGE_BYTES
PING_SECONDS = 20.0
MISSED_PONGS = 2


class _ByteBuffer(WebsocketBuffer):
    """Counts bytes: Hypercorn counts characters, of which each may be four."""

    def extend(self, event: Message[Any]) -> None:
        self.length += len(event.data.encode()) if isinstance(event, TextMessage) else len(event.data)
        if self.length > self.max_length:
            raise FrameTooLargeError
        taken, self.length = self.length, 0
        super().extend(event)
        self.length = taken


class Socket(WSStream):
    """One WebSocket. `beat` is called about every second by whoever keeps the wheel of pings."""

    def __init__(self, *arguments: Any, writer: DirectWriter, wheel: "set[Socket]") -> None:
        super().__init__(*arguments)
        self.buffer = _ByteBuffer(MAX_MESSAGE_BYTES)
        self._writer = writer
        self._wheel = wheel
        self._pinged_at = 0.0
        self._unanswered = 0
        self._answered: asyncio.Event | None = None

    async def handle(self, event: Any) -> None:
        """See `WSStream.handle`."""
        if isinstance(event, Data) and self.state is ASGIWebsocketState.HANDSHAKE and not self.closed:
            # A client that does not wait for our 101: Hypercorn answers 400, or not, as it happens.
            self._answered = asyncio.Event()
            await self._answered.wait()
        await super().handle(event)
        if self.closed:
            self._wheel.discard(self)
            if isinstance(event, Request):
                # No handshake, and answered so: Hypercorn leaves the connection to its peer, for ever.
                await self.send(StreamClosed(stream_id=self.stream_id))

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """See `WSStream.app_send`."""
        await super().app_send(message)
        if message is not None and self.state is ASGIWebsocketState.CLOSED and not self.closed:
            # Quart 0.23 goes on until its peer has gone, and a peer that does not answer never goes.
            await self.send(StreamClosed(stream_id=self.stream_id))
        if self._answered is not None and (message is None or self.state is not ASGIWebsocketState.HANDSHAKE):
            self._answered.set()

    def beat(self, now: float) -> None:
        """Ping when it is time. A peer that missed two is gone (Hypercorn pings, and never looks)."""
        if now - self._pinged_at < PING_SECONDS:
            return
        if self._unanswered >= MISSED_PONGS:
            self._wheel.discard(self)
            self._writer.abort()
        elif self.connection.state is ConnectionState.OPEN:
            self._pinged_at = now
            self._unanswered += 1
            # Not through `send`, which waits for a peer that does not read: the wheel turns for all of them.
            self._writer.write(self.connection.send(Ping()))

    async def _accept(self, message: WebsocketAcceptEvent) -> None:
        # permessage-deflate is always accepted otherwise (pgjones/hypercorn#307): 61 KB on the wire
        # became 228 MB here. And frames that are written directly must be plain.
        self.handshake.extensions = None
        await super()._accept(message)
        if not self.closed:  # as it is where the peer left before it had its answer
            self._pinged_at = self.context.time()
            self._wheel.add(self)

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            if isinstance(event, Message):
                try:
                    self.buffer.extend(event)
                except FrameTooLargeError:
                    await self._fail(CloseReason.MESSAGE_TOO_BIG)
                    return
                if event.message_finished:
                    await self.app_put(self.buffer.to_message())  # type: ignore[misc]  # set with the scope
                    self.buffer.clear()
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            elif isinstance(event, Pong):
                self._unanswered = 0
            elif isinstance(event, CloseConnection):
                if self.connection.state is ConnectionState.REMOTE_CLOSING:
                    await self._send_wsproto_event(event.response())
                    await self.send(StreamClosed(stream_id=self.stream_id))
                elif self.connection.state is ConnectionState.OPEN:
                    await self._fail(event.code)  # a violation, which Hypercorn answers with nothing
                else:
                    await self.send(StreamClosed(stream_id=self.stream_id))

    async def _fail(self, code: int) -> None:
        """Say why, and close the TCP connection too: Hypercorn leaves it open, and buffers on."""
        try:
            await self._send_wsproto_event(CloseConnection(code=code))
        except LocalProtocolError:
            return
        finally:
            await self.send(StreamClosed(stream_id=self.stream_id))
