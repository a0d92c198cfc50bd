"""Hypercorn's HTTP/1.1, and nothing but that: HTTP/2 belongs to the proxy in front."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import h11
from hypercorn.events import Closed, Updated
from hypercorn.protocol.events import Body, Data, EndBody, Request, Response
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import ASGISendEvent

from wellnet_sse.server.direct import DirectWriter
from wellnet_sse.server.websocket import Socket

DISCARD_BYTES = 256 * 1024
"""How much of a request's body is read on after its response, so that the connection can be used again."""


class NotServedError(Exception):
    """A request that this server reads no further; the connection ends with it."""


class Stream(HTTPStream):
    """A request and its response, which may outlive the application's part in it (`DirectWriter.detach`)."""

    def __init__(self, *arguments: Any, writer: DirectWriter) -> None:
        super().__init__(*arguments)
        self._writer = writer

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """See `HTTPStream.app_send`; the end of a detached response is its new owner's to send."""
        if self._writer.detached:
            if message is None:
                self.scope["headers"] = []  # an idle stream needs nothing of its request
            elif message["type"] == "http.response.body" and not message.get("more_body", False):
                await self.app_put({"type": "http.disconnect"})  # Quart 0.23 ends only with that
        elif not self.closed:
            await super().app_send(message)
        elif message is not None:
            # Writing to a peer that has gone never waits: what always has more to send would hold the loop,
            # and would not even learn that it was cancelled.
            await asyncio.sleep(0)


class Http11(H11Protocol):
    """One connection's protocol; its streams are offered `writer`, and its sockets are put on `wheel`."""

    def __init__(self, *arguments: Any, writer: DirectWriter, wheel: set[Socket]) -> None:
        super().__init__(*arguments)
        self.paused = False
        """Whether a request waits here for the response before it."""
        self._writer = writer
        self._wheel = wheel
        self._turn = asyncio.Lock()
        self._announced = 0
        self._discards: int | None = None
        """How many bytes more of a body that nobody reads, if there is one."""

    async def _handle_events(self) -> None:
        async with self._turn:
            await self._take_events()

    async def _go_on(self) -> None:
        """Look at what came behind an answered request: not in that one's task, which may be cut off."""
        try:
            await self._handle_events()
        except NotServedError:
            await self.send(Closed())

    async def _take_events(self) -> None:
        # As in Hypercorn, but for a pipelined request: it does not park the reader, which would then not
        # see that the peer has gone (and a stream has no end that could let it go on).
        while True:
            if self.connection.they_are_waiting_for_100_continue:
                headers = self.config.response_headers("h11")
                await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=headers))
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                    await self._send_error_response(error.error_status_hint)
                await self.send(Closed())
                return
            self.paused = event is h11.PAUSED
            if isinstance(event, h11.Request):
                await self.send(Updated(idle=False))
                await self._check_protocol(event)
                await self._create_stream(event)
            elif self.paused or event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                return
            elif self.stream is None:
                if not await self._discard(event):
                    return
            elif isinstance(event, h11.Data):
                await self.stream.handle(Body(stream_id=STREAM_ID, data=event.data))
            elif isinstance(event, h11.EndOfMessage):
                await self.stream.handle(EndBody(stream_id=STREAM_ID))
            elif isinstance(event, Data):
                await self.stream.handle(event)

    async def _discard(self, event: object) -> bool:
        """Pass over what is left of a request that is answered already; whether to go on with the next."""
        if self._discards is None:
            return False
        if isinstance(event, h11.EndOfMessage):
            self._discards = None
            await super()._maybe_recycle()
        elif isinstance(event, h11.Data):
            self._discards -= len(event.data)
            if self._discards < 0:
                await self.send(Closed())
                return False
        return True

    async def stream_send(self, event: StreamEvent) -> None:
        """See `H11Protocol.stream_send`; a response that the connection ends with says so."""
        is_long = self._announced > DISCARD_BYTES and self.connection.their_state is h11.SEND_BODY
        if is_long and isinstance(event, Response):
            event = replace(event, headers=[*event.headers, (b"connection", b"close")])
        await super().stream_send(event)

    async def _maybe_recycle(self) -> None:
        if (
            not self.context.terminated.is_set()
            and self.connection.our_state is h11.DONE
            and self.connection.their_state is h11.SEND_BODY
        ):
            # Refused before its body was here. Hypercorn would close: a client that has its answer takes the
            # connection for one that it can use again, and loses its next request.
            await self._close_stream()
            self._discards = DISCARD_BYTES
            await self.send(Updated(idle=True))  # and it has no longer than between two requests
            self.task_group.spawn(self._go_on)
            return
        await super()._maybe_recycle()
        if self.paused and not self.context.terminated.is_set():
            self.task_group.spawn(self._go_on)

    async def _check_protocol(self, event: h11.Request) -> None:
        # An h2c upgrade is ignored, as RFC 9110 §7.8 allows: Hypercorn has no switch for it, and over
        # HTTP/2 it would produce without bound for a peer that does not read.
        if event.method == b"PRI":
            await self._send_error_response(505)
            raise NotServedError
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
            # Where it ends is a matter of opinion, and another request may hide there (RFC 9112 §6.1).
            await self._send_error_response(400)
            raise NotServedError

    async def _create_stream(self, request: h11.Request) -> None:
        headers = {name.lower(): value.lower() for name, value in request.headers}
        tokens = [token.strip() for token in headers.get(b"connection", b"").split(b",")]
        self._announced = int(headers.get(b"content-length", 0))
        make: Callable[..., Stream | Socket] = self._response
        if request.method == b"GET" and headers.get(b"upgrade") == b"websocket" and b"upgrade" in tokens:
            make = self._socket
        self.stream = make(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1
        await self.context.mark_request()

    def _response(self, *arguments: Any) -> Stream:
        return Stream(*arguments, writer=self._writer)

    def _socket(self, *arguments: Any) -> Socket:
        self.connection = H11WSConnection(cast("h11.Connection", self.connection))
        return Socket(*arguments, writer=self._writer, wheel=self._wheel)
