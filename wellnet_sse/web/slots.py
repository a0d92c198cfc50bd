"""The cap of open streams and sockets of a user, at all processes together."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from functools import partial

from wellnet_sse.errors import TooManyStreamsError, UnavailableError
from wellnet_sse.progress.broker import Broker
from wellnet_sse.progress.events import UserId

RETRY_AFTER_SECONDS = 5
ASK_SECONDS = 0.5
"""How long a stream waits to be counted with those of other processes; then it is counted here alone."""

ANY = 2**31
"""Of what is open already there may be any number: it is told, not asked for."""


class StreamSlots:
    """At most `limit` open streams and sockets a user. The newcomer is refused, nobody is evicted.

    Counted here at once, and at the broker with those of other processes, to whom this one is `holder`. While
    the broker is away each process knows of its own alone.
    """

    def __init__(self, limit: int, broker: Broker, *, holder: str) -> None:
        self._limit = limit
        self._broker = broker
        self._holder = holder
        self._open: Counter[UserId] = Counter()
        self._untold: set[UserId] = set()
        self._versions = itertools.count(1)
        self._leaving = False

    def __len__(self) -> int:
        return self._open.total()

    async def take(self, user_id: UserId) -> Callable[[], Callable[[], None]]:
        """Count the connection that the current task serves, until that task is over.

        The task, and not the streaming generator, because a generator that never starts never ends either:
        Quart serves a request, its stream and its cleanup in one task. What is returned keeps the count
        for a stream that outlives its request, and gives what ends that. Raises TooManyStreamsError.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a slot is taken by the task that serves the connection")
        held = False

        def hold() -> Callable[[], None]:
            nonlocal held
            held = True
            return partial(self._give_back, user_id)

        self._open[user_id] += 1  # before it is asked, so that those who ask meanwhile see it
        task.add_done_callback(lambda _task: None if held else self._give_back(user_id))
        if self._open[user_id] > self._limit or not await self._tell(user_id, self._limit):
            hold()()
            raise TooManyStreamsError(
                f"Ya hay {self._limit} conexiones abiertas de este usuario",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        return hold

    async def tell(self) -> None:
        """Tell the broker what it was not told; to be called about every second."""
        await asyncio.gather(*(self._tell(user_id, ANY) for user_id in list(self._untold)))

    async def tell_all(self) -> None:
        """Tell the broker again of all; to be called about every hour, since it forgets what is a day old."""
        self._untold |= self._open.keys()
        await self.tell()

    async def leave(self) -> None:
        """Let none that is open count any more: their clients are about to go to other processes."""
        self._leaving = True
        await self.tell_all()

    async def _tell(self, user_id: UserId, limit: int) -> bool:
        """Whether the user may have as many as are open here, if all together may have `limit`."""
        self._untold.discard(user_id)
        streams = 0 if self._leaving else self._open[user_id]
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await self._broker.reserve(
                    user_id, self._holder, streams=streams, version=next(self._versions), limit=limit
                )
        except (UnavailableError, TimeoutError):
            self._untold.add(user_id)
            return True

    def _give_back(self, user_id: UserId) -> None:
        self._open[user_id] -= 1
        if not self._open[user_id]:
            del self._open[user_id]
        self._untold.add(user_id)
