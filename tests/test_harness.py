"""The harness is held to its word against small servers made here, so that a red test means a red server."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus

from tests.harness import (
    BrowserEvent,
    CurlReader,
    EventSourceClient,
    LegacySocket,
    NodeSocket,
    ServerProcess,
    SseEvent,
    SseReader,
    StreamEndedError,
    V2Message,
    V2Socket,
    eventually,
    free_port,
)
from tests.harness.sse import Body, Comment, Ended, Retry

STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
STREAM = 'retry: 50\n\nid: e-1\ndata: {"año": 1}\n\n: hola\n\nevent: live\nid: e-1\ndata: {}\n\n'.encode()

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]

# Stands in for the server: answers /readyz, says where it is, and ends well on SIGTERM.
STAND_IN = """
import http.server, os, signal, subprocess, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
child = subprocess.Popen(["sleep", "600"])
host, port = sys.argv[sys.argv.index("--bind") + 1].split(":")
print("settings", sorted(name for name in os.environ if name.startswith("WELLNET_")), "child", child.pid)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"""


@asynccontextmanager
async def http_server(answer: Answer) -> AsyncIterator[str]:
    """Serve `answer`, which gets the request's head and body as they came, and yield the URL."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await answer(head + await reader.readexactly(int(length or 0)), writer)
        finally:
            writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def short_stream(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(STREAM_HEAD + STREAM)
    await writer.drain()


async def test_sse_reader_tells_events_retry_comments_and_the_end() -> None:
    async with http_server(short_stream) as url, SseReader(url) as stream:
        opened = await stream.opened()
        assert (opened.status, opened.headers["content-type"]) == (200, "text/event-stream")
        events = await stream.rest()
        assert events == [SseEvent("message", "e-1", '{"año": 1}'), SseEvent("live", "e-1", "{}")]
        assert events[0].json == {"año": 1}
        assert stream.lines[1:] == [Retry(50), events[0], Comment("hola"), events[1], Ended(None)]
        with pytest.raises(StreamEndedError):
            await stream.next()


async def test_sse_reader_sends_method_headers_body_and_cursor_and_gives_other_answers_as_text() -> None:
    requests = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        requests.append(request.lower())
        writer.write(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 2\r\nX-Seen: yes\r\n\r\nno")
        await writer.drain()

    async with http_server(answer) as url:
        headers = {"X-User-ID": "7"}
        async with SseReader(url, method="POST", body="{}", headers=headers, last_event_id="e-9") as stream:
            opened = await stream.opened()
            await stream.exhausted()
    assert (opened.status, opened.headers["x-seen"]) == (503, "yes")
    assert Body("no") in stream.lines
    assert requests[0].startswith(b"post / ")
    assert requests[0].endswith(b"\r\n\r\n{}")
    assert b"x-user-id: 7\r\n" in requests[0]
    assert b"last-event-id: e-9\r\n" in requests[0]


async def test_sse_reader_tells_a_cut_stream_from_a_complete_one() -> None:
    async def cut(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 999\r\n\r\ndata: 1\n\n"
        )
        await writer.drain()

    async with http_server(cut) as url, SseReader(url) as stream:
        assert (await stream.opened()).status == 200
        assert (await stream.next()).data == "1"
        with pytest.raises(AssertionError, match="cut off"):
            await stream.rest()


async def test_sse_reader_fails_with_what_it_saw_when_nothing_more_comes() -> None:
    silence = asyncio.Event()

    async def hang(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + STREAM)
        await silence.wait()

    async with http_server(hang) as url:
        async with SseReader(url) as stream:
            assert [it.event for it in await stream.until_live()] == ["message", "live"]
            with pytest.raises(AssertionError, match=r"not within 0\.1 s(?s:.)*hola"):
                await stream.until(lambda it: it.event == "end", timeout_seconds=0.1)
        silence.set()


async def test_paused_reader_takes_no_bytes_until_it_is_resumed() -> None:
    go_on = asyncio.Event()

    async def later(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        await go_on.wait()
        writer.write(STREAM)
        await writer.drain()

    async with http_server(later) as url, SseReader(url) as stream:
        await stream.opened()
        stream.pause()
        go_on.set()
        with pytest.raises(AssertionError, match="not within"):
            await stream.next(timeout_seconds=0.2)
        stream.resume()
        assert len(await stream.rest()) == 2


async def test_eventsource_reconnects_with_its_cursor_and_stops_at_204() -> None:
    requests = []

    async def twice(request: bytes, writer: asyncio.StreamWriter) -> None:
        requests.append(request.lower())
        writer.write(STREAM_HEAD + STREAM if len(requests) < 3 else b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()

    async with http_server(twice) as url, EventSourceClient(url) as source:
        await source.exhausted()
    round_trip = [
        BrowserEvent("open", None, None, 1),
        BrowserEvent("message", "e-1", '{"año": 1}', 1),
        BrowserEvent("live", "e-1", "{}", 1),
        BrowserEvent("error", None, None, 0),
    ]
    assert source.lines == [*round_trip, *round_trip, BrowserEvent("error", None, None, 2)]
    assert [b"last-event-id: e-1\r\n" in request for request in requests] == [False, True, True]


async def test_curl_shows_the_bytes_as_they_are() -> None:
    async with http_server(short_stream) as url, CurlReader(url) as curl:
        assert (await curl.opened()).headers["connection"] == "close"
        assert await curl.line() == b"retry: 50\n"
        assert (await curl.until(b"data:"))[-1] == 'data: {"año": 1}\n'.encode()
        assert await curl.body() == b"\n: hola\n\nevent: live\nid: e-1\ndata: {}\n\n"


@asynccontextmanager
async def echo_server(*, code: int = 1012) -> AsyncIterator[str]:
    """Echo messages until one says "close", then close with `code`; /refused answers 401."""

    async def handle(connection: ServerConnection) -> None:
        async for message in connection:
            if message == '{"type": "close"}':
                await connection.close(code, "adiós")
            await connection.send(message)

    async with serve(
        handle,
        "127.0.0.1",
        0,
        select_subprotocol=lambda _, offered: offered[0] if offered else None,
        process_request=lambda it, request: it.respond(401, "quién") if request.path == "/refused" else None,
    ) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


async def test_legacy_socket_speaks_json_without_compression_and_tells_the_close() -> None:
    async with echo_server() as url:
        async with LegacySocket(url, origin="http://localhost") as socket:
            assert socket.connection.protocol.extensions == []
            await socket.start("op-1", steps=["a"])
            await socket.stop("op-1")
            started = {"type": "start_operation", "operation_id": "op-1", "steps": ["a"]}
            stopped = {"type": "stop_operation", "operation_id": "op-1"}
            assert await socket.until(lambda it: it["type"] == "stop_operation") == [started, stopped]
            with pytest.raises(AssertionError, match="no message within"):
                await socket.next(timeout_seconds=0.05)
            await socket.send({"type": "close"})
            assert await socket.closed() == (1012, "adiós")
        with pytest.raises(InvalidStatus, match="401"):
            async with LegacySocket(f"{url}/refused"):
                pass


async def test_v2_socket_asks_for_its_protocol() -> None:
    async with echo_server() as url, V2Socket(url) as socket:
        assert socket.connection.subprotocol == "wellnet.progress.v2"
        await socket.send({"event": "live", "id": "e-0", "data": {}})
        assert await socket.until_live() == [V2Message("live", "e-0", {})]


async def test_node_socket_speaks_json_and_tells_the_close() -> None:
    async with echo_server() as url, NodeSocket(url, protocols=("wellnet.progress.v2",)) as socket:
        assert (await socket.opened())["protocol"] == "wellnet.progress.v2"
        await socket.send({"type": "ñ"})
        assert await socket.next() == {"type": "ñ"}
        await socket.send({"type": "close"})
        assert await socket.closed() == (1012, "adiós")


async def test_node_socket_tells_a_refusal() -> None:
    async with echo_server() as url, NodeSocket(f"{url}/refused", origin="http://evil.example") as socket:
        refused = await socket.refused()
    assert (refused["status"], refused["body"]) == (401, "quién")


async def test_eventually_tells_the_last_value_it_saw() -> None:
    values = iter(range(3))
    assert await eventually(lambda: next(values, 3)) == 1
    with pytest.raises(AssertionError, match="last check was 0"):
        await eventually(lambda: 0, timeout_seconds=0.05)
    with pytest.raises(AssertionError, match="raised ZeroDivisionError"):
        await eventually(lambda: 1 / 0, timeout_seconds=0.05)


def runs(process_id: int) -> bool:
    """Say whether there is such a process that is more than a zombie."""
    status = Path("/proc", str(process_id), "status")
    return status.exists() and "Z (zombie)" not in status.read_text()


def stand_in(directory: Path, code: str = STAND_IN) -> ServerProcess:
    return ServerProcess(directory, command=[sys.executable, "-c", code], settings={"WELLNET_X": 1})


async def test_server_process_starts_in_a_clean_world_and_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WELLNET_STRAY", "1")
    async with stand_in(tmp_path) as server:
        async with server.http(user=7) as client:
            assert client.headers["X-User-ID"] == "7"
            assert (await client.get("/readyz")).status_code == 200
        child = int(server.log.split("child ")[1].split()[0])
        assert await server.terminate() == 0
        assert "settings ['WELLNET_DATABASE_URL', 'WELLNET_X']" in server.log
        await server.start()
        await eventually(lambda: not runs(child))
        assert await server.kill() == -signal.SIGKILL
        assert server.log.count("settings") == 2


async def test_server_process_leaves_no_child_behind(tmp_path: Path) -> None:
    async with stand_in(tmp_path) as server:
        child = int(server.log.split("child ")[1].split()[0])
        assert runs(child)
    await eventually(lambda: not runs(child))


async def test_server_that_ends_at_start_fails_at_once_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"exit code 3(?s:.)*una razón"):
        async with stand_in(tmp_path, "import sys; print('una razón'); sys.exit(3)"):
            pass


def test_free_port_is_an_unprivileged_one() -> None:
    assert 1024 < free_port() < 65536
