"""A router that answers as a test wants, over real HTTP: what only a broken, odd or hostile one does."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit


class Asked(NamedTuple):
    """A request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


class Reply(NamedTuple):
    """An answer, sent as it stands."""

    status: int
    body: bytes = b""
    headers: tuple[str, ...] = ()


class Cut(Exception):  # noqa: N818 - not an error: the router's way to say nothing
    """Raised instead of an answer: the connection is closed."""


class Silence(Exception):  # noqa: N818 - likewise
    """Raised instead of an answer: none ever comes."""


Answers = Callable[[Asked], Reply | Awaitable[Reply]]


def lists(items: object) -> Reply:
    """What a menu lists."""
    return Reply(200, json.dumps(items).encode())


@asynccontextmanager
async def odd_router(answers: Answers) -> AsyncIterator[str]:
    """The URL of a router that gives these answers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                asked = _parse(await reader.readuntil(b"\r\n\r\n"))
                reply = answers(asked)
                if not isinstance(reply, Reply):
                    reply = await reply
                writer.write(_head(reply) + reply.body)
                await writer.drain()
        except Silence:
            await reader.read()
        except (Cut, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def _parse(head: bytes) -> Asked:
    first, *lines = head.decode().rstrip().split("\r\n")
    method, target, _ = first.split(" ")
    url = urlsplit(target)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Asked(method, url.path, dict(parse_qsl(url.query)), headers)


def _head(reply: Reply) -> bytes:
    length = () if reply.status == 204 else (f"Content-Length: {len(reply.body)}",)
    return "\r\n".join([f"HTTP/1.1 {reply.status} -", *length, *reply.headers, "", ""]).encode()
