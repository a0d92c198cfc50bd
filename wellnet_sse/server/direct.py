"""Writing to a connection past the ASGI send chain: an extension of the scope, for views that can use it."""

import asyncio
from collections.abc import Callable
from typing import Any

from hypercorn.typing import AppWrapper, ASGIReceiveCallable, ASGISendCallable, Scope

from wellnet_sse.transports.direct import EXTENSION


class DirectWriter:
    """A connection's transport, offered to the application in `scope["extensions"]["wellnet.direct"]`.

    What is written goes out after whatever was sent before. The writer of an HTTP/1.1 body frames its own
    chunks, the writer of a WebSocket its own messages; both must write whole ones, and only while the
    response or the socket is open.
    """

    __slots__ = ("abort", "buffered", "write")

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        # The transport's own methods: a call more for each reader and event would be felt.
        self.write = transport.write
        self.buffered = transport.get_write_buffer_size
        self.abort = transport.abort


class DirectApp:
    """The application, with the writer of one connection in the scope of every request."""

    __slots__ = ("_app", "_writer")

    def __init__(self, app: AppWrapper, writer: DirectWriter) -> None:
        self._app = app
        self._writer = writer

    async def __call__(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Callable[..., Any],
        call_soon: Callable[..., Any],
    ) -> None:
        """Serve one request; an HTTP/1.0 body has no chunks, so there the writer is not offered."""
        if scope["type"] != "lifespan" and scope["http_version"] == "1.1":
            extensions: dict[str, Any] = scope["extensions"]
            extensions[EXTENSION] = self._writer
        await self._app(scope, receive, send, sync_spawn, call_soon)
