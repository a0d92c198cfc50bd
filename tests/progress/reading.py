"""A reader as a transport is one, without a transport."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Self

from wellnet_sse.progress.broker import Gap
from wellnet_sse.progress.events import Record
from wellnet_sse.progress.items import Final, Item, Live
from wellnet_sse.progress.subscription import Subscription

WAIT_SECONDS = 5.0


class Reader:
    """Takes a subscription's batches one by one, in its `async with` block; `items` is all it was told."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.batches = subscription.batches()
        self.items: list[Item] = []

    async def __aenter__(self) -> Self:
        self.subscription.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.batches.aclose()
        self.subscription.__exit__()

    async def next(self) -> Sequence[Item] | None:
        """The next batch; None at the end."""
        async with asyncio.timeout(WAIT_SECONDS):
            batch = await anext(self.batches, None)
        self.items += batch or ()
        return batch

    async def until_live(self) -> list[Item]:
        """What comes up to and with `Live`."""
        begin = len(self.items)
        while not (self.items[begin:] and isinstance(self.items[-1], Live)):
            assert await self.next() is not None, f"it ended: {self.items}"
        return self.items[begin:]

    async def until(self, seq: int) -> list[Item]:
        """What comes up to and with the record at this place."""
        begin = len(self.items)
        while seq not in seqs(self.items[begin:]):
            assert await self.next() is not None, f"it ended: {self.items}"
        return self.items[begin:]

    async def rest(self) -> list[Item]:
        """What comes up to the end."""
        begin = len(self.items)
        while await self.next() is not None:
            pass
        return self.items[begin:]

    async def nothing(self) -> bool:
        """Whether it has nothing to tell now: neither a batch nor its end."""
        task = asyncio.ensure_future(anext(self.batches, None))
        for _ in range(20):  # a few turns of the loop settle whatever is under way
            await asyncio.sleep(0)
        if task.done():
            self.items += task.result() or ()
            return False
        task.cancel()
        await asyncio.wait([task])
        self.batches = self.subscription.batches()
        return True


def record_of(item: Item) -> Record | None:
    if isinstance(item, Final):
        return item.record
    return item if isinstance(item, Record) else None


def seqs(items: Sequence[Item]) -> list[int]:
    """The places of the records, the final one included."""
    return [record.cursor.seq for item in items if (record := record_of(item)) is not None]


def kinds(items: Sequence[Item]) -> list[str | int]:
    """Records by their places, all else by its name."""
    return [it.cursor.seq if isinstance(it, Record) else type(it).__name__.lower() for it in items]


def gaps(items: Sequence[Item]) -> list[Gap]:
    return [item for item in items if isinstance(item, Gap)]


async def collect(subscription: Subscription) -> list[Item]:
    """Read a subscription to its end, as fast as it gives."""
    items: list[Item] = []
    with subscription:
        async with aclosing(subscription.batches()) as batches:
            async for batch in batches:
                items += batch
    return items
