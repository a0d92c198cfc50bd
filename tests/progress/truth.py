"""What really happened to a user's operations, and a broker in trouble whose answers are held to it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from tests.brokers.wrappers import BrokerWrapper
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
from wellnet_sse.progress.events import Cursor, Ending, Event, Record, Status, UserId
from wellnet_sse.progress.operation import Operation

AnyTask = asyncio.Task[Any] | None


class Truth:
    """The log of one user, as the broker fed it, none of it ever forgotten."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.forgotten: dict[str, int] = {}
        """Up to where an operation's former life under this id is forgotten."""
        self._reached: dict[tuple[str, str], int] = {}

    @property
    def newest(self) -> int:
        return len(self.records)

    def add(self, record: Record) -> None:
        assert record.cursor.seq == self.newest + 1, "seq counts without holes"
        event = record.event
        if isinstance(event, Event):
            key = (event.operation_id, event.step)
            if event.status is not Status.IN_PROGRESS:
                self._reached.pop(key, None)
            elif event.progress is not None:
                assert event.progress >= self._reached.get(key, 0), "progress falls"
                self._reached[key] = event.progress
        self.records.append(record)

    def names(self) -> list[str]:
        """The operations that anything was ever written about."""
        return list(dict.fromkeys(it.event.operation_id for it in self.records))

    def between(self, after: int, upto: int, operation_id: str | None) -> list[Record]:
        """The records after one place up to another, of one operation or of all."""
        return [it for it in self.records[after:upto] if operation_id in (None, it.event.operation_id)]

    def last_of_each_step(self, operation_id: str) -> list[Record]:
        last = {
            it.event.step: it
            for it in self.between(self.forgotten.get(operation_id, 0), self.newest, operation_id)
            if isinstance(it.event, Event)
        }
        return list(last.values())

    def last_ending(self, operation_id: str) -> Record | None:
        of_it = self.between(self.forgotten.get(operation_id, 0), self.newest, operation_id)
        return next((it for it in reversed(of_it) if isinstance(it.event, Ending)), None)

    def is_superseded(self, record: Record) -> bool:
        """Whether it may be left out for a slow reader: a later update of the same attempt says more."""
        event = record.event
        if not isinstance(event, Event) or event.status is not Status.IN_PROGRESS:
            return False
        for later in self.records[record.cursor.seq :]:
            if isinstance(later.event, Event) and later.event[:2] == event[:2]:
                return later.event.status is Status.IN_PROGRESS
        return False


class StateAnswer(NamedTuple):
    """What a reader was given as state, and what it should have been at that moment."""

    cursor: Cursor
    expected: list[Record]
    read: int
    """Up to where it had read history before."""


class TroubledBroker(BrokerWrapper):
    """One user's broker that is away, slow to answer, or loses what it feeds, when it is told to.

    It holds each answer of the broker within to the truth.
    """

    def __init__(self, inner: Broker, user_id: UserId) -> None:
        super().__init__(inner)
        self.truth = Truth()
        self.away = self.losing = self.slow = False
        self.fed = 0
        """The newest that was fed, and not lost on its way."""
        self.held: dict[AnyTask, asyncio.Future[None]] = {}
        self.states: dict[AnyTask, StateAnswer] = {}
        self.pages: dict[AnyTask, int] = {}
        """Up to where its newest page led a reader."""
        self.refused: set[AnyTask] = set()
        """Readers that wait until the broker is back."""
        self.busy = 0
        """How many readings are under way."""
        self._user_id = user_id
        self.attach = self._attach

    def _attach(self, feed: Feed) -> None:
        def troubled(user_id: UserId, records: Sequence[Record]) -> None:
            if user_id == self._user_id:
                for record in records:
                    self.truth.add(record)
                if self.losing or not records:
                    return
                self.fed = self.truth.newest
            feed(user_id, records)

        self.inner.attach(troubled)

    def answer(self) -> None:
        """Let go of the readings that are held."""
        for gate in list(self.held.values()):
            if not gate.done():
                gate.set_result(None)

    async def append(
        self, user_id: UserId, operation_id: str, change: Change, *, key: IdempotencyKey | None = None
    ) -> Appended:
        self._check_there()
        return await self.inner.append(user_id, operation_id, change, key=key)

    async def since(
        self, user_id: UserId, cursor: Cursor, *, operation_id: str | None = None, limit: int = 256
    ) -> Page | Gap:
        async with self._reading():
            answer = await self.inner.since(user_id, cursor, operation_id=operation_id, limit=limit)
            floor, latest = await self._bounds()
            self._check_page(answer, cursor, operation_id, floor, latest)
        if isinstance(answer, Page):
            self.pages[asyncio.current_task()] = answer.upto.seq
        return answer

    def _check_page(
        self, answer: Page | Gap, cursor: Cursor, operation_id: str | None, floor: int, latest: Cursor
    ) -> None:
        lost = self.truth.between(cursor.seq, floor, operation_id)
        if isinstance(answer, Gap):
            usable = cursor.epoch == latest.epoch and cursor.seq <= latest.seq
            assert not usable or cursor.seq < floor, f"a gap for nothing: {answer}"
        else:
            assert not lost, f"kept silent about {lost}"
            told = self.truth.between(cursor.seq, answer.upto.seq, operation_id)
            assert [it.cursor for it in answer.records] == [it.cursor for it in told]
            assert answer.level == (answer.upto.seq == latest.seq)

    async def state(self, user_id: UserId, wanted: Wanted) -> State:
        async with self._reading():
            answer = await self.inner.state(user_id, wanted)
            expected = await self._expected(wanted)
        reader = asyncio.current_task()
        self.states[reader] = StateAnswer(answer.cursor, expected, self.pages.get(reader, 0))
        return answer

    async def operation(self, user_id: UserId, operation_id: str) -> tuple[Operation, Cursor] | None:
        async with self._reading():
            return await self.inner.operation(user_id, operation_id)

    async def _expected(self, wanted: Wanted) -> list[Record]:
        """The state out of the log alone; that operations end as they should is tested elsewhere."""
        found: list[tuple[int, list[Record]]] = []
        running: list[Record] = []
        for name in self.truth.names():
            known = await self.inner.operation(self._user_id, name)
            if known is None or (wanted.operation_id not in (None, name)):
                continue
            steps, ending = self.truth.last_of_each_step(name), self.truth.last_ending(name)
            if known[0].outcome is None or ending is None:
                running += steps
            elif (
                wanted.operation_id == name
                or (wanted.ended_after_seq is not None and ending.cursor.seq > wanted.ended_after_seq)
                or (wanted.ended_since_ms is not None and ending.event.at_ms >= wanted.ended_since_ms)
            ):
                found.append((ending.cursor.seq, [*steps, ending]))
        ended = [it for _, records in sorted(found, reverse=True)[: wanted.newest] for it in records]
        return sorted([*running, *ended], key=lambda it: it.cursor.seq)

    async def _bounds(self) -> tuple[int, Cursor]:
        earliest = (await self.inner.bounds(self._user_id))[0]
        cursor = (await self.inner.state(self._user_id, Wanted("nobody"))).cursor
        return (cursor.seq if earliest is None else earliest.seq - 1), cursor

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        """Around a reading, which is held before it is done and again before it is answered, if at all."""
        await self._pause()
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1
        await self._pause()

    async def _pause(self) -> None:
        reader = asyncio.current_task()
        if self.slow:
            gate = self.held[reader] = asyncio.get_running_loop().create_future()
            try:
                await gate
            finally:
                self.held.pop(reader, None)
        self.refused.discard(reader)
        if self.away:
            self.refused.add(reader)
        self._check_there()

    def _check_there(self) -> None:
        if self.away:
            raise UnavailableError("El historial no está disponible")
