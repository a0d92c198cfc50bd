"""Writing to a connection past the ASGI send chain: an extension of the scope, for views that can use it."""

import asyncio
from collections.abc import Callable

from wellnet_sse.progress.level import BUFFER_BYTES

LINGER_SECONDS = 5.0
"""How long a peer may take to read the last that was written for it."""


class DirectWriter:
    """A connection, offered to the application in `scope["extensions"]["wellnet.direct"]`.

    See `transports.direct.Connection`, which this is.
    """

    __slots__ = ("_lingering", "_on_close", "_write", "_writer", "abort", "buffered")

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        transport = writer.transport
        self._writer = writer
        if transport.get_extra_info("ssl_object") is not None:
            # uvloop's own limit is eight times that; the connection under TLS has another buffer like it.
            transport.set_write_buffer_limits(high=BUFFER_BYTES)
        self._on_close: Callable[[], None] | None = None
        self._lingering: asyncio.TimerHandle | None = None
        # The transport's own methods: look-ups for each reader and event would be felt.
        self._write = transport.write
        self.buffered = transport.get_write_buffer_size
        self.abort = transport.abort

    @property
    def detached(self) -> bool:
        """Whether the response belongs to somebody who outlives the request."""
        return self._on_close is not None

    def detach(self, on_close: Callable[[], None]) -> None:
        """See `Connection.detach`."""
        self._on_close = on_close

    def write(self, data: bytes) -> None:
        """See `Sink.write`.

        What comes after the connection's end is dropped: its reader has not heard of that yet, and what
        raises in the middle of a flush takes the event from all the readers after it.
        """
        try:
            self._write(data)
        except RuntimeError:  # uvloop's of a closed transport, asyncio's after EOF
            return

    async def drain(self) -> None:
        """See `Connection.drain`."""
        try:
            await self._writer.drain()
        except TimeoutError as error:  # of TCP_USER_TIMEOUT
            raise ConnectionAbortedError(str(error)) from error

    def close(self) -> None:
        """See `Connection.close`; done once, it is done."""
        if self._lingering is not None or self._writer.is_closing():
            return  # the peer was faster
        if self._writer.can_write_eof():
            self._writer.write_eof()
        else:
            self._writer.close()
        self._lingering = asyncio.get_running_loop().call_later(LINGER_SECONDS, self.abort)

    def closed(self) -> None:
        """The connection has ended: tell whoever the response belongs to.

        What is buffered still goes out, but nobody waits for a peer that does not read it.
        """
        self._writer.close()
        if self._lingering is not None and not self.buffered():
            self._lingering.cancel()  # it would keep all of this until its time
        if self._on_close is not None:
            self._on_close()
