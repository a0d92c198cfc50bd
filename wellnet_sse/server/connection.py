"""One TCP connection on Hypercorn's own server, with our protocol, and an end that does not hang."""

import asyncio
from collections.abc import Callable
from typing import Any

from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from wellnet_sse.server.application import AppTasks
from wellnet_sse.server.direct import DirectWriter
from wellnet_sse.server.http11 import Http11, NotServedError
from wellnet_sse.server.websocket import Socket

MAX_WAITING_BYTES = 64 * 1024
"""How much of further requests may wait here for the end of the response before them."""


class Idle:
    """Whether a connection waits for a request, and how long it may: a timer, where Hypercorn has a task."""

    __slots__ = ("_end", "_loop", "_over", "_seconds", "_timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        seconds: float,
        over: Callable[[], bool],
        end: Callable[[], None],
    ) -> None:
        """`end` is called after `seconds`, and at once where `over` says that no request is waited for."""
        self._loop = loop
        self._seconds = seconds
        self._over = over
        self._end = end
        self._timer: asyncio.TimerHandle | None = None

    async def restart(self, *_: object) -> None:
        """From now on it waits."""
        await self.stop()
        self._timer = self._loop.call_later(0 if self._over() else self._seconds, self._end)

    async def stop(self) -> None:
        """It has a request, or has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def hurry(self) -> None:
        """No request is waited for any more."""
        if self._timer is not None:
            self._end()


class Connection(TCPServer):
    """Serves one connection to its end; `wheel` holds the sockets that are to be pinged."""

    protocol: Http11  # type: ignore[assignment]  # Hypercorn's wrapper has only to choose HTTP/2
    idle_task: Idle  # type: ignore[assignment]  # what TCPServer calls of it is the same

    def __init__(self, *arguments: Any, wheel: set[Socket]) -> None:
        super().__init__(*arguments)
        self.idle_task = Idle(
            self.loop,
            seconds=self.config.keep_alive_timeout,
            over=self.context.terminated.is_set,
            end=self.writer.close,
        )
        self._wheel = wheel
        self._closing = False
        self._direct = DirectWriter(self.writer)

    def abort(self) -> None:
        """End it now, whatever its peer does."""
        self.writer.transport.abort()

    def end_if_idle(self) -> None:
        """End it if it waits for a request."""
        self.idle_task.hurry()

    async def run(self) -> None:
        """See `TCPServer.run`."""
        socket = self.writer.get_extra_info("socket")
        try:
            client = parse_socket_addr(socket.family, socket.getpeername())
            server = parse_socket_addr(socket.family, socket.getsockname())
            async with AppTasks(self.loop, writer=self._direct) as task_group:
                self._task_group = task_group
                self.protocol = Http11(
                    self.app,
                    self.config,
                    self.context,
                    task_group,
                    ConnectionState(self.state),
                    self.writer.get_extra_info("ssl_object") is not None,
                    client,
                    server,
                    self.protocol_send,
                    writer=self._direct,
                    wheel=self._wheel,
                )
                await self.protocol.initiate()
                await self.idle_task.restart()
                await self._read_data()
        except OSError:
            return  # the peer has gone
        finally:
            await self._close()
            self._direct.closed()

    async def protocol_send(self, event: Event) -> None:
        """See `TCPServer.protocol_send`, which knows of peers that close or reset, not of the vanished."""
        if self._closing and isinstance(event, Updated):
            return  # no other request is waited for
        try:
            await super().protocol_send(event)
        except TimeoutError:  # of TCP_USER_TIMEOUT; the application would take it as a fault of its own
            await self.protocol.handle(Closed())

    async def _read_data(self) -> None:
        waiting = 0
        try:
            while data := await self.reader.read(MAX_RECV):
                # After our end the rest is read and thrown away: a socket that is closed with unread bytes
                # is reset, and then the peer never reads why.
                if not self._closing:
                    await self.protocol.handle(RawData(data))
                    waiting += len(data) if self.protocol.paused else -waiting
                    if waiting > MAX_WAITING_BYTES:
                        break
        except (NotServedError, OSError):
            pass
        await self.protocol.handle(Closed())
        await self._close()  # Hypercorn would wait here for the time-out of an idle connection

    async def _close(self) -> None:
        """End our side. Hypercorn waits here until the peer has read everything, which may be never."""
        if self._closing:
            return
        self._closing = True
        await self.idle_task.stop()
        self._direct.close()
