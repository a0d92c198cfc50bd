"""How the hub looks after its readers: idle, slow, stalled, and at the end (protocol §3, §8)."""

import asyncio

import pytest

from tests.brokers.changes import OTHER, USER, name, publish, update
from tests.harness import eventually
from tests.progress.clock import FakeClock
from tests.progress.reading import Reader, collect, kinds, seqs
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.progress.events import Record, Status
from wellnet_sse.progress.hub import ABORT_AFTER_SECONDS, Hub, Limits
from wellnet_sse.progress.items import CloseReason, Final
from wellnet_sse.progress.operation import Operation
from wellnet_sse.progress.subscription import PIECE_BYTES

ERROR = Status.ERROR


def close_code(reason: CloseReason) -> tuple[str, int]:
    return reason.reason, reason.websocket_code


def test_reasons_and_close_codes_are_the_promised_ones() -> None:
    assert [close_code(reason) for reason in CloseReason] == [
        ("drain", 1012),
        ("slow", 1013),
        ("expired", 1008),
    ]


# Membership


async def test_a_reader_is_in_the_hub_within_its_block_only(hub: Hub, broker: MemoryBroker) -> None:
    subscription = hub.subscribe(USER)
    assert len(hub) == 0
    with subscription, hub.subscribe(USER, operation_id="op"), hub.subscribe(OTHER):
        assert len(hub) == 3
        assert not hub.emptied.is_set()
    assert len(hub) == 0
    assert hub.emptied.is_set()
    assert hub._channels == {}
    await publish(broker, 1)
    assert len(subscription.outbox) == 0


async def test_it_counts_what_was_fed_and_what_was_offered(hub: Hub, broker: MemoryBroker) -> None:
    with (
        hub.subscribe(USER),
        hub.subscribe(USER),
        hub.subscribe(USER, operation_id="op"),
        hub.subscribe(OTHER),
    ):
        await publish(broker, 2, "op")
        await publish(broker, 1, "other")
    assert (hub.records, hub.deliveries) == (3, 8)


async def test_readers_of_an_event_share_it(hub: Hub, broker: MemoryBroker) -> None:
    async with Reader(hub.subscribe(USER)) as one, Reader(hub.subscribe(USER, operation_id="op")) as two:
        await one.until_live()
        await two.until_live()
        (record,) = await publish(broker, 1, "op")
        assert (await one.next() or ())[0] is record
        assert (await two.next() or ())[0] is record


async def test_a_slow_reader_slows_nobody(hub: Hub, broker: MemoryBroker) -> None:
    async with Reader(hub.subscribe(USER)) as stalled, Reader(hub.subscribe(USER)) as quick:
        await stalled.until_live()
        await quick.until_live()
        for seq in range(1, 1001):
            await publish(broker, 1, status=ERROR)
            assert seqs(await quick.until(seq)) == [seq]
        assert stalled.subscription.reason is CloseReason.SLOW
        assert len(stalled.subscription.outbox) == 0


async def test_a_reader_that_fell_behind_gets_fewer_updates_but_every_change_of_status(
    hub: Hub, broker: MemoryBroker
) -> None:
    async with Reader(hub.subscribe(USER)) as reader:
        await reader.until_live()
        await publish(broker, 300, step="a")
        await publish(broker, 1, step="a", status=ERROR)
        await publish(broker, 300, step="a")
        await publish(broker, 1, step="a", status=Status.COMPLETED)
        await broker.append(USER, "op", Operation.stop)
        await reader.until(603)
        told = [it for it in reader.items if isinstance(it, Record)]
    assert [seq for seq in (301, 602, 603) if seq in seqs(told)] == [301, 602, 603]
    assert {300, 601} <= set(seqs(told))
    assert len(told) <= 256


async def test_what_waits_is_handed_over_in_pieces(hub: Hub, broker: MemoryBroker) -> None:
    async with Reader(hub.subscribe(USER)) as reader:
        await reader.until_live()
        await publish(broker, 40, status=ERROR, message="m" * 1000)
        batches = [await reader.next() or (), await reader.next() or (), await reader.next() or ()]
    assert seqs([*batches[0], *batches[1], *batches[2]]) == list(range(1, 41))
    for batch in batches:
        assert sum(len(it.json) for it in batch if isinstance(it, Record)) <= PIECE_BYTES


# Idle


async def test_an_idle_reader_hears_after_the_heartbeat_time_and_not_before(
    hub: Hub, clock: FakeClock
) -> None:
    async with Reader(hub.subscribe(USER)) as reader:
        await reader.until_live()
        waiting = asyncio.ensure_future(reader.next())
        await asyncio.sleep(0)
        clock.advance(14.9)
        hub.tick()
        await asyncio.sleep(0)
        assert not waiting.done()
        clock.advance(0.1)
        hub.tick()
        assert await waiting == ()


async def test_an_event_stands_for_a_heartbeat(hub: Hub, broker: MemoryBroker, clock: FakeClock) -> None:
    async with Reader(hub.subscribe(USER)) as reader:
        await reader.until_live()
        clock.advance(14)
        await publish(broker, 1)
        await reader.next()
        waiting = asyncio.ensure_future(reader.next())
        await asyncio.sleep(0)
        clock.advance(14)
        hub.tick()
        await asyncio.sleep(0)
        assert not waiting.done()
        await publish(broker, 1)
        assert seqs(await waiting or ()) == [2]


# Slow


async def test_a_reader_that_takes_nothing_is_closed_as_slow(
    hub: Hub, broker: MemoryBroker, clock: FakeClock
) -> None:
    async with Reader(hub.subscribe(USER)) as reader:
        await reader.next()  # its transport is at work on this batch
        await publish(broker, 1)
        clock.advance(29.9)
        hub.tick()
        assert reader.subscription.reason is None
        clock.advance(0.1)
        hub.tick()
        assert reader.subscription.reason is CloseReason.SLOW
        assert await reader.next() is None


async def test_a_reader_that_waits_for_news_is_never_slow(hub: Hub, clock: FakeClock) -> None:
    async with Reader(hub.subscribe(USER)) as reader:
        await reader.until_live()
        for _ in range(10):
            waiting = asyncio.ensure_future(reader.next())
            await asyncio.sleep(0)
            clock.advance(40)
            hub.tick()
            assert await waiting == ()
        assert reader.subscription.reason is None


async def test_what_does_not_even_take_its_end_is_aborted(hub: Hub, clock: FakeClock) -> None:
    aborted: list[float] = []
    async with Reader(hub.subscribe(USER)) as reader:
        await reader.next()
        reader.subscription.abort = lambda: aborted.append(clock.monotonic())
        clock.advance(30)
        hub.tick()
        clock.advance(ABORT_AFTER_SECONDS - 0.1)
        hub.tick()
        assert aborted == []
        clock.advance(0.1)
        hub.tick()
        assert aborted == [35.0]


async def test_a_stalled_reader_without_an_abort_is_left_to_its_transport(hub: Hub, clock: FakeClock) -> None:
    async with Reader(hub.subscribe(USER)) as reader:
        await reader.next()
        for _ in range(3):
            clock.advance(100)
            hub.tick()
        assert await reader.next() is None


async def test_events_beyond_the_bound_that_cannot_be_dropped_close_it_as_slow(clock: FakeClock) -> None:
    broker = MemoryBroker(history_ms=86_400_000, history_events=10_000, clock=clock.wall_ms)
    hub = Hub(broker, limits=Limits(outbox_events=4, outbox_bytes=10_000), clocks=clock.clocks)
    async with Reader(hub.subscribe(USER)) as many, Reader(hub.subscribe(USER)) as large:
        await many.until_live()
        await publish(broker, 5, status=ERROR)
        assert many.subscription.reason is CloseReason.SLOW
        await large.until_live()
        await publish(broker, 2, status=ERROR, message="x" * 6000)
        assert large.subscription.reason is CloseReason.SLOW
        assert await many.next() is await large.next() is None


async def test_a_reader_closed_as_slow_resumes_where_it_was(hub: Hub, broker: MemoryBroker) -> None:
    async with Reader(hub.subscribe(USER)) as reader:
        await reader.until_live()
        await publish(broker, 1, status=ERROR)
        (record,) = await reader.next() or ()
        await publish(broker, 500, status=ERROR)
        assert await reader.rest() == []
        assert reader.subscription.reason is CloseReason.SLOW
    assert isinstance(record, Record)
    async with Reader(hub.subscribe(USER, cursor=str(record.cursor))) as reader:
        assert kinds(await reader.until_live()) == [*range(2, 502), "live"]


# The end


async def test_draining_hands_over_what_waits_and_then_ends_every_reader(
    hub: Hub, broker: MemoryBroker
) -> None:
    async with Reader(hub.subscribe(USER)) as one, Reader(hub.subscribe(USER, operation_id="op")) as two:
        await one.until_live()
        await two.until_live()
        await publish(broker, 100, status=ERROR, message="m" * 1000)
        hub.close(CloseReason.DRAIN)
        await publish(broker, 1)
        for reader in (one, two):
            assert seqs(await reader.rest()) == list(range(1, 101))
            assert reader.subscription.reason is CloseReason.DRAIN


async def test_a_draining_reader_that_waits_ends_at_once(hub: Hub) -> None:
    reading = asyncio.ensure_future(collect(hub.subscribe(USER)))
    await eventually(lambda: len(hub))
    hub.close(CloseReason.DRAIN)
    await reading
    assert hub.emptied.is_set()


async def test_whoever_comes_while_draining_is_closed_at_once(hub: Hub, broker: MemoryBroker) -> None:
    await broker.append(USER, "op", name("a"))
    hub.close(CloseReason.DRAIN)
    subscription = hub.subscribe(USER)
    assert await collect(subscription) == []
    assert subscription.reason is CloseReason.DRAIN


async def test_the_first_reason_stays(hub: Hub) -> None:
    with hub.subscribe(USER) as subscription:
        subscription.close(CloseReason.SLOW)
        subscription.close(CloseReason.DRAIN)
        assert subscription.reason is CloseReason.SLOW


async def test_a_transport_that_is_cancelled_leaves_the_hub(hub: Hub) -> None:
    reading = asyncio.ensure_future(collect(hub.subscribe(USER)))
    await eventually(lambda: len(hub))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert len(hub) == 0


async def test_a_thousand_readers_that_came_and_went_leave_nothing(hub: Hub, broker: MemoryBroker) -> None:
    for number in range(1000):
        async with Reader(hub.subscribe(USER, operation_id=f"op{number}")) as reader:
            await reader.next()
    await broker.append(USER, "op", update())
    assert hub._channels == {}


async def test_who_is_told_the_ending_is_not_closed_once_more(hub: Hub, broker: MemoryBroker) -> None:
    await publish(broker, 1)
    async with Reader(hub.subscribe(USER, operation_id="op")) as reader:
        await reader.until_live()
        await broker.append(USER, "op", Operation.stop)
        batch = await reader.next()
        assert isinstance((batch or ())[-1], Final)
        hub.close(CloseReason.DRAIN)
        assert await reader.next() is None
        assert reader.subscription.reason is None
