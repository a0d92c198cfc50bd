"""Hypercorn's HTTP/1.1, and nothing but that: HTTP/2 belongs to the proxy in front."""

from collections.abc import Callable
from typing import Any, cast

import h11
from hypercorn.protocol.events import Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream

from wellnet_sse.server.direct import DirectApp, DirectWriter
from wellnet_sse.server.websocket import Socket


class NotHttp11Error(Exception):
    """The peer speaks HTTP/2 without having been asked."""


class Http11(H11Protocol):
    """One connection's protocol; its streams are offered `writer`, and its sockets are put on `wheel`."""

    def __init__(self, *arguments: Any, writer: DirectWriter, wheel: set[Socket]) -> None:
        super().__init__(*arguments)
        self.app = DirectApp(self.app, writer)
        self._writer = writer
        self._wheel = wheel

    async def _check_protocol(self, event: h11.Request) -> None:
        # An h2c upgrade is ignored, as RFC 9110 §7.8 allows: Hypercorn has no switch for it, and over
        # HTTP/2 it would produce without bound for a peer that does not read.
        if event.method == b"PRI":
            await self._send_error_response(505)
            raise NotHttp11Error

    async def _create_stream(self, request: h11.Request) -> None:
        headers = {name.lower(): value.lower() for name, value in request.headers}
        tokens = [token.strip() for token in headers.get(b"connection", b"").split(b",")]
        make: Callable[..., HTTPStream | Socket] = HTTPStream
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

    def _socket(self, *arguments: Any) -> Socket:
        self.connection = H11WSConnection(cast("h11.Connection", self.connection))
        return Socket(*arguments, writer=self._writer, wheel=self._wheel)
