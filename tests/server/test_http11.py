"""HTTP/1.1 and nothing but that, by its bytes; each mend beside what stock Hypercorn does."""

import base64
import json
import time
from pathlib import Path

import pytest

from tests.harness import ServerProcess
from tests.server.conftest import TINY
from tests.server.inside import application, inside
from tests.server.peer import Peer, request
from tests.server.tiny import Tiny
from wellnet_sse.app import services
from wellnet_sse.progress.events import UserId
from wellnet_sse.server import direct, runner
from wellnet_sse.server.connection import MAX_WAITING_BYTES
from wellnet_sse.server.http11 import DISCARD_BYTES

SETTINGS = base64.urlsafe_b64encode(bytes.fromhex("00030000006400040000ffff")).decode().rstrip("=")
H2C = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": SETTINGS}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)


def open_streams(server: ServerProcess) -> int:
    with Peer(server.port) as peer:
        return int(peer.send(request("/open")).answer()[1])


def wait_for_open(server: ServerProcess, count: int) -> None:
    deadline = time.monotonic() + 10
    while (found := open_streams(server)) != count:
        assert time.monotonic() < deadline, f"{found} are open"


# HTTP/2 is the proxy's


def test_an_upgrade_to_http_2_is_ignored(ours: ServerProcess, stock: ServerProcess) -> None:
    with Peer(ours.port) as peer:
        head, body = peer.send(request("/", **H2C)).answer()
        assert (head.version, head.status, body) == ("HTTP/1.1", 200, b"ok")
        assert "upgrade" not in head.headers
        assert peer.send(request("/")).answer()[1] == b"ok", "and the connection goes on"
    with Peer(stock.port) as peer:
        assert peer.send(request("/", **H2C)).head().status == 101


def test_http_2_by_prior_knowledge_is_refused(ours: ServerProcess, stock: ServerProcess) -> None:
    with Peer(ours.port) as peer:
        answer = peer.send(PREFACE).rest()
        assert answer.startswith(b"HTTP/1.1 505 ")
        assert answer.endswith(b"\r\n\r\n")
    with Peer(stock.port) as peer:
        assert peer.send(PREFACE).take(4)[3] == 4, "a frame of settings"


# Pipelining


def test_a_pipelined_request_does_not_hide_that_the_peer_has_gone(
    ours: ServerProcess, stock: ServerProcess
) -> None:
    with Peer(ours.port) as peer:
        peer.send(request("/stream"), request("/")).until(b"open")
        wait_for_open(ours, 1)
    wait_for_open(ours, 0)
    with Peer(stock.port) as parked:
        parked.send(request("/stream"), request("/")).until(b"open")
    with Peer(stock.port) as plain:
        plain.send(request("/stream")).until(b"open")
        wait_for_open(stock, 2)
    wait_for_open(stock, 1)  # the second is seen to have gone, and the first, which went before, is not


@pytest.mark.parametrize("end", ["reset", "shutdown"])
def test_peers_that_reset_and_that_only_end_their_side_are_seen(ours: ServerProcess, end: str) -> None:
    with Peer(ours.port) as peer:
        peer.send(request("/stream"), request("/")).until(b"open")
        wait_for_open(ours, 1)
        if end == "reset":
            peer.reset()
        else:
            peer.socket.shutdown(1)
        wait_for_open(ours, 0)


def test_pipelined_requests_are_answered_in_order(ours: ServerProcess) -> None:
    with Peer(ours.port) as peer:
        body = b"x" * 1000
        post = request("/post", method="POST", Content_Length="1000") + body
        peer.send(request("/"), post, request("/"), request("/", method="HEAD"), request("/open"))
        assert [peer.answer()[1] for _ in range(3)] == [b"ok", b"1000", b"ok"]
        assert peer.head().headers["content-length"] == "2"
        assert peer.answer()[1].isdigit()


def test_what_waits_behind_a_stream_is_bounded(ours: ServerProcess) -> None:
    with Peer(ours.port) as peer:
        peer.send(request("/stream")).until(b"open")
        with pytest.raises(ConnectionError):
            peer.send_until_refused(request("/", Filler="x" * (MAX_WAITING_BYTES // 8)))
    wait_for_open(ours, 0)


@pytest.mark.parametrize("sent", [b"", request("/")[:-2], request("/")])
def test_a_peer_that_goes_between_requests_is_let_go_at_once(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """Hypercorn keeps its connection, and two tasks, until the time of an idle one is up."""
    monkeypatch.setattr(runner, "KEEP_ALIVE_SECONDS", 600.0)
    with inside(Tiny()) as server:
        idle = server.tasks()
        with Peer(server.port) as peer:
            peer.send(sent)
            if sent.endswith(b"\r\n\r\n"):
                peer.answer()
            server.wait(lambda: server.tasks() != idle)
        server.wait_for_tasks(idle)


# Methods and versions


def test_head_is_get_without_its_body(ours: ServerProcess) -> None:
    with Peer(ours.port) as peer:
        wanted = peer.send(request("/")).answer()[0]
        head = peer.send(request("/", method="HEAD")).head()
        assert {**head.headers, "date": ""} == {**wanted.headers, "date": ""}
        assert peer.send(request("/")).answer()[1] == b"ok", "nothing came between"


def test_an_http_1_0_stream_has_no_chunks_and_ends_with_the_connection(ours: ServerProcess) -> None:
    with Peer(ours.port) as peer:
        head = peer.send(request("/stream", version="1.0")).head()
        assert "transfer-encoding" not in head.headers
        assert head.headers["connection"] == "close"
        assert peer.take(4) == b"open"
    wait_for_open(ours, 0)


def test_a_body_is_read_in_whatever_pieces_it_comes(ours: ServerProcess) -> None:
    with Peer(ours.port) as peer:
        peer.send(request("/post", method="POST", Transfer_Encoding="chunked", Expect="100-continue"))
        assert peer.head().status == 100
        for _ in range(100):
            peer.send(b"2\r\nab\r\n")
        assert peer.send(b"0\r\n\r\n").answer()[1] == b"200"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),  # TLS to a port that speaks none
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"x" * 100_000,
    ],
)
def test_what_is_no_request_is_answered_and_closed(ours: ServerProcess, nonsense: bytes) -> None:
    with Peer(ours.port) as peer:
        answer = peer.send(nonsense).rest()
        assert answer.startswith(b"HTTP/1.1 4"), answer


def test_what_is_sent_to_a_peer_that_has_gone_does_not_hold_the_loop(ours: ServerProcess) -> None:
    """Stock Hypercorn answers nobody any more: its sender is always ready, and never sees it is cancelled."""
    with Peer(ours.port) as peer:
        peer.send(request("/flood")).head()
        peer.reset()
    assert open_streams(ours) == 0


def refused_late(server: ServerProcess, peer: Peer) -> None:
    """Send a long body that nobody reads, and get the answer when the server can take in no more of it."""
    peer.send(request("/held", method="POST", Content_Length="3000000"), b"x" * 1_500_000)
    for _ in range(20):
        open_streams(server)  # meanwhile it reads
    with Peer(server.port) as other:
        other.send(request("/release")).answer()
    assert peer.answer()[1] == b"ok"


def test_a_body_that_nobody_reads_does_not_park_the_connection(
    ours: ServerProcess, stock: ServerProcess
) -> None:
    """Hypercorn waits for ever to hand over the rest of it, with the connection and its tasks."""
    with Peer(ours.port) as peer:
        refused_late(ours, peer)
        assert peer.ended()
    with Peer(stock.port) as peer:
        refused_late(stock, peer)
        peer.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            peer.take(1)


def test_a_request_that_is_answered_before_its_body_is_here_does_not_end_the_connection(
    ours: ServerProcess, stock: ServerProcess
) -> None:
    with Peer(ours.port) as peer:
        assert peer.send(request("/", method="POST", Content_Length="10")).answer()[1] == b"ok"
        assert peer.send(b"x" * 4).send(b"x" * 6, request("/open")).answer()[0].status == 200
        chunked = request("/", method="POST", Transfer_Encoding="chunked")
        assert peer.send(chunked).answer()[1] == b"ok"
        assert peer.send(b"2\r\nab\r\n0\r\n\r\n", request("/")).answer()[1] == b"ok"
    with Peer(stock.port) as peer:
        assert peer.send(request("/", method="POST", Content_Length="10")).answer()[1] == b"ok"
        assert peer.ended()


def test_little_is_read_of_a_body_that_is_answered_already(ours: ServerProcess) -> None:
    with Peer(ours.port) as peer:
        head, _ = peer.send(request("/", method="POST", Content_Length="10000000")).answer()
        assert head.headers["connection"] == "close"
        assert peer.ended()
    with Peer(ours.port) as peer:
        assert peer.send(request("/", method="POST", Transfer_Encoding="chunked")).answer()[1] == b"ok"
        size = 2 * DISCARD_BYTES
        peer.send(f"{size:x}\r\n".encode(), b"x" * size)
        assert peer.ended()


def test_a_request_whose_end_is_a_matter_of_opinion_is_refused(ours: ServerProcess) -> None:
    both = request("/post", method="POST", Content_Length="4", Transfer_Encoding="chunked")
    with Peer(ours.port) as peer:
        answer = peer.send(both, b"0\r\n\r\n", request("/hidden")).rest()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1") == 1


def test_http_2_behind_a_request_is_refused_too(ours: ServerProcess) -> None:
    with Peer(ours.port) as peer:
        answer = peer.send(request("/"), PREFACE).rest()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"HTTP/1.1 505 " in answer
    assert "Traceback" not in ours.log


def test_a_pipelined_body_in_many_pieces_is_read_whole() -> None:
    """Quart cancels the task of the request before it, in which Hypercorn would read this one."""
    body = json.dumps({"status": "in_progress", "message": "x" * 40}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    head = request(
        "/api/operaciones/op/pasos/one",
        method="POST",
        X_User_ID="7",
        Content_Type="application/json",
        Transfer_Encoding="chunked",
    )
    with application() as (server, _), Peer(server.port) as peer:
        peer.send((head + chunks + b"0\r\n\r\n") * 4)
        assert [peer.answer()[0].status for _ in range(4)] == [201] * 4


def test_a_stream_that_has_ended_does_not_wait_for_its_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "LINGER_SECONDS", 0.1)
    with application() as (server, app):
        idle = server.tasks()
        progress = services(app).progress
        server.run(progress.name(UserId(7), "op"))
        with Peer(server.port) as peer:
            peer.send(request("/sse/operations/op?userId=7")).head()
            server.wait(lambda: len(progress.hub) == 1)
            server.run(progress.stop(UserId(7), "op"))
            assert peer.rest().endswith(b"0\r\n\r\n")
            server.wait_for_tasks(idle)  # and the peer has not closed its side


# The end


async def test_stalled_readers_and_half_sent_requests_do_not_delay_the_exit(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path, command=TINY) as server:
        with (
            Peer(server.port, receive_buffer_bytes=4096) as stalled,
            Peer(server.port) as half,
            Peer(server.port) as streaming,
            Peer(server.port) as pipelining,
            Peer(server.port) as socket,
            Peer(server.port),
        ):
            stalled.send(request("/flood")).head()
            half.send(request("/")[:-2])
            streaming.send(request("/stream")).until(b"open")
            pipelining.send(request("/stream"), request("/")).until(b"open")
            socket.upgrade()
            begun = time.monotonic()
            assert await server.terminate() == 0
            assert time.monotonic() - begun < 3
    assert "Traceback" not in server.log
