"""HTTP/1.1 and nothing but that, by its bytes; each mend beside what stock Hypercorn does."""

import base64
import json

import pytest

from tests.harness import ServerProcess
from tests.server.conftest import open_streams, wait_for_open
from tests.server.inside import application
from tests.server.peer import Peer, request
from wellnet_sse.server.connection import MAX_WAITING_BYTES
from wellnet_sse.server.http11 import DISCARD_BYTES

SETTINGS = base64.urlsafe_b64encode(bytes.fromhex("00030000006400040000ffff")).decode().rstrip("=")
H2C = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": SETTINGS}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)


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


# Methods and versions


def test_head_is_get_without_its_body(ours: ServerProcess) -> None:
    with Peer(ours.port) as peer:
        wanted = peer.send(request("/")).answer()[0]
        head = peer.send(request("/", method="HEAD")).head()
        assert {**head.headers, "date": ""} == {**wanted.headers, "date": ""}
        assert peer.send(request("/")).answer()[1] == b"ok", "nothing came between"


def test_head_of_a_stream_ends_with_its_head(stock: ServerProcess) -> None:
    """Quart runs the stream all the same, for ever, and whatever is asked next waits for it."""
    with application() as (server, _), Peer(server.port) as peer:
        head = peer.send(request("/sse/progress?userId=7", method="HEAD"), request("/healthz")).head()
        assert head.headers["content-type"].startswith("text/event-stream")
        assert peer.head().status == 200
    with Peer(stock.port) as peer:
        assert peer.send(request("/quart/stream", method="HEAD"), request("/")).head().status == 200
        assert peer.says_no_more()


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
        assert peer.says_no_more()


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


def test_a_request_whose_end_is_a_matter_of_opinion_is_refused(
    ours: ServerProcess, stock: ServerProcess
) -> None:
    both = request("/post", method="POST", Content_Length="4", Transfer_Encoding="chunked")
    hiding = [both, b"0\r\n\r\n", request("/hidden")]
    with Peer(ours.port) as peer:
        answer = peer.send(*hiding).rest()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1") == 1
    with Peer(stock.port) as peer:
        assert [peer.send(*hiding).answer()[1], peer.answer()[1]] == [b"0", b"ok"]


def test_http_2_behind_a_request_is_refused_too(ours: ServerProcess) -> None:
    with Peer(ours.port) as peer:
        answer = peer.send(request("/"), PREFACE).rest()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"HTTP/1.1 505 " in answer


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
