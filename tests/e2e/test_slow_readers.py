"""Readers that stop reading, and clients that talk too much: nobody else notices, and nothing grows."""

import asyncio
import re
import socket
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.conftest import MakeServer
from tests.e2e.support import (
    DOCUMENTED,
    ELIMINAR,
    begin,
    do,
    joined,
    mark,
    publish,
    published,
    seq,
    state,
    told,
)
from tests.harness import CurlReader, LegacySocket, ServerProcess, SseReader, V2Socket, eventually

LONG = "€" * 1990
"""About 6 KB on the wire."""

FLOOD = 260
"""So many of them are more than outbox, transport and both kernels hold for a reader that stopped."""


def stalled_socket(server: ServerProcess, head: str) -> socket.socket:
    """A connection that has sent its request and will never read."""
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.connect(("127.0.0.1", server.port))
    stalled.sendall(head.replace("\n", "\r\n").encode())
    return stalled


def stalled_stream(server: ServerProcess, user: int) -> socket.socket:
    return stalled_socket(server, f"GET /sse/progress?userId={user} HTTP/1.1\nHost: 127.0.0.1\n\n")


def stalled_tab(server: ServerProcess, user: int) -> socket.socket:
    return stalled_socket(
        server,
        f"GET /ws/progress?userId={user} HTTP/1.1\nHost: 127.0.0.1\nConnection: Upgrade\nUpgrade: websocket\n"
        "Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n",
    )


async def connections(client: httpx.AsyncClient) -> int:
    count: int = (await client.get("/api/metricas")).json()["activeConnections"]
    return count


async def flood_updates(client: httpx.AsyncClient, operation_id: str, count: int = FLOOD) -> None:
    """Publish updates, which may be conflated."""
    for number in range(count):
        answer = await publish(client, operation_id, "copy", message=f"{number} {LONG}")
        assert answer.status_code == 201


async def flood_changes(client: httpx.AsyncClient, operation_id: str, count: int = FLOOD) -> None:
    """Publish changes of status, none of which may be dropped."""
    for number in range(count):
        status = "error" if number % 2 else "in_progress"
        answer = await publish(client, operation_id, "copy", status, message=f"{number} {LONG}")
        assert answer.status_code == 201


def resident_bytes(server: ServerProcess) -> int:
    """The memory of the server, of which the command's wrapper has become the process."""
    text = Path(f"/proc/{server.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found, text
    return int(found[1]) * 1024


async def test_stalled_readers_cost_the_others_no_time_and_the_server_no_memory(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    async def latencies(count: int) -> list[float]:
        """From the moment a publisher begins to the moment its event is read."""
        measured = []
        for number in range(count):
            begun = time.perf_counter()
            answer = await publish(mine, "op", "copy", message=f"{number} {LONG}")
            message = await fast.next()
            measured.append(time.perf_counter() - begun)
            assert message.id == answer.json()["cursor"], "nothing is dropped for a reader that keeps up"
        return measured

    async with V2Socket(f"{server.ws_url}/ws/progress?userId={user}") as fast:
        await fast.until_live()
        alone = await latencies(60)
        with ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(stalled_stream(server, user))
                stack.enter_context(stalled_tab(server, user))
            await eventually(lambda: _are_open(mine, 21))
            await latencies(250)  # until everything that is bounded is full
            before = resident_bytes(server)
            crowded = await latencies(400)
            grown = resident_bytes(server) - before
            assert await connections(mine) == 21, "updates are conflated, so nobody had to be closed"
        # 400 events of 6 KB for 20 readers who take nothing are 48 MB. History is kept on disk.
        assert grown < 14e6, f"{grown / 1e6:.1f} MB"
        assert statistics.median(crowded) < 10 * statistics.median(alone) + 0.02
        assert max(crowded) < 2
        await eventually(lambda: _are_open(mine, 1))


async def _are_open(client: httpx.AsyncClient, count: int) -> bool:
    return await connections(client) == count


async def test_a_stalled_stream_is_closed_as_slow_and_resumes_without_loss(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    url = f"{server.url}/sse/progress?userId={user}"
    async with CurlReader(url) as curl:
        await curl.until(b"event: live")
        curl.pause()
        await flood_changes(mine, "op")
        curl.resume()
        body = (await curl.body()).decode()
    assert body.endswith('event: end\ndata: {"reason":"slow"}\n\n')
    ids = re.findall(r"^id: (.+)$", body, re.MULTILINE)[1:]  # the first is that of `live`
    assert [seq(it) for it in ids] == list(range(1, len(ids) + 1))
    assert len(ids) < FLOOD
    async with SseReader(url, last_event_id=ids[-1]) as stream:
        rest = await stream.until_live()
    assert [seq(it.id) for it in rest[:-1]] == list(range(len(ids) + 1, FLOOD + 1))


async def test_a_stalled_socket_is_closed_as_slow_and_resumes_without_loss(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    url = f"{server.ws_url}/ws/progress?userId={user}"
    async with V2Socket(url, max_queue=1) as stalled:  # nobody reads, so that the library stops, too
        await stalled.until_live()
        await flood_changes(mine, "op")
        code, _ = await stalled.closed()
    assert code == 1013
    messages = [it for it in stalled.seen if it.event == "progress"]
    assert [seq(it.id) for it in messages] == list(range(1, len(messages) + 1))
    assert (stalled.seen[-1].event, stalled.seen[-1].id) == ("end", None)
    assert stalled.seen[-1].data == {"reason": "slow"}
    async with V2Socket(f"{url}&lastEventId={messages[-1].id}") as again:
        rest = await again.until_live()
    assert [seq(it.id) for it in rest[:-1]] == list(range(len(messages) + 1, FLOOD + 1))


async def test_the_documented_socket_that_comes_back_sees_the_state(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    """It was closed in the middle, and the last event came while it was away."""
    url = f"{server.ws_url}/ws/progress?userId={user}"
    await begin(mine, "op", "copy")
    async with LegacySocket(url, max_queue=1) as stalled:
        await stalled.next()
        await flood_changes(mine, "op")
        code, _ = await stalled.closed()
    assert code == 1013
    await publish(mine, "op", "copy", "pending", message="Otra vez", progress=0)
    await publish(mine, "op", "copy", "completed", message="Hecho", progress=100)
    assert (await state(mine, "op"))["outcome"] == "completed"
    async with LegacySocket(url) as again:
        assert told([await again.next()]) == [("copy", "completed", 100, "Hecho")]
        marker = await mark(mine)
        assert (await again.next())["operation_id"] == marker


async def test_a_slow_reader_is_given_fewer_updates_but_every_change_and_the_ending(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    await begin(mine, "op", "copy")
    async with CurlReader(f"{server.url}/sse/operations/op?userId={user}") as curl:
        await curl.until(b"event: live")
        curl.pause()
        await flood_updates(mine, "op")
        await published(mine, "op", "copy", "error", "in_progress", "completed")
        curl.resume()
        body = (await curl.body()).decode()
    assert '"outcome":"completed"' in body
    ids = [seq(it) for it in re.findall(r"^id: (.+)$", body, re.MULTILINE)][1:]
    assert ids == sorted(set(ids))
    assert ids[-4:] == list(range(FLOOD + 2, FLOOD + 6)), "three changes of status, and the ending"
    assert ids[-5] == FLOOD + 1, "the newest update stays"
    assert len(ids) < FLOOD, "the older ones were left out"


async def test_a_reader_that_takes_nothing_for_too_long_is_closed_and_then_aborted(
    make_server: MakeServer, user: int
) -> None:
    """It does not even take its `end`, so that its connection is aborted and its slot given back."""
    server = await make_server(slow_seconds=1, streams_per_user=2)
    async with server.http(user=user) as client:
        with stalled_stream(server, user), stalled_tab(server, user):
            await eventually(lambda: _are_open(client, 2))
            await flood_updates(client, "op")
            assert (await client.get("/sse/progress")).status_code == 429
            await eventually(lambda: _are_open(client, 0), 15)
    assert await server.terminate() == 0
    assert "Traceback" not in server.log


async def test_stalled_readers_do_not_hold_up_work(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    with stalled_stream(server, user), stalled_tab(server, user):
        await eventually(lambda: _are_open(mine, 2))
        await flood_updates(mine, "op", 150)
        for path in DOCUMENTED:
            assert (await do(mine, path, 1, "work")).status_code == 200
    await eventually(lambda: _are_open(mine, 0))


# Clients that talk too much


dialects = pytest.mark.parametrize("dialect", [LegacySocket, V2Socket])


@dialects
async def test_a_flood_of_messages_closes_the_socket_that_sends_it_and_no_other(
    server: ServerProcess, mine: httpx.AsyncClient, user: int, dialect: type[LegacySocket | V2Socket]
) -> None:
    url = f"{server.ws_url}/ws/progress?userId={user}"
    async with LegacySocket(url) as other, dialect(url) as talker:
        reading = asyncio.create_task(talker.closed())
        for _ in range(1000):
            try:
                await talker.send({"type": "start_operation", "operation_id": "op"})
            except ConnectionClosed:  # while we talk
                break
        code, _reason = await reading
        assert code == 1008
        await joined(other, mine)


async def test_a_burst_is_no_flood(server: ServerProcess, mine: httpx.AsyncClient, user: int) -> None:
    async with LegacySocket(f"{server.ws_url}/ws/progress?userId={user}") as tab:
        for number in range(199):
            await tab.start(f"op-{number % 7}")
        await joined(tab, mine)


async def test_how_fast_a_client_may_talk_is_a_setting(make_server: MakeServer, user: int) -> None:
    server = await make_server(messages_burst=3, messages_per_second=0.01)
    async with server.http(user=user) as client:
        async with LegacySocket(f"{server.ws_url}/ws/progress?userId={user}") as tab:
            for number in range(3):
                await tab.start(f"op-{number}", steps=["copy"])
                assert (await tab.next())["operation_id"] == f"op-{number}"
            await tab.start("op-3")
            assert (await tab.closed())[0] == 1008
        assert (await client.get("/api/operaciones/op-3")).status_code == 404


@dialects
@pytest.mark.parametrize("message", [b"binary", b"", b"x" * 70_000, b'{"type":"stop_operation"}'])
async def test_binary_messages_close_the_socket(
    server: ServerProcess, user: int, dialect: type[LegacySocket | V2Socket], message: bytes
) -> None:
    async with dialect(f"{server.ws_url}/ws/progress?userId={user}") as tab:
        await tab.send_raw(message)
        assert (await tab.closed())[0] == (1009 if len(message) > 65536 else 1003)


@dialects
@pytest.mark.parametrize(
    ("character", "count"), [("x", 65_537), ("€", 21_846), ("😀", 60_000), ("x", 1_000_000)]
)
async def test_messages_over_64_kib_close_the_socket(
    server: ServerProcess, user: int, dialect: type[LegacySocket | V2Socket], character: str, count: int
) -> None:
    """Bytes are counted, not characters."""
    async with dialect(f"{server.ws_url}/ws/progress?userId={user}") as tab:
        await tab.send_raw(character * count)
        assert (await tab.closed())[0] == 1009


async def test_a_message_of_64_kib_is_read(server: ServerProcess, mine: httpx.AsyncClient, user: int) -> None:
    message: dict[str, Any] = {"type": "start_operation", "operation_id": "op", "steps": ["copy"]}
    async with LegacySocket(f"{server.ws_url}/ws/progress?userId={user}") as tab:
        text = httpx.Request("POST", "/", json=message).content.decode()
        await tab.send_raw(text + " " * (65_536 - len(text)))
        assert told([await tab.next()]) == [("copy", "pending", 0, "Pendiente")]
        assert (await do(mine, ELIMINAR, 2, "op-2")).status_code == 200
