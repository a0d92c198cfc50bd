"""Serves ASGI apps, the simulated router first of all, on a real socket within a test's event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart

USERNAME = "wellnet"
PASSWORD = "s3creto-del-router"  # noqa: S105 - the account of a router that is not there


@asynccontextmanager
async def served(app: Quart) -> AsyncIterator[str]:
    """Serve the app on a free port of the loopback; gives its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]  # it listens already, so that nobody has to wait for it
    config.errorlog = None
    config.graceful_timeout = 0.1
    stopped = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(app, config, shutdown_trigger=stopped.wait))
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            stopped.set()
