"""The application's part of a connection: what it is called with, and what waits for it."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.config import Config
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, Scope

from wellnet_sse.server.direct import DirectWriter
from wellnet_sse.transports.direct import EXTENSION


class Inbox:
    """Messages for an application while it runs: at most `limit` and, last of all, that its peer has gone.

    In Hypercorn that waits for room as well, and whatever waits when the application ends waits for ever: a
    peer that went on sending to a socket or a POST that was refused left its connection behind, and the tasks
    that serve it.
    """

    __slots__ = ("_limit", "_queue", "_room")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._room = asyncio.Semaphore(limit)
        self._queue: asyncio.Queue[ASGIReceiveEvent] | None = asyncio.Queue()

    async def put(self, message: ASGIReceiveEvent) -> None:
        """Wait until there is room for `message`, or nobody is left to read it."""
        if self._queue is not None and not message["type"].endswith(".disconnect"):
            await self._room.acquire()
        if self._queue is not None:
            self._queue.put_nowait(message)

    async def get(self) -> ASGIReceiveEvent:
        """The next message, for the application."""
        if self._queue is None:
            raise RuntimeError("the application is over")
        message = await self._queue.get()
        self._room.release()
        return message

    def close(self) -> None:
        """The application is over: later messages are thrown away, and nobody waits."""
        self._queue = None
        for _ in range(self._limit):
            self._room.release()


class AppTasks(TaskGroup):
    """Hypercorn's tasks of one connection, whose `writer` is offered to the application in each scope."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, writer: DirectWriter) -> None:
        super().__init__(loop)
        self._writer = writer

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """See `hypercorn.typing.TaskGroup.spawn_app`."""
        if scope["type"] != "lifespan" and scope["http_version"] == "1.1":
            # An HTTP/1.0 body has no chunks, so there the writer is not offered.
            extensions: dict[str, Any] = scope["extensions"]
            extensions[EXTENSION] = self._writer
        inbox = Inbox(config.max_app_queue_size)
        self.spawn(self._run, app, config, scope, inbox, send)
        return inbox.put

    async def _run(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        inbox: Inbox,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> None:
        in_thread = partial(self._loop.run_in_executor, None)  # for WSGI, which this server does not run
        try:
            await app(scope, inbox.get, send, in_thread, self._loop.call_soon_threadsafe)
        except Exception:
            await config.log.exception("Error in ASGI Framework")
        finally:
            inbox.close()
            await send(None)
