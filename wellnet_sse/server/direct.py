"""Writing to a connection past the ASGI send chain: an extension of the scope, for views that can use it."""

import asyncio
from collections.abc import Callable
from typing import Any

from hypercorn.typing import AppWrapper, ASGIReceiveCallable, ASGISendCallable, Scope

from wellnet_sse.transports.direct import EXTENSION


class DirectWriter:
    """A connection, offered to the application in `scope["extensions"]["wellnet.direct"]`.

    See `transports.direct.Connection`, which this is.
    """

    __slots__ = ("_on_close", "_writer", "abort", "buffered", "write")

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        transport = writer.transport
        self._writer = writer
        self._on_close: Callable[[], None] | None = None
        # The transport's own methods: a call more for each reader and event would be felt.
        self.write = transport.write
        self.buffered = transport.get_write_buffer_size
        self.abort = transport.abort

    @property
    def detached(self) -> bool:
        """Whether the response belongs to somebody who outlives the request."""
        return self._on_close is not None

    def detach(self, on_close: Callable[[], None]) -> None:
        """See `Connection.detach`."""
        self._on_close = on_close

    async def drain(self) -> None:
        """See `Connection.drain`."""
        try:
            await self._writer.drain()
        except TimeoutError as error:  # of TCP_USER_TIMEOUT
            raise ConnectionAbortedError(str(error)) from error

    def close(self) -> None:
        """See `Connection.close`."""
        if self._writer.can_write_eof():
            self._writer.write_eof()
        else:
            self._writer.close()

    def closed(self) -> None:
        """Tell whoever the response belongs to that the connection has ended."""
        if self._on_close is not None:
            self._on_close()


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
