"""Readers over a broker that loses feeds or history, or is away (protocol §3)."""

import asyncio

import pytest

from tests.brokers.changes import USER, name, publish, update
from tests.brokers.wrappers import AwayBroker, GatedBroker, LateBroker, LossyBroker
from tests.harness import eventually
from tests.progress.clock import FakeClock
from tests.progress.making import first_cursor, hub_over, memory
from tests.progress.reading import Reader, gaps, kinds, seqs
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.progress.events import Status
from wellnet_sse.progress.hub import Hub
from wellnet_sse.progress.operation import Operation

ERROR = Status.ERROR


async def test_a_hole_in_the_live_feed_is_read_again_from_history(clock: FakeClock) -> None:
    broker = LossyBroker(memory(clock))
    hub = hub_over(broker, clock)
    async with Reader(hub.subscribe(USER)) as reader, Reader(hub.subscribe(USER, operation_id="op")) as own:
        await reader.until_live()
        await own.until_live()
        await publish(broker, 2, status=ERROR)
        broker.losing = True
        await publish(broker, 3, status=ERROR)
        broker.losing = False
        await publish(broker, 1, status=ERROR)
        assert seqs(await reader.until(6)) == [1, 2, 3, 4, 5, 6]
        assert seqs(await own.until(6)) == [1, 2, 3, 4, 5, 6]
        assert await reader.nothing()


async def test_a_hole_before_an_ending_still_ends_the_operations_stream(clock: FakeClock) -> None:
    broker = LossyBroker(memory(clock))
    hub = hub_over(broker, clock)
    async with Reader(hub.subscribe(USER, operation_id="op")) as own:
        await own.until_live()
        await publish(broker, 1)
        broker.losing = True
        await broker.append(USER, "op", Operation.stop)
        broker.losing = False
        await publish(broker, 1, "other")
        await own.rest()
        assert kinds(own.items) == ["live", 1, "final"]


async def test_what_is_fed_twice_is_told_once(broker: MemoryBroker, hub: Hub) -> None:
    async with Reader(hub.subscribe(USER)) as reader:
        await reader.until_live()
        records = await publish(broker, 3)
        hub.publish(USER, records[1:])
        assert seqs(await reader.until(3)) == [1, 2, 3]
        assert await reader.nothing()
        assert hub.deliveries == 3


async def test_what_was_read_out_of_history_is_not_told_again_when_it_is_fed(clock: FakeClock) -> None:
    broker = LateBroker(memory(clock))
    hub = hub_over(broker, clock)
    start = await first_cursor(broker)
    async with Reader(hub.subscribe(USER)) as early, Reader(hub.subscribe(USER, cursor=str(start))) as late:
        await early.until_live()
        broker.late = True
        await publish(broker, 3, status=ERROR)
        assert kinds(await late.until_live()) == [1, 2, 3, "live"]
        broker.late = False
        await publish(broker, 1, status=ERROR)
        assert seqs(await early.until(4)) == [1, 2, 3, 4]
        assert seqs(await late.until(4)) == [4]


async def test_history_that_was_lost_is_a_gap_and_then_live_again(
    clock: FakeClock, broker: MemoryBroker, hub: Hub
) -> None:
    async with Reader(hub.subscribe(USER)) as reader:
        await publish(broker, 2)
        await broker.append(USER, "op", Operation.stop)
        await reader.until_live()
        old = reader.items[-1].cursor  # type: ignore[union-attr]
        clock.advance(86_401)
        await broker.trim()
        await publish(broker, 1, "new")
        items = await reader.until_live()
        assert kinds(items) == ["gap", 1, "live"]
        assert gaps(items)[0].requested == str(old)
        await publish(broker, 1, "new")
        assert seqs(await reader.until(2)) == [2]


async def test_a_reader_whose_cursor_is_trimmed_away_gets_a_gap_and_what_ended_after_it(
    clock: FakeClock,
) -> None:
    broker = memory(clock, history_events=10)
    hub = hub_over(broker, clock)
    start = await first_cursor(broker)  # "op" has not ended
    await broker.append(USER, "before", update())  # 1, 2
    await broker.append(USER, "before", Operation.stop)
    await broker.append(USER, "after", update())  # 3, 4
    await broker.append(USER, "after", Operation.stop)
    await publish(broker, 20, "op")  # 5 … 24
    async with Reader(hub.subscribe(USER, cursor=str(start._replace(seq=2)))) as reader:
        assert kinds(await reader.until_live()) == ["gap", 3, 4, 24, "live"]
    async with Reader(hub.subscribe(USER, cursor=str(start._replace(seq=4)))) as reader:
        assert kinds(await reader.until_live())[:2] == ["gap", 24]


async def test_ids_rise_also_where_history_is_trimmed_under_a_slow_reader(clock: FakeClock) -> None:
    broker = memory(clock, history_events=300)
    hub = hub_over(broker, clock)
    start = await first_cursor(broker)
    await broker.append(USER, "quiet", name("a"))  # 1: the state of an operation that goes on
    await publish(broker, 299, status=ERROR)
    async with Reader(hub.subscribe(USER, cursor=str(start))) as reader:
        await reader.next()  # 1 … 256; it takes its time with them
        await publish(broker, 600, status=ERROR)
        items = await reader.until_live()
    assert kinds(items)[0] == "gap"
    assert seqs(reader.items) == sorted(set(seqs(reader.items)))
    assert seqs(reader.items)[-1] == 900


async def test_an_operations_own_stream_has_no_gap_for_the_sake_of_others(clock: FakeClock) -> None:
    broker = memory(clock, history_events=10)
    hub = hub_over(broker, clock)
    start = await first_cursor(broker)
    await publish(broker, 30, "other")
    await publish(broker, 1, "op")
    async with Reader(hub.subscribe(USER, operation_id="op", cursor=str(start))) as reader:
        assert kinds(await reader.until_live()) == [31, "live"]
    async with Reader(hub.subscribe(USER, cursor=str(start))) as reader:
        assert kinds(await reader.until_live())[0] == "gap"


async def test_a_publisher_that_is_cancelled_after_the_commit_hides_nothing(clock: FakeClock) -> None:
    broker = GatedBroker(memory(clock))
    hub = hub_over(broker, clock)
    async with Reader(hub.subscribe(USER)) as reader, broker.committed.closed():
        await reader.until_live()
        publisher = asyncio.ensure_future(broker.append(USER, "op", update()))
        await broker.committed.reached()
        publisher.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publisher
        assert seqs(await reader.until(1)) == [1]


# While the broker is away


async def test_while_the_broker_is_away_a_reader_waits_and_then_gets_its_history(clock: FakeClock) -> None:
    broker = AwayBroker(memory(clock))
    hub = hub_over(broker, clock)
    start = await first_cursor(broker)
    await publish(broker, 2)
    broker.away = True
    async with Reader(hub.subscribe(USER, cursor=str(start))) as reader:
        assert await reader.nothing()
        assert broker.asked
        broker.away = False
        await publish(broker, 1)
        assert kinds(await reader.until_live()) == [1, 2, 3, "live"]
        await publish(broker, 1)
        assert seqs(await reader.until(4)) == [4]


@pytest.mark.parametrize("later", [0, 1], ids=["at the ending", "past it"])
async def test_whoever_comes_back_to_an_ended_operation_meanwhile_is_let_go_when_that_is_known(
    clock: FakeClock, later: int
) -> None:
    """Nothing can be told: the client has it all, and ids rise. Its next request is answered with 204."""
    broker = AwayBroker(memory(clock))
    hub = hub_over(broker, clock)
    await first_cursor(broker)
    await publish(broker, 1)
    (ending,) = (await broker.append(USER, "op", Operation.stop)).records
    await publish(broker, later, "other")
    known = ending.cursor._replace(seq=ending.cursor.seq + later)
    broker.away = True
    async with Reader(hub.subscribe(USER, operation_id="op", cursor=str(known))) as reader:
        assert await reader.nothing()
        broker.away = False
        reader.subscription.beat(clock.monotonic())  # it would ask again by itself, after a second
        assert await reader.rest() == []


async def test_whoever_comes_back_meanwhile_to_one_that_was_reopened_stays(clock: FakeClock) -> None:
    broker = AwayBroker(memory(clock))
    hub = hub_over(broker, clock)
    await first_cursor(broker)
    await publish(broker, 1)
    (ending,) = (await broker.append(USER, "op", Operation.stop)).records
    broker.away = True
    async with Reader(hub.subscribe(USER, operation_id="op", cursor=str(ending.cursor))) as reader:
        assert await reader.nothing()
        await publish(broker.inner, 1)  # by a process for which the broker is there
        broker.away = False
        assert kinds(await reader.until_live()) == [3, "live"]
        await broker.append(USER, "op", Operation.stop)
        assert kinds(await reader.rest()) == ["final"]


async def test_while_the_broker_is_away_a_reader_still_hears_that_it_is_connected(clock: FakeClock) -> None:
    broker = AwayBroker(memory(clock))
    broker.away = True
    hub = hub_over(broker, clock)
    async with Reader(hub.subscribe(USER)) as reader:
        for _ in range(3):
            batch = asyncio.ensure_future(reader.next())
            await eventually(lambda: broker.asked)
            clock.advance(15)
            hub.tick()
            assert await batch == ()
            broker.asked = 0
