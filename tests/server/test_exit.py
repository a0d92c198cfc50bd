"""How it ends: told first, and held up by nobody; beside how stock Hypercorn does."""

import secrets
import sys
from pathlib import Path

import pytest

from tests.deploy.test_notify import Manager
from tests.harness import ServerProcess
from tests.server.conftest import STOCK, TINY
from tests.server.peer import Peer, request

STOCK_IN_HASTE = (*STOCK, "--grace", "0.2")
ENOUGH_SECONDS = 1.5
"""Our server needs a fifth of it."""


async def told(server: ServerProcess) -> tuple[bytes, int]:
    """End the server; return what it still told a stream, and the code that it closed a socket with."""
    with Peer(server.port) as stream, Peer(server.port) as socket:
        stream.send(request("/stream")).until(b"open\r\n")
        socket.upgrade()
        assert await server.terminate() == 0, server.tail()
        return stream.rest(), socket.frame().code


async def test_streams_and_sockets_are_told_before_they_end(tmp_path: Path) -> None:
    """Stock Hypercorn cuts them off, and only then tells the application; and it tells systemd nothing."""
    with Manager(f"@wellnet-sse-{secrets.token_hex(8)}") as manager:
        environment = {"NOTIFY_SOCKET": manager.address}
        async with ServerProcess(tmp_path / "ours", command=TINY, settings=environment) as ours:
            assert await told(ours) == (b"8\r\n drained\r\n0\r\n\r\n", 1012)
            assert "Traceback" not in ours.log
        assert [await manager.told(), await manager.told()] == ["READY=1", "STOPPING=1"]
        async with ServerProcess(tmp_path / "stock", command=STOCK_IN_HASTE, settings=environment) as stock:
            assert await told(stock) == (b"", 1011)
        assert manager.told_nothing()


async def test_stalled_readers_and_half_sent_requests_do_not_delay_the_exit(tmp_path: Path) -> None:
    """For stock Hypercorn one of them is enough."""
    async with ServerProcess(tmp_path / "ours", command=TINY) as ours:
        with (
            Peer(ours.port, receive_buffer_bytes=4096) as stalled,
            Peer(ours.port) as half,
            Peer(ours.port) as streaming,
            Peer(ours.port) as pipelining,
            Peer(ours.port) as socket,
            Peer(ours.port),
        ):
            stalled.send(request("/flood")).head()
            half.send(request("/")[:-2])
            streaming.send(request("/stream")).until(b"open")
            pipelining.send(request("/stream"), request("/")).until(b"open")
            socket.upgrade()
            assert await ours.terminate(ENOUGH_SECONDS) == 0
    assert "Traceback" not in ours.log
    async with ServerProcess(tmp_path / "stock", command=STOCK_IN_HASTE) as stock:
        with Peer(stock.port, receive_buffer_bytes=4096) as stalled:
            stalled.send(request("/flood")).head()
            with pytest.raises(AssertionError, match="still runs"):
                await stock.terminate(ENOUGH_SECONDS)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="up to then asyncio does not wait for connections")
async def test_a_stream_that_goes_on_is_waited_for_by_stock_hypercorn_for_ever(tmp_path: Path) -> None:
    """On asyncio's own loop, which is its default; see pgjones/hypercorn#308."""
    alone = [sys.executable, "-m", "hypercorn", "--workers", "0", "--graceful-timeout", "0"]
    async with ServerProcess(tmp_path, command=[*alone, "tests.server.tiny:Tiny()"]) as stock:
        with Peer(stock.port) as stream:
            stream.send(request("/stream")).until(b"open")
            with pytest.raises(AssertionError, match="still runs"):
                await stock.terminate(ENOUGH_SECONDS)
