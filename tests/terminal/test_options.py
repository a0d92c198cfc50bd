"""How a command ends that is asked to, or whose work is over: whatever it was waiting for."""

import signal
import sys

import pytest

from tests.harness import eventually
from tests.harness.processes import LineProcess

DEAF = """
import asyncio, contextlib, itertools
from wellnet_sse.terminal.exits import Exit
from wellnet_sse.terminal.options import complete

async def deaf():
    for _ in range(3):  # cancellations are lost on it
        with contextlib.suppress(asyncio.CancelledError):
            print("ready", flush=True)
            await asyncio.sleep(60)
    await asyncio.sleep(60)
"""
WORKS = f"{DEAF}\ncomplete(deaf())"
LEAVES_BEHIND = f"""{DEAF}
async def work():
    one = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    return Exit.COMPLETED

complete(work())
"""

BUSY = """
from wellnet_sse.terminal.options import complete

async def busy():
    print("ready", flush=True)
    while True:
        pass

complete(busy())
"""


class Program(LineProcess[bytes]):
    """A program of a few lines."""

    def __init__(self, program: str) -> None:
        super().__init__([sys.executable, "-c", program])

    def parse(self, line: bytes) -> bytes:
        """Keep the line."""
        return line

    async def ended(self) -> int:
        await self.exhausted()
        return await self.process.wait()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_it_ends_although_what_it_waits_for_loses_cancellations(number: int, code: int) -> None:
    async with Program(WORKS) as program:
        await program.take()
        program.process.send_signal(number)
        assert await program.ended() == code
        assert not program._errors


async def test_so_does_what_is_left_behind_when_the_work_is_over() -> None:
    async with Program(LEAVES_BEHIND) as program:
        assert await program.ended() == 0
        assert not program._errors


async def test_asked_twice_it_ends_at_once_whatever_it_is_busy_with() -> None:
    async with Program(BUSY) as program:
        await program.take()

        def is_over() -> bool:
            if program.process.returncode is None:
                program.process.send_signal(signal.SIGINT)
            return program.process.returncode is not None

        await eventually(is_over)
        assert program.process.returncode == -signal.SIGINT
