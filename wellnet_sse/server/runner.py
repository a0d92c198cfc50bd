"""Runs an ASGI application on Hypercorn, through its Python API, and stops it in order."""

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import uvloop
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework

log = logging.getLogger(__name__)

PING_SECONDS = 20.0
MAX_MESSAGE_CHARACTERS = 64 * 1024
STRAGGLERS_SECONDS = 1.0


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` on uvloop to its end."""
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(main)


def _new_loop() -> asyncio.AbstractEventLoop:
    loop = uvloop.new_event_loop()
    loop.set_exception_handler(_report)
    return loop


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Up to 3.11.7, asyncio's streams report a connection that was cancelled as a failure; Hypercorn cancels
    # those that outlive its timeout (python/cpython#113538).
    if not isinstance(context.get("exception"), asyncio.CancelledError):
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


async def serve(
    app: ASGIFramework,
    listener: socket.socket,
    *,
    stop: asyncio.Event,
    drain: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Serve `app` on `listener` until `stop`; `drain` is awaited before connections are closed."""
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.graceful_timeout = STRAGGLERS_SECONDS
    config.websocket_ping_interval = PING_SECONDS
    config.websocket_max_message_size = MAX_MESSAGE_CHARACTERS

    async def stopped() -> None:
        # Hypercorn would let streams hang until its timeout and only then tell the application.
        await stop.wait()
        if drain is not None:
            await drain()

    await hypercorn_serve(app, config, shutdown_trigger=stopped)
