"""Readers that stall and recover, by their bytes: written to directly, through `send`, on Hypercorn alone."""

import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from tests.e2e.support import seq
from tests.harness import ServerProcess
from tests.server.peer import PING, TEXT, Peer, masked, request
from tests.server.visits import Publisher

ALONE = [sys.executable, "-m", "hypercorn", "wellnet_sse.asgi:app"]
LONG = "ñ" * 1500

ROUNDS = 3
CHANGES = 20
UPDATES = 15
"""Before each change: in all more than kernel, transport and outbox hold for a reader that stopped."""


class Told(NamedTuple):
    """What a reader was told of a step."""

    seq: int | None
    status: str
    message: str


Open = Callable[[Peer, int], Iterator[Told]]
"""Joins as a user over a connection, and gives what it is told from then on."""


def told(event: dict[str, str], cursor: str | None) -> Told:
    return Told(None if cursor is None else seq(cursor), event["status"], event["message"].rstrip("ñ"))


def blocks(more: Callable[[], bytes]) -> Iterator[Told]:
    """The progress events among the blocks of a body that comes in pieces."""
    body = b""
    while True:
        while b"\n\n" not in body:
            body += more()
        block, _, body = body.partition(b"\n\n")
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if not line.startswith(b":"))
        if fields and b"event" not in fields:
            assert fields.keys() == {b"id", b"data"}
            yield told(json.loads(fields[b"data"]), fields[b"id"].decode())


def in_chunks(peer: Peer, user: int) -> Iterator[Told]:
    """HTTP/1.1, each of whose chunks must be whole."""
    head = peer.send(request(f"/sse/progress?userId={user}")).head()
    assert head.headers["transfer-encoding"] == "chunked"
    peer.until(b"event: live")
    peer.until(b"\n\n\r\n")
    return blocks(peer.chunk)


def of_1_0(peer: Peer, user: int) -> Iterator[Told]:
    """HTTP/1.0, which has no chunks."""
    head = peer.send(request(f"/sse/progress?userId={user}", version="1.0")).head()
    assert "transfer-encoding" not in head.headers
    peer.until(b"event: live")
    peer.until(b"\n\n")
    return blocks(lambda: peer.until(b"\n\n"))


def of_v2(peer: Peer, user: int) -> Iterator[Told]:
    """The v2 dialect, each of whose frames must be whole."""
    peer.upgrade(f"/ws/progress?userId={user}", Sec_WebSocket_Protocol="wellnet.progress.v2")
    messages = texts(peer)
    assert next(messages)["event"] == "live"
    return (told(it["data"], it["id"]) for it in messages if it["event"] == "progress")


def documented(peer: Peer, user: int) -> Iterator[Told]:
    """The documented dialect, which has no cursors, and says nothing when one has joined."""
    peer.upgrade(f"/ws/progress?userId={user}")
    peer.send(masked(TEXT, b'{"type":"start_operation","operation_id":"joined","steps":["now"]}'))
    messages = texts(peer)
    assert next(messages)["operation_id"] == "joined"
    return (told(it, None) for it in messages)


def texts(peer: Peer) -> Iterator[dict[str, Any]]:
    while True:
        frame = peer.frame()
        if frame.opcode != PING:
            assert frame.opcode == TEXT
            yield json.loads(frame.payload)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wellnet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """`wellnet-sse serve`."""
    settings = {"WELLNET_BROKER_URL": "memory://"}
    async with ServerProcess(tmp_path_factory.mktemp("wellnet"), settings=settings) as process:
        yield process
        assert await process.terminate() == 0
        assert "Traceback" not in process.log, process.tail()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alone(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """Hypercorn by itself, which offers no way past `send`."""
    settings = {"WELLNET_BROKER_URL": "memory://", "WELLNET_AUTH": "documented"}
    directory = tmp_path_factory.mktemp("alone")
    async with ServerProcess(directory, command=ALONE, settings=settings) as process:
        yield process
        assert await process.terminate() == 0
        assert "Traceback" not in process.log, process.tail()


def spared(server: ServerProcess, user: int, open_stream: Open) -> int:
    """Hold a reader that stalls again and again to what was published; how many updates it was spared."""
    missed = 0
    with closing(Publisher(server.port)) as publisher, Peer(server.port, receive_buffer_bytes=4096) as peer:
        reader = open_stream(peer, user)
        for round_ in range(ROUNDS):
            published = []
            for number in range(CHANGES * UPDATES):
                status = "error" if number % UPDATES == UPDATES - 1 else "in_progress"
                message = f"{round_}-{number} "
                cursor = publisher.publish(user, "op", message + LONG, status=status)
                published.append(Told(seq(cursor), status, message))
            seen = [next(reader)]
            while seen[-1].message != published[-1].message:
                seen.append(next(reader))
            hold(seen, published)
            missed += len(published) - len(seen)
            # Level again: what comes now is told by itself.
            publisher.publish(user, "op", "level")
            assert next(reader).message == "level"
    return missed


def hold(seen: list[Told], published: list[Told]) -> None:
    """Everything in its order, and every change of status once; updates may be missing."""
    rest = iter(published)
    for one in seen:
        assert any(it[1:] == one[1:] and one.seq in {it.seq, None} for it in rest), one
    changes = [it.message for it in published if it.status == "error"]
    assert [it.message for it in seen if it.status == "error"] == changes


@pytest.mark.parametrize("open_stream", [in_chunks, of_1_0, of_v2, documented])
def test_a_reader_that_stalls_and_recovers_is_told_every_change_once(
    wellnet: ServerProcess, user: int, open_stream: Open
) -> None:
    assert spared(wellnet, user, open_stream) > 0, "it never stalled"


@pytest.mark.parametrize("open_stream", [in_chunks, of_1_0, of_v2, documented])
def test_so_is_one_on_hypercorn_alone(alone: ServerProcess, user: int, open_stream: Open) -> None:
    """Whose kernel buffers may hold all of it."""
    assert spared(alone, user, open_stream) >= 0
