"""Peers that go, however and whenever they do it, are let go; each mend beside what stock Hypercorn does."""

from pathlib import Path

import pytest

from tests.harness import ServerProcess
from tests.server.conftest import STOCK, open_streams, wait_for_open
from tests.server.inside import Inside, application, inside
from tests.server.peer import Peer, request
from tests.server.tiny import Tiny
from wellnet_sse.app import services
from wellnet_sse.progress.events import UserId
from wellnet_sse.server import direct, runner, sockets


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


@pytest.mark.parametrize("sent", [b"", request("/")[:-2], request("/")], ids=["nothing", "half", "one"])
def test_a_peer_that_goes_between_requests_is_let_go_at_once(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """Hypercorn keeps its connection, and its tasks, until the time of an idle one is up."""
    monkeypatch.setattr(runner, "KEEP_ALIVE_SECONDS", 600.0)

    def come_and_go(server: Inside, idle: list[str]) -> None:
        with Peer(server.port) as peer:
            peer.send(sent)
            if sent.endswith(b"\r\n\r\n"):
                peer.answer()
            server.wait(lambda: server.tasks() != idle)

    with inside(Tiny()) as server:
        idle = server.tasks()
        come_and_go(server, idle)
        server.wait_for_tasks(idle)
    if sent == request("/")[:-2]:
        return  # which is as good with Hypercorn
    with inside(Tiny(), stock=True) as server:
        idle = server.tasks()
        come_and_go(server, idle)
        with Peer(server.port) as other:  # one that leaves nothing
            other.send(request("/", Connection="close")).answer()
        server.wait(lambda: len(server.tasks()) <= len(idle) + 3, server.tasks)
        assert server.tasks() != idle


def flood_and_go(server: ServerProcess) -> None:
    with Peer(server.port) as peer:
        peer.send(request("/flood")).head()
        peer.reset()


async def test_what_is_sent_to_a_peer_that_has_gone_does_not_hold_the_loop(
    ours: ServerProcess, tmp_path: Path
) -> None:
    """Stock Hypercorn answers nobody any more: its sender is always ready, and never sees it is cancelled."""
    flood_and_go(ours)
    assert open_streams(ours) == 0
    async with ServerProcess(tmp_path, command=STOCK) as stock:
        flood_and_go(stock)
        with pytest.raises(TimeoutError):
            open_streams(stock, wait_seconds=0.5)


def test_the_kernel_frees_a_peer_that_stopped_reading(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody closes it here but TCP_USER_TIMEOUT, which Hypercorn takes for a fault of its own."""
    monkeypatch.setattr(sockets, "USER_TIMEOUT_MS", 300)

    def stall(server: Inside) -> None:
        idle = server.tasks()
        with Peer(server.port, receive_buffer_bytes=4096) as stalled:
            stalled.send(request("/flood")).head()
            assert server.tasks() != idle
            server.wait_for_tasks(idle)

    with inside(Tiny()) as server:
        stall(server)
    assert not caplog.records
    with inside(Tiny(), stock=True) as server:  # on our listening socket: its own has no such time
        stall(server)
    assert "Connection timed out" in caplog.text


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
