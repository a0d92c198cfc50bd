"""What the proxy of deploy/compose asks of the other node as well, and what it never says twice."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.deploy.proxies import Change, compose_nginx
from tests.harness import SseReader, free_port

pytestmark = pytest.mark.system

STEP = "/api/operaciones/import-42/pasos/copy"
REFUSAL = b'{"code":"unavailable"}'


class Nodes:
    """Two nodes: whichever is asked first has what it is sent, and no good answer; the other one answers."""

    def __init__(self) -> None:
        self.ports: list[int] = []
        self.first = b""
        """The first one's answer; none where it dies before that."""
        self.asked = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, to its end."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length or 0))
        self.asked += 1
        writer.write(self.first if self.asked == 1 else _answer("201 Created", b"{}"))
        writer.close()


def _answer(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@asynccontextmanager
async def two_nodes() -> AsyncIterator[Nodes]:
    nodes = Nodes()
    async with AsyncExitStack() as stack:
        for _ in range(2):
            server = await asyncio.start_server(nodes.serve, "127.0.0.1")
            nodes.ports.append(server.sockets[0].getsockname()[1])
            await stack.enter_async_context(server)
        yield nodes


async def test_a_step_that_a_node_was_sent_is_repeated_only_with_its_key(tmp_path: Path) -> None:
    """The first node may have kept it, whether it died or answered 503. What else is sent may be repeated."""
    async with two_nodes() as nodes:
        upstreams = [f"127.0.0.1:{port}" for port in nodes.ports]
        async with compose_nginx(tmp_path / "proxy", *upstreams) as proxy, proxy.http(user=7) as client:
            for first in (b"", _answer("503 Service Unavailable", REFUSAL)):
                for path, key, asked, status in [
                    (STEP, None, 1, 503),
                    (STEP, "k1", 2, 201),
                    ("/api/operaciones", None, 2, 201),
                    ("/api/operaciones/import-42/detener", None, 2, 201),
                    ("/api/conexiones/quitar-asignacion", None, 2, 201),
                ]:
                    nodes.first, nodes.asked = first, 0
                    headers = {} if key is None else {"Idempotency-Key": key}
                    answer = await client.post(path, json={}, headers=headers)
                    case = (path, key, first)
                    assert (nodes.asked, answer.status_code) == (asked, status), case
                    if status == 503:
                        assert json.loads(answer.content)["code"] == "unavailable", case


async def test_a_step_goes_to_the_other_node_where_one_does_not_take_it(tmp_path: Path) -> None:
    async with two_nodes() as nodes:
        nodes.first = _answer("201 Created", b"{}")
        upstreams = [f"127.0.0.1:{port}" for port in (free_port(), nodes.ports[0])]
        async with compose_nginx(tmp_path / "proxy", *upstreams) as proxy, proxy.http(user=7) as client:
            for number in range(1, 5):  # every second one is offered to the one that is not there
                assert (await client.post(STEP, json={})).status_code == 201
                assert nodes.asked == number


async def test_a_stream_does_not_keep_the_workers_of_before_a_reload(tmp_path: Path) -> None:
    """It is ended after a while, and comes back with its cursor; else it would hold them for ever."""

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: 1\ndata: {}\n\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(stream, "127.0.0.1")
    upstream = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    directory = tmp_path / "proxy"
    proxy = compose_nginx(
        directory,
        upstream,
        upstream,
        changes=[
            Change("pid /tmp/nginx.pid;", f"pid {directory}/nginx.pid;\ndaemon off;"),  # with workers
            Change("worker_shutdown_timeout 15s;", "worker_shutdown_timeout 1s;"),
        ],
    )
    async with server, proxy, SseReader(f"{proxy.url}/sse/progress?userId=7") as reader:
        await reader.next()
        proxy.signal(signal.SIGHUP)
        await reader.exhausted()
