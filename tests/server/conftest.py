"""The small application, on our server and on stock Hypercorn, each in a process of its own."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.harness import ServerProcess

TINY = (sys.executable, str(Path(__file__).with_name("tiny.py")))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ours(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """On our server, which must end well and without a word of trouble."""
    async with ServerProcess(tmp_path_factory.mktemp("ours"), command=TINY) as process:
        yield process
        assert await process.terminate() == 0, process.tail()
        for trouble in ("connection_failed", "Unhandled", "never retrieved"):
            assert trouble not in process.log, process.log


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stock(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """On Hypercorn as it comes: here a test of a mend must fail, or the mend may go."""
    command = [*TINY, "--stock", "--message-bytes", "65536"]
    async with ServerProcess(tmp_path_factory.mktemp("stock"), command=command) as process:
        yield process
