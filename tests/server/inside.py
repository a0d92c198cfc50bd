"""A server in a thread of this process, on the loop that ours has in production: a test may look inside."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart

from wellnet_sse import app as composition
from wellnet_sse.server import runner, sockets
from wellnet_sse.settings import Settings

T = TypeVar("T")

WAIT_SECONDS = 20.0


class Inside:
    """A server on `port`, whose loop lives in another thread."""

    def __init__(self, port: int, loop: asyncio.AbstractEventLoop) -> None:
        self.port = port
        self._loop = loop

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it on the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(WAIT_SECONDS)

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Call it on the server's loop."""

        async def call() -> T:
            return function(*arguments)

        return self.run(call())

    def tasks(self) -> list[str]:
        """The names of all tasks of the server, that which asks aside."""

        def names() -> list[str]:
            return sorted(it.get_name() for it in asyncio.all_tasks() - {asyncio.current_task()})

        return self.call(names)

    def wait_for_tasks(self, names: list[str]) -> None:
        """Wait until there are just these."""
        self.wait(lambda: self.tasks() == names, lambda: f"{self.tasks()} and not {names}")

    def wait(self, check: Callable[[], bool], seen: Callable[[], object] = lambda: "") -> None:
        """Wait until `check` holds; at the deadline `seen` tells what was there instead."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not check():
            assert time.monotonic() < deadline, seen()


@contextmanager
def inside(
    app: Any,
    *,
    start: Callable[[], Awaitable[None]] | None = None,
    drain: Callable[[], Awaitable[None]] | None = None,
    stock: bool = False,
) -> Iterator[Inside]:
    """Serve `app` until the block ends; `stock`: with Hypercorn as it comes, but on our listening socket."""
    listener = sockets.listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    begun = threading.Event()
    parts: dict[str, Any] = {}

    async def main() -> None:
        parts["loop"], parts["stop"] = asyncio.get_running_loop(), asyncio.Event()
        if stock:
            await _serve_plainly(app, listener, begun, parts["stop"])
            return
        if start is not None:
            await start()
        begun.set()
        await runner.serve(app, listener, stop=parts["stop"], drain=drain, tell=None)

    thread = threading.Thread(target=runner.run, args=(main(),), name="server")
    thread.start()
    assert begun.wait(WAIT_SECONDS), "it does not start"
    try:
        server = Inside(port, parts["loop"])
        if not stock:
            server.wait(lambda: "ping wheel" in server.tasks(), server.tasks)  # from then on it accepts
        yield server
    finally:
        parts["loop"].call_soon_threadsafe(parts["stop"].set)
        thread.join(WAIT_SECONDS)
        assert not thread.is_alive(), "it does not end"


async def _serve_plainly(
    app: Any, listener: socket.socket, begun: threading.Event, stop: asyncio.Event
) -> None:
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = logging.getLogger("hypercorn.error")
    config.keep_alive_timeout = runner.KEEP_ALIVE_SECONDS
    config.graceful_timeout = runner.STRAGGLERS_SECONDS

    async def stopped() -> None:
        begun.set()  # it asks once it accepts
        await stop.wait()

    await serve(app, config, shutdown_trigger=stopped)


@contextmanager
def application(**settings: object) -> Iterator[tuple[Inside, Quart]]:
    """Serve the whole application, its history in memory."""
    given = {"broker_url": "memory://", "database_url": "sqlite+aiosqlite://", "log_level": "ERROR"}
    app = composition.create_app(
        Settings.from_environment({}, bind="127.0.0.1:4440", **{**given, **settings})
    )
    with inside(
        app, start=lambda: composition.open_history(app), drain=lambda: composition.drain(app)
    ) as server:
        yield server, app
