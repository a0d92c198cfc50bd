"""Chores: what must be done again and again while the server lives."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from wellnet_sse.errors import UnavailableError

log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]


class _Chore(NamedTuple):
    name: str
    seconds: float
    work: Work


class Keeper:
    """Does each chore every so many seconds, in a task of its own, so that none waits for another."""

    def __init__(self) -> None:
        self._chores: list[_Chore] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def started(self) -> bool:
        """Whether the chores are being done."""
        return bool(self._tasks)

    def add(self, name: str, seconds: float, work: Work) -> None:
        """Have `work` done every so many seconds, from `start` to `aclose`."""
        self._chores.append(_Chore(name, seconds, work))

    def start(self) -> None:
        """Begin with all chores."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._keep(chore), name=chore.name) for chore in self._chores]

    async def aclose(self) -> None:
        """End all chores."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []

    async def _keep(self, chore: _Chore) -> None:
        while True:
            await asyncio.sleep(chore.seconds)
            try:
                await chore.work()
            except UnavailableError as error:
                log.warning("chore_put_off", extra={"chore": chore.name, "detail": error.detail})
            except Exception:
                log.exception("chore_failed", extra={"chore": chore.name})  # the next round may do better
