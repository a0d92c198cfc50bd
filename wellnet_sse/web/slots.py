"""The cap of open streams and sockets of a user."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial

from wellnet_sse.errors import TooManyStreamsError
from wellnet_sse.progress.events import UserId

RETRY_AFTER_SECONDS = 5


class StreamSlots:
    """At most `limit` open streams and sockets a user. The newcomer is refused, nobody is evicted."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: Counter[UserId] = Counter()

    def __len__(self) -> int:
        return self._open.total()

    def take(self, user_id: UserId) -> Callable[[], Callable[[], None]]:
        """Count the connection that the current task serves, until that task is over.

        The task, and not the streaming generator, because a generator that never starts never ends either:
        Quart serves a request, its stream and its cleanup in one task. What is returned keeps the count
        for a stream that outlives its request, and gives what ends that. Raises TooManyStreamsError.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a slot is taken by the task that serves the connection")
        if self._open[user_id] >= self._limit:
            raise TooManyStreamsError(
                f"Ya hay {self._limit} conexiones abiertas de este usuario",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        held = False

        def hold() -> Callable[[], None]:
            nonlocal held
            held = True
            return partial(self._give_back, user_id)

        self._open[user_id] += 1
        task.add_done_callback(lambda _task: None if held else self._give_back(user_id))
        return hold

    def _give_back(self, user_id: UserId) -> None:
        self._open[user_id] -= 1
        if not self._open[user_id]:
            del self._open[user_id]
