"""Brokers with the troubles of real ones: slow, lossy, away. Each wraps a broker that has none."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from wellnet_sse.errors import UnavailableError
from wellnet_sse.progress.broker import (
    Appended,
    Broker,
    Change,
    Feed,
    Gap,
    IdempotencyKey,
    Page,
    State,
    Wanted,
)
from wellnet_sse.progress.events import Cursor, Record, UserId
from wellnet_sse.progress.operation import Operation

T = TypeVar("T")


class BrokerWrapper:
    """Hands every call on to `inner`."""

    def __init__(self, inner: Broker) -> None:
        self.inner = inner
        self.attach = inner.attach
        self.watch = inner.watch
        self.unwatch = inner.unwatch
        self.start = inner.start
        self.aclose = inner.aclose
        self.active = inner.active
        self.silent = inner.silent
        self.renew = inner.renew
        self.alive = inner.alive
        self.orphans = inner.orphans
        self.reserve = inner.reserve
        self.admit = inner.admit
        self.check = inner.check
        self.trim = inner.trim
        self.active_operations = inner.active_operations

    async def read(self, question: Callable[[], Awaitable[T]]) -> T:
        """Every reading goes through here."""
        return await question()

    async def append(
        self, user_id: UserId, operation_id: str, change: Change, *, key: IdempotencyKey | None = None
    ) -> Appended:
        return await self.inner.append(user_id, operation_id, change, key=key)

    async def since(
        self, user_id: UserId, cursor: Cursor, *, operation_id: str | None = None, limit: int = 256
    ) -> Page | Gap:
        return await self.read(
            lambda: self.inner.since(user_id, cursor, operation_id=operation_id, limit=limit)
        )

    async def state(self, user_id: UserId, wanted: Wanted) -> State:
        return await self.read(lambda: self.inner.state(user_id, wanted))

    async def bounds(self, user_id: UserId) -> tuple[Cursor | None, Cursor | None]:
        return await self.read(lambda: self.inner.bounds(user_id))

    async def operation(self, user_id: UserId, operation_id: str) -> tuple[Operation, Cursor] | None:
        return await self.read(lambda: self.inner.operation(user_id, operation_id))

    async def operations(
        self, user_id: UserId, *, limit: int, before: tuple[int, str] | None = None
    ) -> Sequence[tuple[Operation, Cursor]]:
        return await self.read(lambda: self.inner.operations(user_id, limit=limit, before=before))


class PacedBroker(BrokerWrapper):
    """Lets others run before and after each reading, as often as the paces say in turn."""

    def __init__(self, inner: Broker, paces: Sequence[tuple[int, int]]) -> None:
        super().__init__(inner)
        self._paces = paces
        self._turn = 0

    async def read(self, question: Callable[[], Awaitable[T]]) -> T:
        before, after = self._paces[self._turn % len(self._paces)]
        self._turn += 1
        for _ in range(before):
            await asyncio.sleep(0)
        answer = await question()
        for _ in range(after):
            await asyncio.sleep(0)
        return answer


class GatedBroker(BrokerWrapper):
    """Holds readings, or the answers of appends that are done, until the test opens the gate."""

    def __init__(self, inner: Broker) -> None:
        super().__init__(inner)
        self.reads = Gate()
        self.commits = Gate()
        self.committed = Gate()

    async def read(self, question: Callable[[], Awaitable[T]]) -> T:
        await self.reads.passed()
        return await question()

    async def append(
        self, user_id: UserId, operation_id: str, change: Change, *, key: IdempotencyKey | None = None
    ) -> Appended:
        await self.commits.passed()
        appended = await super().append(user_id, operation_id, change, key=key)
        await self.committed.passed()
        return appended


class Gate:
    """Open at first. While closed, whoever comes waits; `reached` tells that somebody does."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._reached = asyncio.Event()

    async def passed(self) -> None:
        if not self._open.is_set():
            self._reached.set()
            await self._open.wait()

    async def reached(self) -> None:
        async with asyncio.timeout(5):
            await self._reached.wait()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Closed within the block, which may open it itself."""
        self._open.clear()
        self._reached.clear()
        try:
            yield
        finally:
            self._open.set()

    def open(self) -> None:
        self._open.set()


class LossyBroker(BrokerWrapper):
    """Loses what it should feed, while `losing`: a message of a broker that spans processes."""

    losing = False

    def __init__(self, inner: Broker) -> None:
        super().__init__(inner)
        self.attach = self._attach

    def _attach(self, feed: Feed) -> None:
        def lossy(user_id: UserId, records: Sequence[Record]) -> None:
            if not self.losing:
                feed(user_id, records)

        self.inner.attach(lossy)


class LateBroker(BrokerWrapper):
    """Feeds late, while `late`: what it committed can be read before it is fed."""

    late = False

    def __init__(self, inner: Broker) -> None:
        super().__init__(inner)
        self.attach = self._attach
        self._due: list[Callable[[], None]] = []

    def _attach(self, feed: Feed) -> None:
        def feed_late(user_id: UserId, records: Sequence[Record]) -> None:
            self._due.append(partial(feed, user_id, records))
            if not self.late:
                self.catch_up()

        self.inner.attach(feed_late)

    def catch_up(self) -> None:
        """Feed what is due."""
        due, self._due = self._due, []
        for feed in due:
            feed()


class AwayBroker(BrokerWrapper):
    """Neither reads nor writes while `away`; `asked` counts what was asked in vain."""

    away = False
    asked = 0

    async def read(self, question: Callable[[], Awaitable[T]]) -> T:
        if self.away:
            self.asked += 1
            raise UnavailableError("El historial no está disponible")
        return await question()

    async def append(
        self, user_id: UserId, operation_id: str, change: Change, *, key: IdempotencyKey | None = None
    ) -> Appended:
        return await self.read(lambda: super(AwayBroker, self).append(user_id, operation_id, change, key=key))
