"""The small application on our server and on stock Hypercorn, each in a process that the tests here share."""

import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.harness import ServerProcess
from tests.server.peer import WAIT_SECONDS, Peer, request

TINY = (sys.executable, str(Path(__file__).with_name("tiny.py")))
STOCK = (*TINY, "--stock")


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def ours(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """On our server, which must end well and without a word of trouble."""
    async with ServerProcess(tmp_path_factory.mktemp("ours"), command=TINY) as process:
        yield process
        assert await process.terminate() == 0, process.tail()
        for trouble in ("connection_failed", "Unhandled", "never retrieved"):
            assert trouble not in process.log, process.log


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def stock(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """On Hypercorn as it comes: here a test of a mend must fail, or the mend may go."""
    command = [*STOCK, "--message-bytes", "65536"]
    async with ServerProcess(tmp_path_factory.mktemp("stock"), command=command) as process:
        yield process


def open_streams(server: ServerProcess, *, wait_seconds: float = WAIT_SECONDS) -> int:
    """How many of its streams there are now."""
    with Peer(server.port) as peer:
        peer.socket.settimeout(wait_seconds)
        return int(peer.send(request("/open")).answer()[1])


def wait_for_open(server: ServerProcess, count: int) -> None:
    """Wait until there are so many."""
    deadline = time.monotonic() + 10
    while (found := open_streams(server)) != count:
        assert time.monotonic() < deadline, f"{found} are open"
