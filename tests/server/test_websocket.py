"""What goes over a WebSocket, by its bytes; each mend beside what stock Hypercorn does.

See also test_websocket_ends.py and test_autobahn.py.
"""

import contextlib
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.harness import ServerProcess
from tests.server.conftest import TINY
from tests.server.inside import inside
from tests.server.peer import BINARY, CLOSE, PING, PONG, TEXT, Frame, Peer, closing, masked
from tests.server.tiny import Tiny
from wellnet_sse.server import direct, runner, websocket
from wellnet_sse.server.websocket import MISSED_PONGS
from wellnet_sse.transports.websocket import MAX_MESSAGE_BYTES

DEFLATE = "permessage-deflate; client_max_window_bits, permessage-deflate"
LIMIT = MAX_MESSAGE_BYTES


# Compression


def test_compression_is_never_agreed_on(ours: ServerProcess, stock: ServerProcess) -> None:
    with Peer(ours.port) as peer:
        head = peer.upgrade(Sec_WebSocket_Extensions=DEFLATE)
        assert "sec-websocket-extensions" not in head.headers
        peer.send(b"\xc1\x80" + bytes(4))  # a compressed frame all the same
        assert peer.frame().code == 1002
    with Peer(stock.port) as peer:
        assert "sec-websocket-extensions" in peer.upgrade(Sec_WebSocket_Extensions=DEFLATE).headers


# How long a message may be


@pytest.mark.parametrize("character", ["x", "ñ", "€", "😀"])
def test_a_message_of_64_kib_passes_and_one_byte_more_does_not(ours: ServerProcess, character: str) -> None:
    size = len(character.encode())
    text = (character * (LIMIT // size) + "x" * (LIMIT % size)).encode()
    assert len(text) == LIMIT
    for opcode, message in [(TEXT, text), (BINARY, bytes(LIMIT))]:
        with Peer(ours.port) as peer:
            peer.upgrade()
            assert peer.send(masked(opcode, message)).frame() == Frame(opcode, message)
            assert peer.send(masked(opcode, message + b"x")).frame().code == 1009


def test_bytes_are_counted_and_not_characters(ours: ServerProcess, stock: ServerProcess) -> None:
    text = ("€" * (LIMIT // 3 + 1)).encode()
    with Peer(ours.port) as peer:
        peer.upgrade()
        assert peer.send(masked(TEXT, text)).frame().code == 1009
    with Peer(stock.port) as peer:
        peer.upgrade()
        assert peer.send(masked(TEXT, text)).frame() == Frame(TEXT, text)


def test_bytes_are_counted_over_all_fragments(ours: ServerProcess) -> None:
    piece = masked(0, "ñ".encode() * 1000, final=False)
    with Peer(ours.port) as peer:
        peer.upgrade()
        peer.send(masked(TEXT, b"", final=False), piece * 32, masked(0, b"x" * (LIMIT - 64_000)))
        assert len(peer.frame().payload) == LIMIT
        peer.send(masked(TEXT, b"", final=False), piece * 33)
        assert peer.frame().code == 1009, "it is not waited for the end"


def resident_bytes(server: ServerProcess) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def growth_while_sending(server: ServerProcess, megabytes: int) -> int:
    """By how much the server grows while a peer goes on sending one message that is too long already."""
    with Peer(server.port) as peer:
        peer.upgrade()
        peer.send(b"\x81\xff", (1 << 40).to_bytes(8), bytes(4), b"x" * (LIMIT + 1))
        assert peer.frame().code == 1009
        before, megabyte = resident_bytes(server), b"x" * 1_000_000
        with contextlib.suppress(ConnectionError):
            for _ in range(megabytes):
                peer.send(megabyte)
        return resident_bytes(server) - before


def test_memory_stays_flat_while_a_peer_sends_on(ours: ServerProcess, stock: ServerProcess) -> None:
    assert growth_while_sending(ours, 60) < 8e6
    assert growth_while_sending(stock, 60) > 8e6


def test_the_connection_ends_with_the_refusal(ours: ServerProcess, stock: ServerProcess) -> None:
    too_long = masked(BINARY, bytes(LIMIT + 1))
    with Peer(ours.port) as peer:
        peer.upgrade()
        assert peer.send(too_long).frame().code == 1009
        assert peer.ended()
    with Peer(stock.port) as peer:
        peer.upgrade()
        assert peer.send(too_long).frame().code == 1009
        assert peer.says_no_more()


def test_a_peer_that_sends_on_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "LINGER_SECONDS", 0.1)
    with inside(Tiny()) as server:
        idle = server.tasks()
        with Peer(server.port) as peer:
            peer.upgrade()
            assert peer.send(masked(BINARY, bytes(LIMIT + 1))).frame().code == 1009
            with pytest.raises(ConnectionError):
                peer.send_until_refused(bytes(100_000))
            server.wait_for_tasks(idle)


# Violations


VIOLATIONS = {
    "not masked": (b"\x81\x02hi", 1002),
    "reserved bit": (b"\xc1\x82" + bytes(4) + b"hi", 1002),
    "reserved opcode": (masked(3, b"hi"), 1002),
    "reserved control opcode": (masked(11, b"hi"), 1002),
    "long ping": (masked(PING, bytes(126)), 1002),
    "fragmented ping": (masked(PING, b"", final=False), 1002),
    "continuation of nothing": (masked(0, b"hi"), 1002),
    "interleaved messages": (masked(TEXT, b"hi", final=False) + masked(TEXT, b"hi"), 1002),
    "length not the shortest": (b"\x81\xfe\x00\x02" + bytes(4) + b"hi", 1002),
    "negative length": (b"\x81\xff" + b"\xff" * 8 + bytes(4), 1002),
    "text that is not UTF-8": (masked(TEXT, b"\xc3\x28"), 1007),
    "surrogate": (masked(TEXT, b"\xed\xa0\x80"), 1007),
    "cut character": (masked(TEXT, "€".encode()[:2]), 1007),
    "close of one byte": (masked(CLOSE, b"\x03"), 1002),
    "close with 1005": (closing(1005), 1002),
    "close with 999": (closing(999), 1002),
    "close whose reason is not UTF-8": (masked(CLOSE, b"\x03\xe8\xff"), 1007),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_is_answered_with_its_code_and_the_end(ours: ServerProcess, name: str) -> None:
    data, code = VIOLATIONS[name]
    with Peer(ours.port) as peer:
        peer.upgrade()
        assert peer.send(data).frame().code == code
        assert peer.ended()


def test_stock_hypercorn_says_nothing(stock: ServerProcess) -> None:
    with Peer(stock.port) as peer:
        peer.upgrade()
        assert peer.send(VIOLATIONS["not masked"][0]).rest() == b""


def test_what_was_right_before_a_violation_is_still_answered(ours: ServerProcess) -> None:
    with Peer(ours.port) as peer:
        peer.upgrade()
        peer.send(masked(PING, b"1"), VIOLATIONS["reserved opcode"][0], masked(TEXT, b"never"))
        assert peer.frame() == Frame(PONG, b"1")
        assert peer.frame().code == 1002
        assert peer.ended()


# Pings


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "PING_SECONDS", 0.05)
    monkeypatch.setattr(runner, "BEAT_SECONDS", 0.01)


@pytest_asyncio.fixture
async def pinging(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """Stock Hypercorn, told to ping."""
    async with ServerProcess(tmp_path, command=[*TINY, "--stock", "--ping-seconds", "0.05"]) as process:
        yield process


@pytest.mark.usefixtures("_quick")
def test_a_peer_that_answers_no_ping_is_dropped(pinging: ServerProcess) -> None:
    with inside(Tiny()) as server:
        idle = server.tasks()
        with Peer(server.port) as peer:
            peer.upgrade()
            assert peer.frames(MISSED_PONGS) == [Frame(PING, b"")] * MISSED_PONGS
            assert peer.ended()
            server.wait_for_tasks(idle)
    with Peer(pinging.port) as peer:
        peer.upgrade()
        peer.frames(5 * MISSED_PONGS)
        assert peer.send(masked(TEXT, b"still here")).frame().opcode in {PING, TEXT}


@pytest.mark.usefixtures("_quick")
def test_a_peer_that_answers_lives_while_another_takes_nothing() -> None:
    with inside(Tiny()) as server, Peer(server.port, receive_buffer_bytes=4096) as stalled:
        stalled.upgrade()
        stalled.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):  # nothing goes in any more
            stalled.send_until_refused(masked(TEXT, b"x" * 60_000))
        with Peer(server.port) as peer:
            peer.upgrade()
            for _ in range(10 * MISSED_PONGS):
                assert peer.frame() == Frame(PING, b"")
                peer.send(masked(PONG, b""))
            assert peer.send(masked(TEXT, b"alive")).frame() in {Frame(TEXT, b"alive"), Frame(PING, b"")}


@pytest.mark.usefixtures("_quick")
def test_a_peer_is_pinged_only_when_it_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "PING_SECONDS", 0.2)
    with inside(Tiny()) as server, Peer(server.port) as peer:
        begun = time.monotonic()
        peer.upgrade()
        assert peer.frame().opcode == PING
        assert time.monotonic() - begun > 0.15
