"""sse-starlette on uvicorn with uvloop and httptools: one asyncio.Queue for each reader, the usual recipe."""

import asyncio
import os
import socket
from collections import defaultdict
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

import uvicorn  # type: ignore[import-not-found]  # a peer: it lives in an environment of its own
from sse_starlette import EventSourceResponse, ServerSentEvent  # type: ignore[import-not-found]  # the same
from starlette.applications import Starlette  # type: ignore[import-not-found]  # the same
from starlette.requests import Request  # type: ignore[import-not-found]  # the same
from starlette.routing import Route  # type: ignore[import-not-found]  # the same

from bench.servers.common import Offer, dumps, event, listen_for_commands, offer_of, tell
from bench.servers.publisher import publish_all

PING_SECONDS = 15

queues: defaultdict[int, set[asyncio.Queue[ServerSentEvent]]] = defaultdict(set)


async def progress(request: Request) -> Any:
    """The stream of one reader."""
    user_id = int(request.query_params["userId"])

    async def stream() -> AsyncIterator[ServerSentEvent]:
        queue: asyncio.Queue[ServerSentEvent] = asyncio.Queue()
        queues[user_id].add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            queues[user_id].discard(queue)

    return EventSourceResponse(stream(), ping=PING_SECONDS)


async def publish(offer: Offer) -> None:
    """Publish an offer and tell what came of it."""

    async def one(number: int) -> None:
        encoded = ServerSentEvent(dumps(event(offer, number)), id=str(number))
        for queue in queues[offer.user(number)]:
            queue.put_nowait(encoded)

    published = await publish_all(offer, one)
    tell(published=published.events, late_ms=published.late_ms)


async def main() -> None:
    """Serve until the harness is gone."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    app = Starlette(routes=[Route("/sse/progress", progress)])
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, backlog=4096))
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def obey(command: dict[str, Any]) -> None:
        tasks.add(loop.create_task(publish(offer_of(command))))

    listen_for_commands(lambda command: loop.call_soon_threadsafe(obey, command), ended=lambda: os._exit(0))
    versions = {name: version(name) for name in ("sse-starlette", "uvicorn", "starlette", "uvloop")}
    tell(port=listener.getsockname()[1], pids=[os.getpid()], versions=versions)
    await server.serve(sockets=[listener])


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
