"""How WebSockets begin and end, by their bytes; each mend beside what stock Hypercorn, or Quart, does."""

import asyncio

import pytest
from quart import Websocket

from tests.harness import ServerProcess
from tests.server.inside import application
from tests.server.peer import HANDSHAKE, TEXT, Frame, Peer, closing, masked, request
from wellnet_sse.app import services


def test_a_close_is_echoed_and_then_the_connection_ends(ours: ServerProcess) -> None:
    with Peer(ours.port) as peer:
        peer.upgrade()
        assert peer.send(closing(4321)).frame().code == 4321
        assert peer.ended()


def test_a_close_of_ours_waits_for_no_answer(ours: ServerProcess, stock: ServerProcess) -> None:
    """Where the application goes on until its peer has gone, as Quart 0.23 does, and the peer stays."""
    with Peer(ours.port) as peer:
        peer.upgrade("/goodbye")
        assert peer.frame().code == 1000
        assert peer.ended()
    with Peer(stock.port) as peer:
        peer.upgrade("/goodbye")
        assert peer.frame().code == 1000
        assert peer.says_no_more()


def test_a_fault_of_the_application_is_told_as_ours(ours: ServerProcess) -> None:
    """So it is by stock Hypercorn, unless Quart comes between."""
    with Peer(ours.port) as peer:
        peer.upgrade("/fault")
        assert peer.frame().code == 1011
        assert peer.ended()


def test_a_fault_of_our_handler_is_told_as_ours(
    stock: ServerProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Quart itself closes with 1000, as if all were well."""
    with Peer(stock.port) as peer:
        peer.upgrade("/quart/fault")
        assert peer.frame().code == 1000
    with application() as (server, app), Peer(server.port) as peer:

        async def fail(*_: object, **__: object) -> None:
            raise ZeroDivisionError("a secret")

        async def close_slowly(websocket: Websocket, code: int, reason: str) -> None:
            await close(websocket, code, reason)
            await asyncio.Event().wait()  # cut off by the peer's end, as any close may be

        close = Websocket.close
        monkeypatch.setattr(Websocket, "close", close_slowly)
        monkeypatch.setattr(services(app).progress, "stop", fail)
        peer.upgrade("/ws/progress?userId=7")
        peer.send(masked(TEXT, b'{"type":"stop_operation","operation_id":"one"}'))
        frame = peer.frame()
        assert frame.code == 1011
        assert b"secret" not in frame.payload
        assert peer.ended()
        server.wait(lambda: len(services(app).progress.hub) == 0)
    assert [it.message for it in caplog.records] == ["socket_failed"]


def test_a_flood_is_a_breach_of_policy(stock: ServerProcess) -> None:
    """Quart takes it in without a word: up to version 0.22 without a bound."""
    flood = masked(TEXT, b"{}") * 5000
    with application(messages_burst=20, messages_per_second=1) as (server, _), Peer(server.port) as peer:
        peer.upgrade("/ws/progress?userId=7")
        assert peer.send(flood).frame().code == 1008
        assert peer.ended()
    with Peer(stock.port) as peer:
        peer.upgrade("/quart/deaf")
        assert peer.send(flood).says_no_more()


def test_a_client_may_talk_before_it_is_answered(ours: ServerProcess, stock: ServerProcess) -> None:
    with Peer(ours.port) as peer:
        peer.send(request("/echo", **HANDSHAKE), masked(TEXT, b"at once"))
        assert peer.head().status == 101
        assert peer.frame() == Frame(TEXT, b"at once")
    with Peer(stock.port) as peer:
        assert peer.send(request("/echo", **HANDSHAKE), masked(TEXT, b"at once")).head().status == 400


def test_a_handshake_that_is_none_is_refused_and_that_is_all(
    ours: ServerProcess, stock: ServerProcess
) -> None:
    """Hypercorn promises to close the connection, and waits for what such a peer says next."""
    without_key = {name: value for name, value in HANDSHAKE.items() if name != "Sec-WebSocket-Key"}
    for given in ({**HANDSHAKE, "Sec-WebSocket-Version": "8"}, without_key):
        with Peer(ours.port) as peer:
            assert peer.send(request("/echo", **given)).head().status == 400
            assert peer.ended()
        with Peer(stock.port) as peer:
            head = peer.send(request("/echo", **given)).head()
            assert (head.status, head.headers["connection"]) == (400, "close")
            assert peer.says_no_more()


def test_who_does_not_ask_for_an_upgrade_has_what_plain_http_has_there(ours: ServerProcess) -> None:
    with Peer(ours.port) as peer:
        assert peer.send(request("/echo", **{**HANDSHAKE, "Connection": "close"})).head().status == 200
