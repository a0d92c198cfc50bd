"""Runs an ASGI application on Hypercorn's connections, and stops it in order.

The accepting and the stopping are ours: Hypercorn's own waits for open streams before it tells the
application that it stops, waits for stalled readers, and on Python 3.12 and later for ever
(pgjones/hypercorn#308).
"""

import asyncio
import gc
import logging
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import uvloop
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework, LifespanState

from wellnet_sse.server.connection import Connection
from wellnet_sse.server.notify import notify
from wellnet_sse.server.sockets import BACKLOG
from wellnet_sse.server.tls import HANDSHAKE_SECONDS
from wellnet_sse.server.websocket import Socket

log = logging.getLogger(__name__)

T = TypeVar("T")

STRAGGLERS_SECONDS = 0.2
"""How long connections may take to end by themselves once the application has said good-bye."""

LEAVE_SECONDS = 1.0
"""How long a process whose place was taken goes on as ever, but for new connections.

Each answer asks its client to connect anew, so that few are cut off between two requests.
"""

BEAT_SECONDS = 1.0
KEEP_ALIVE_SECONDS = 15.0


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on uvloop to its end."""
    # Most of what is allocated here lives long: many young collections, few that look at everything.
    gc.set_threshold(20_000, 50, 100)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(main)


def _new_loop() -> asyncio.AbstractEventLoop:
    loop = uvloop.new_event_loop()
    loop.set_exception_handler(_report)
    return loop


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Up to 3.11.7, asyncio's streams report a connection that was cancelled as a failure
    # (python/cpython#113538); a failed TLS handshake is the peer's affair.
    if not isinstance(context.get("exception"), asyncio.CancelledError | ssl.SSLError):
        loop.default_exception_handler(context)


def stop_requested() -> asyncio.Event:
    """Set by SIGTERM and SIGINT; a second signal ends the process at once, as it does by default."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        log.info("stopping", extra={"signal": number.name})
        event.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    return event


def restart_requested() -> asyncio.Event:
    """Set by SIGHUP; to be cleared when that was done."""
    event = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, event.set)
    return event


async def first_of(*events: asyncio.Event, seconds: float | None = None) -> None:
    """Wait until one of the events is set, or the time is over."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for one in waiting:
        one.cancel()


async def serve(
    app: ASGIFramework,
    listener: socket.socket,
    *,
    stop: asyncio.Event,
    drain: Callable[[], Awaitable[None]] | None = None,
    tls: ssl.SSLContext | None = None,
    leave: asyncio.Event | None = None,
    tell: Callable[[str], None] | None = notify,
) -> None:
    """Serve `app` on `listener` until `stop`; `drain` is awaited before connections are closed.

    `leave` ends it, too, but another process serves on the same listener: this one accepts no more. `tell` is
    told of the main server's `READY=1` and `STOPPING=1`; None: this is not the main one.
    """
    server = _Server(app, tls)
    await server.start(listener)
    if tell is not None:
        gc.freeze()  # what start-up made stays: no collection need look at it
        tell("READY=1")
    if leave is not None:
        await first_of(stop, leave)
        if not stop.is_set():
            await server.leave(stop)
    else:
        await stop.wait()
    if tell is not None:
        tell("STOPPING=1")
    if drain is not None:
        await drain()
    await server.aclose()


class _Server:
    def __init__(self, app: ASGIFramework, tls: ssl.SSLContext | None) -> None:
        self._config = _config()
        self._tls = tls
        self._app = ASGIWrapper(app)
        self._context = WorkerContext(None)
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._wheel: set[Socket] = set()
        self._state: LifespanState = {}

    async def start(self, listener: socket.socket) -> None:
        """Start the application, then accept."""
        loop = asyncio.get_running_loop()
        self._lifespan = Lifespan(self._app, self._config, loop, self._state)
        self._living = loop.create_task(self._lifespan.handle_lifespan(), name="lifespan")
        await self._lifespan.wait_for_startup()
        if self._living.done():
            await self._living
        self._beating = loop.create_task(self._beat(), name="ping wheel")
        self._server = await asyncio.start_server(
            self._serve_connection,
            sock=listener,
            backlog=BACKLOG,
            ssl=self._tls,
            ssl_handshake_timeout=None if self._tls is None else HANDSHAKE_SECONDS,
        )
        log.info("listening", extra={"address": str(listener.getsockname())})

    async def leave(self, stop: asyncio.Event) -> None:
        """Accept no more, and have clients go to whoever does; streams go on."""
        self._server.close()
        self._config.keep_alive_max_requests = 0  # from here on each answer is a connection's last
        await first_of(stop, seconds=LEAVE_SECONDS)
        await self._end_idle()
        await first_of(stop, seconds=STRAGGLERS_SECONDS)

    async def aclose(self) -> None:
        """Accept no more, let connections end, abort those that do not, and end the application."""
        self._server.close()
        await self._end_idle()
        if self._connections:
            await asyncio.wait(self._connections, timeout=STRAGGLERS_SECONDS)
        for task, connection in list(self._connections.items()):
            connection.abort()
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=STRAGGLERS_SECONDS)
        self._beating.cancel()
        await self._lifespan.wait_for_shutdown()
        self._living.cancel()
        await asyncio.wait([self._beating, self._living])

    async def _end_idle(self) -> None:
        await self._context.terminated.set()  # for those that are in a request, and idle after it
        for connection in self._connections.values():
            connection.end_if_idle()

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("asyncio serves each connection in a task")
        loop = asyncio.get_running_loop()
        connection = Connection(
            self._app, loop, self._config, self._context, self._state, reader, writer, wheel=self._wheel
        )
        self._connections[task] = connection
        try:
            await connection
        except Exception:
            log.exception("connection_failed")
            connection.abort()
        finally:
            del self._connections[task]

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            self._turn_wheel()  # its last socket would stay here while this sleeps

    def _turn_wheel(self) -> None:
        now = self._context.time()
        for each in list(self._wheel):
            each.beat(now)


def _config() -> Config:
    config = Config()
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.websocket_ping_interval = None  # the wheel pings, and waits for pongs
    return config
