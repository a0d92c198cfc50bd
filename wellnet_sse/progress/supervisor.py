"""Tasks that belong to the server and not to a request: each has an owner that holds it and ends it."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


class Supervisor:
    """Holds running work, so that neither a client that leaves nor the garbage collector ends it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._settling: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str, settles: bool = False) -> asyncio.Task[T]:
        """Run `work` to its end. Whoever wants its result awaits the task, shielded.

        `settles`: it writes down how other work ended, so it is awaited and never cancelled.
        """
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        if settles:
            self._settling.add(task)
        task.add_done_callback(self._done)
        return task

    async def drain(self, *, grace_seconds: float) -> None:
        """Let the work end by itself for `grace_seconds`, then cancel what is left and await that."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        cancelled: set[asyncio.Task[Any]] = set()
        while self._tasks:
            for task in self._tasks - self._settling - cancelled:
                task.cancel()
                cancelled.add(task)  # once: what it does about that must not be cut again
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._settling.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("work_failed", exc_info=error, extra={"task": task.get_name()})
