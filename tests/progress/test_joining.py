"""No event published while a client joins is lost or doubled (protocol §3)."""

import asyncio
from contextlib import aclosing

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.brokers.changes import USER, publish, update
from tests.brokers.wrappers import GatedBroker, LossyBroker, PacedBroker
from tests.progress.clock import FakeClock
from tests.progress.making import first_cursor, hub_over, memory
from tests.progress.reading import Reader, gaps, kinds, record_of, seqs
from tests.properties import CALM
from wellnet_sse.progress.events import Status
from wellnet_sse.progress.items import Item, Live
from wellnet_sse.progress.operation import Operation

ERROR = Status.ERROR


PACES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=4)


@settings(CALM, max_examples=150)
@given(
    paces=PACES,
    before=st.integers(0, 6),
    head_start=st.integers(0, 12),
    bursts=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    resumed_at=st.none() | st.integers(0, 6),
    own=st.booleans(),
    lost=st.sets(st.integers(0, 7)),
)
def test_whoever_joins_at_whatever_moment_sees_each_event_once(
    *,
    paces: list[tuple[int, int]],
    before: int,
    head_start: int,
    bursts: list[int],
    resumed_at: int | None,
    own: bool,
    lost: set[int],
) -> None:
    """Readings are slow, the held outbox is tiny, and some bursts are lost on their way to the hub.

    Every event changes a status or is the only one of its step, so that nothing may be conflated.
    """

    async def run() -> None:
        clock = FakeClock()
        lossy = LossyBroker(memory(clock))
        paced = PacedBroker(lossy, paces)
        hub = hub_over(paced, clock, outbox_events=5)
        start = await first_cursor(lossy)
        for _ in range(before):
            await lossy.append(USER, "op", update("early", ERROR))
        known = min(before, resumed_at or 0)
        cursor = None if resumed_at is None else str(start._replace(seq=known))
        last = before + sum(bursts) + 1

        async def write() -> None:
            for _ in range(head_start):
                await asyncio.sleep(0)
            for number, burst in enumerate(bursts):
                lossy.losing = number in lost
                for _ in range(burst):
                    await lossy.append(USER, "op", update("late", ERROR))
                for _ in range(3):
                    await asyncio.sleep(0)
            lossy.losing = False
            await lossy.append(USER, "op", update("last", ERROR))  # shows the hole, if the end was lost

        subscription = hub.subscribe(USER, operation_id="op" if own else None, cursor=cursor)
        items: list[Item] = []
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(5):
            tasks.create_task(write())
            with subscription:
                async with aclosing(subscription.batches()) as batches:
                    async for batch in batches:
                        items += batch
                        if last in seqs(items) and any(isinstance(item, Live) for item in items):
                            break
        told = seqs(items)
        assert told == sorted(set(told))
        assert not gaps(items)
        assert sum(isinstance(item, Live) for item in items) == 1
        if cursor is not None:
            assert told == list(range(known + 1, last + 1))
        else:
            # State first: at most the last event of each step; from the live mark on, everything.
            at = next(n for n, item in enumerate(items) if isinstance(item, Live))
            live = items[at]
            assert isinstance(live, Live)
            assert seqs(items[at:]) == list(range(live.cursor.seq + 1, last + 1))
            states = {}
            for item in items[:at]:
                record = record_of(item)
                assert record is not None
                states[record.event[1]] = record.cursor.seq
            if before:
                assert before in told or any(seq > before for seq in states.values())

    asyncio.run(run())


async def test_what_is_published_while_history_is_read_follows_it(clock: FakeClock) -> None:
    broker = GatedBroker(memory(clock))
    hub = hub_over(broker, clock)
    start = await first_cursor(broker.inner)
    await publish(broker.inner, 2, status=ERROR)
    async with broker.reads.closed(), Reader(hub.subscribe(USER, cursor=str(start))) as reader:
        task = asyncio.ensure_future(reader.until_live())
        await broker.reads.reached()
        await publish(broker.inner, 2, status=ERROR)
        broker.reads.open()
        assert kinds(await task) == [1, 2, 3, 4, "live"]
        await publish(broker.inner, 1, status=ERROR)
        assert kinds(await reader.next() or ()) == [5]


async def test_a_held_outbox_that_overflows_is_emptied_and_history_read_again(clock: FakeClock) -> None:
    broker = GatedBroker(memory(clock))
    hub = hub_over(broker, clock, outbox_events=4)
    async with broker.reads.closed(), Reader(hub.subscribe(USER)) as reader:
        task = asyncio.ensure_future(reader.until_live())
        await broker.reads.reached()
        await publish(broker.inner, 50, status=ERROR)
        assert len(reader.subscription.outbox) <= 4
        broker.reads.open()
        assert kinds(await task)[-2:] == [50, "live"]
        assert reader.subscription.reason is None
        await publish(broker.inner, 4, status=ERROR)
        assert seqs(await reader.until(54)) == [51, 52, 53, 54]


async def test_an_operations_stream_ends_although_its_held_outbox_overflowed(clock: FakeClock) -> None:
    """The ending was read out of history, and nothing follows it: it is the final one."""
    broker = GatedBroker(memory(clock))
    hub = hub_over(broker, clock, outbox_events=4)
    start = await first_cursor(broker.inner)
    own = hub.subscribe(USER, operation_id="op", cursor=str(start))
    async with broker.reads.closed(), Reader(own) as reader:
        task = asyncio.ensure_future(reader.until(10))
        await broker.reads.reached()
        await publish(broker.inner, 9, "op", status=ERROR)
        await broker.inner.append(USER, "op", Operation.stop)
        broker.reads.open()
        await task
        await reader.rest()
        assert kinds(reader.items) == [*range(1, 10), "final"]
