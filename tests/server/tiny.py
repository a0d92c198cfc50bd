"""A small ASGI application, served by our server or by stock Hypercorn: `tiny.py [--stock] --bind HOST:PORT`.

`/echo`, `/fault` and `/goodbye` are WebSockets, `/stream` stays open until it drains, `/open` tells how many
of those do, `/flood` sends as fast as it can, `/post` tells how much it was sent, `/held` reads nothing and
answers after `/release`. What is below `/quart` is Quart's. Everything else is answered with `ok`.
"""

import argparse
import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from tests.server.plain_quart import plain_quart
from wellnet_sse.server import runner, sockets, websocket
from wellnet_sse.settings import split_bind
from wellnet_sse.transports.websocket import MAX_MESSAGE_BYTES

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

FLOOD = bytes(64 * 1024)


class Tiny:
    """The application; `open` counts the streams that are."""

    def __init__(self) -> None:
        self.open = 0
        self._released = asyncio.Event()
        self._drained = asyncio.Event()
        self._quart = plain_quart()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one scope."""
        match scope["type"], scope.get("path"):
            case "lifespan", _:
                await self._live(receive, send)
            case _, str(path) if path.startswith("/quart/"):
                await self._quart(scope, receive, send)  # type: ignore[arg-type]  # plain dictionaries
            case "websocket", "/fault":
                await receive()
                await send({"type": "websocket.accept"})
                raise ZeroDivisionError
            case "websocket", "/goodbye":
                await receive()
                await send({"type": "websocket.accept"})
                await send({"type": "websocket.close", "code": 1000})
                await _disconnected(receive)
            case "websocket", _:
                await self._echo(receive, send)
            case "http", "/stream":
                await self._stream(receive, send)
            case "http", "/flood":
                flooding = asyncio.create_task(_flood(send))
                await _disconnected(receive)
                flooding.cancel()
            case "http", "/open":
                await _answer(send, str(self.open))
            case "http", "/held":
                await self._released.wait()
                await _answer(send, "ok")
            case "http", "/release":
                self._released.set()
                await _answer(send, "ok")
            case "http", "/post":
                await _answer(send, str(await _size(receive)))
            case _:
                await _answer(send, "ok")

    async def drain(self) -> None:
        """Tell streams and sockets that they end."""
        self._drained.set()

    async def _live(self, receive: Receive, send: Send) -> None:
        for _ in range(2):
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self.drain()
            await send({"type": f"{message['type']}.complete"})

    async def _stream(self, receive: Receive, send: Send) -> None:
        self.open += 1
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"open", "more_body": True})
            async with self._at_the_end(send, {"type": "http.response.body", "body": b" drained"}):
                await _disconnected(receive)
        finally:
            self.open -= 1

    async def _echo(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        async with self._at_the_end(send, {"type": "websocket.close", "code": 1012}):
            while (message := await receive())["type"] == "websocket.receive":
                await send(
                    {"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")}
                )

    @asynccontextmanager
    async def _at_the_end(self, send: Send, message: dict[str, Any]) -> AsyncIterator[None]:
        async def end() -> None:
            await self._drained.wait()
            await send(message)

        ending = asyncio.create_task(end())
        try:
            yield
        finally:
            ending.cancel()


async def _flood(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in itertools.count():
        await send({"type": "http.response.body", "body": FLOOD, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while not (await receive())["type"].endswith(".disconnect"):
        pass


async def _size(receive: Receive) -> int:
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    return size


async def _answer(send: Send, text: str) -> None:
    headers = [(b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


async def _serve(options: argparse.Namespace) -> None:
    websocket.MAX_MESSAGE_BYTES = options.message_bytes
    app: Any = Tiny()
    if not options.stock:
        listener = sockets.listen(*split_bind(options.bind))
        await runner.serve(app, listener, stop=runner.stop_requested(), drain=app.drain)
        return
    config = Config()
    config.bind = [options.bind]
    config.websocket_max_message_size = options.message_bytes
    config.websocket_ping_interval = options.ping_seconds
    config.graceful_timeout = options.grace
    config.certfile, config.keyfile = options.certificate, options.key
    await serve(app, config)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--stock", action="store_true")
    parser.add_argument("--bind", required=True)
    parser.add_argument("--message-bytes", type=int, default=MAX_MESSAGE_BYTES)
    stock = parser.add_argument_group("of stock Hypercorn")
    stock.add_argument("--ping-seconds", type=float)
    stock.add_argument("--grace", type=float, default=3.0)
    stock.add_argument("--certificate")
    stock.add_argument("--key")
    runner.run(_serve(parser.parse_args()))
