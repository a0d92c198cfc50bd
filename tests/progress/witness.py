"""Readers who are held to what really happened: nothing lost, doubled, invented or out of order."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from tests.progress.truth import StateAnswer, TroubledBroker
from wellnet_sse.progress.broker import Gap
from wellnet_sse.progress.events import Cursor, Ending, Record
from wellnet_sse.progress.items import Final, Item, Live
from wellnet_sse.progress.level import BUFFER_BYTES
from wellnet_sse.progress.subscription import Subscription

EVENTS = 6
BYTES = 4000
"""The bounds of an outbox here: small, so that they are met."""


class Witness:
    """A reader as a transport is one, which checks whatever it is told at once.

    `greedy`: takes all there is whenever it can. `direct`: is a connection, too, that can be written to.
    """

    def __init__(
        self,
        subscription: Subscription,
        broker: TroubledBroker,
        *,
        cursor: Cursor | None,
        greedy: bool,
        direct: bool,
    ) -> None:
        self.subscription = subscription
        self.greedy = greedy
        self.direct = direct
        self.closed = False
        self.full = False
        """Whether its connection has no more room."""
        self.was_full = False
        self.last = 0
        self.upto = 0 if cursor is None else cursor.seq
        self.begun = False
        """Whether history was read for it."""
        self.told: Record | None = None
        self.fell_behind = False
        """Whether more waited for it than its outbox may hold, so that it is told less."""
        self.task: asyncio.Task[Sequence[Item] | None] | None = None
        self._broker = broker
        self._truth = broker.truth
        self._batches: AsyncGenerator[Sequence[Item], None] = subscription.batches()
        subscription.__enter__()
        if direct:
            subscription.write_directly(self, encode)

    @property
    def operation_id(self) -> str | None:
        return self.subscription.operation_id

    @property
    def waits(self) -> bool:
        """Whether its transport waits for more, as far as the broker is concerned."""
        task = self.task
        if task is None or task.done():
            return False
        return task not in self._broker.held and task not in self._broker.refused

    # As a connection

    def write(self, data: bytes) -> None:
        assert self.waits, "written to directly while its transport is at work"
        self._take([self._truth.records[int(seq) - 1] for seq in data.split()])

    def buffered(self) -> int:
        return BUFFER_BYTES if self.full else 0

    def abort(self) -> None:
        self.closed = True

    # As a transport

    def pull(self) -> None:
        """Ask for the next batch."""
        if not self.closed and self.task is None:
            self.task = asyncio.ensure_future(anext(self._batches, None))

    def collect(self) -> bool:
        """Take the batch that has come, if any; whether there was one."""
        if self.task is None or not self.task.done():
            return False
        task, self.task = self.task, None
        batch = task.result()
        if batch is None:
            self.closed = True
            return False
        state = self._broker.states.pop(task, None)
        items = list(batch)
        if state is not None:
            items = self._take_state(items, state)
        self.begun = self.begun or state is not None or self._broker.pages.pop(task, None) is not None
        self._take(items)
        self.closed = self.closed or bool(batch and isinstance(batch[-1], Final))
        return True

    async def leave(self) -> None:
        """Go away, as a closed tab does."""
        self.closed = True
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])
        await self._batches.aclose()
        self.subscription.__exit__()

    def missing(self, upto: int) -> list[Record]:
        """What it should have been told up to there, and was not."""
        unsaid = self._truth.between(self.upto, upto, self.operation_id)
        return [it for it in unsaid if not (self.fell_behind and self._truth.is_superseded(it))]

    def note_published(self) -> None:
        """Something was published: note whether more waits for it than its outbox may hold."""
        waiting = self._truth.between(self.upto, self._truth.newest, self.operation_id)
        size = sum(len(it.json) for it in waiting)
        self.fell_behind = bool(waiting) and (self.fell_behind or len(waiting) > EVENTS or size > BYTES)

    def _take_state(self, items: list[Item], state: StateAnswer) -> list[Item]:
        if items and isinstance(items[0], Gap):
            items = items[1:]
        told = [record for it in items if (record := _record(it)) and record.cursor.seq <= state.cursor.seq]
        before = max(state.read, self.upto if self.begun else 0)
        assert [it.cursor for it in told] == [it.cursor for it in state.expected if it.cursor.seq > before]
        for record in told:
            self._check(record)
        self.upto = max(self.upto, state.cursor.seq)
        return items[len(told) :]

    def _take(self, items: Sequence[Item]) -> None:
        for item in items:
            record = _record(item)
            if record is not None:
                assert record.cursor.seq > self.upto, "doubled, or before the cursor"
                assert not self.missing(record.cursor.seq - 1), "lost"
                self._check(record)
                self.upto = record.cursor.seq
            elif isinstance(item, Live):
                assert not self.missing(item.cursor.seq), "lost"
                self.upto = max(self.upto, item.cursor.seq)
            else:
                raise AssertionError(f"unexpected: {item}")
            if isinstance(item, Final):
                assert self.operation_id is not None
                assert isinstance(item.record.event, Ending)

    def _check(self, record: Record) -> None:
        truth = self._truth.records[record.cursor.seq - 1]
        assert (record.cursor, record.event) == (truth.cursor, truth.event)
        assert self.operation_id in (None, record.event.operation_id)
        assert record.cursor.seq > self.last, "doubled, or out of order"
        self.last, self.told = record.cursor.seq, truth


def encode(items: Sequence[Item]) -> bytes:
    """The places of the records: all that the witness needs to know which they are."""
    return b"".join(b"%d " % record.cursor.seq for it in items if (record := _record(it)))


def _record(item: Item) -> Record | None:
    if isinstance(item, Final):
        return item.record
    return item if isinstance(item, Record) else None
