"""A Quart application as anybody would write it, without what `transports/` does about Quart."""

import asyncio
from collections.abc import AsyncIterator

from quart import Quart, Response, websocket


def plain_quart() -> Quart:
    """`/quart/fault` and `/quart/deaf` are WebSockets, `/quart/stream` stays open."""
    app = Quart("plain")

    @app.websocket("/quart/fault")
    async def fault() -> None:
        await websocket.accept()
        raise ZeroDivisionError

    @app.websocket("/quart/deaf")
    async def deaf() -> None:
        await websocket.accept()
        await asyncio.Event().wait()

    @app.get("/quart/stream")
    async def stream() -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"open"
            await asyncio.Event().wait()

        return Response(pieces())

    return app
