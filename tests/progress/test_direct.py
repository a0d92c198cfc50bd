"""Level readers are written to directly, and see just what all others see (design §4)."""

import pytest

from tests.brokers.changes import USER, publish, update
from tests.brokers.wrappers import LossyBroker
from tests.progress.clock import FakeClock
from tests.progress.connecting import DirectReader, close, direct, settle
from tests.progress.making import hub_over, memory
from tests.progress.reading import Reader, seqs
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.progress.events import Status
from wellnet_sse.progress.hub import REST_SECONDS, Hub
from wellnet_sse.progress.items import CloseReason
from wellnet_sse.progress.level import BUFFER_BYTES
from wellnet_sse.progress.operation import Operation

ERROR = Status.ERROR


async def test_a_direct_reader_gets_what_others_get_in_fewer_writes(hub: Hub, broker: MemoryBroker) -> None:
    reader = await direct(hub)
    async with Reader(hub.subscribe(USER)) as other:
        await other.until_live()
        await publish(broker, 50)
        await other.until(50)
        await settle()
        assert [int(line) for line in reader.connection.lines] == seqs(other.items)
    assert len(reader.connection.written) < 10
    await close(hub, reader)


async def test_direct_readers_share_one_encoding(hub: Hub, broker: MemoryBroker) -> None:
    one, two = await direct(hub), await direct(hub)
    await publish(broker, 3)
    await settle()
    assert one.connection.written[-1] is two.connection.written[-1]
    await close(hub, one, two)


async def test_a_connection_that_fails_takes_nothing_from_the_others(
    hub: Hub, broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    readers = [await direct(hub) for _ in range(5)]
    readers[2].connection.broken = True
    await publish(broker, 3)
    await settle()
    whole = [reader for reader in readers if not reader.connection.broken]
    assert [reader.connection.lines[-3:] for reader in whole] == [["1", "2", "3"]] * 4
    assert [reader.connection.aborted for reader in readers] == [False, False, True, False, False]
    assert "reader_failed" in caplog.text
    readers[2].connection.broken = False
    await close(hub, *readers)


async def test_an_operations_direct_reader_ends_with_its_operation(hub: Hub, broker: MemoryBroker) -> None:
    reader = await direct(hub, operation_id="op")
    await publish(broker, 2, "op")
    await publish(broker, 1, "other")
    await broker.append(USER, "op", Operation.stop)
    assert await reader.ended() == ["1", "2", "4!"]
    assert len(hub) == 0


async def test_an_ending_that_is_reopened_at_once_does_not_end_a_direct_reader(
    hub: Hub, broker: MemoryBroker
) -> None:
    reader = await direct(hub, operation_id="op")
    await publish(broker, 1, "op")
    await broker.append(USER, "op", Operation.stop)
    await publish(broker, 1, "op")
    await settle()
    assert reader.connection.lines == ["1", "2", "3"]
    assert not reader.task.done()
    await close(hub, reader)


async def test_draining_writes_what_is_pending_first(hub: Hub, broker: MemoryBroker) -> None:
    everything, own = await direct(hub), await direct(hub, operation_id="op")
    await publish(broker, 2, "op")
    await broker.append(USER, "op", Operation.stop)
    hub.close(CloseReason.DRAIN)
    assert await everything.ended() == ["1", "2", "3"]
    assert await own.ended() == ["1", "2", "3!"]
    assert own.subscription.reason is None, "it had its end already"


async def test_a_hole_that_comes_with_pending_records_is_filled_before_what_follows(clock: FakeClock) -> None:
    broker = LossyBroker(memory(clock))
    hub = hub_over(broker, clock)
    reader, own = await direct(hub), await direct(hub, operation_id="op")
    await publish(broker, 2, status=ERROR)  # pending: nothing has been awaited since
    broker.losing = True
    await publish(broker, 2, status=ERROR)
    broker.losing = False
    await publish(broker, 1, status=ERROR)
    await settle()
    assert reader.connection.lines == own.connection.lines == ["1", "2", "3", "4", "5"]
    await publish(broker, 1, status=ERROR)
    await settle()
    assert reader.connection.lines[-1] == own.connection.lines[-1] == "6"
    await close(hub, reader, own)


async def test_history_that_is_lost_under_a_direct_reader_is_told_as_such(
    hub: Hub, broker: MemoryBroker, clock: FakeClock
) -> None:
    await broker.append(USER, "op", update())
    await broker.append(USER, "op", Operation.stop)
    reader = await direct(hub)
    clock.advance(86_401)
    await broker.trim()
    await publish(broker, 2, "new")
    await settle()
    await publish(broker, 1, "new")
    await settle()
    assert reader.connection.lines == ["2", "3"]  # the state, and what came then
    await close(hub, reader)


async def test_a_connection_without_room_gets_the_rest_when_it_has(hub: Hub, broker: MemoryBroker) -> None:
    reader = await direct(hub)
    reader.connection.stalled = True
    for _ in range(30):
        await publish(broker, 1, message="m" * 2000)
        await settle()
    assert reader.connection.buffered() <= BUFFER_BYTES
    assert [int(line) for line in reader.connection.lines] == list(range(1, 31))
    await close(hub, reader)


# Idle and stalled


async def test_an_idle_direct_reader_hears_after_the_heartbeat_time(hub: Hub, clock: FakeClock) -> None:
    reader = await direct(hub)
    clock.advance(14.9)
    hub.tick()
    assert "." not in reader.connection.lines
    clock.advance(0.1)
    hub.tick()
    hub.tick()
    assert reader.connection.lines == ["."]
    await close(hub, reader)


async def stall(hub: Hub, broker: MemoryBroker, clock: FakeClock, *, busy: bool) -> DirectReader:
    """Let 31 seconds pass over a reader whose peer takes nothing."""
    reader = await direct(hub)
    reader.connection.stalled = True
    await publish(broker, 1)
    await settle()
    assert reader.connection.buffered() > 0
    for _ in range(31):
        hub.tick()
        clock.advance(1)
        if busy:
            await publish(broker, 1)
            await settle()
    hub.tick()
    return reader


async def test_a_peer_that_takes_nothing_is_closed_as_slow_although_heartbeats_are_written(
    hub: Hub, broker: MemoryBroker, clock: FakeClock
) -> None:
    reader = await stall(hub, broker, clock, busy=False)
    assert reader.subscription.reason is CloseReason.SLOW
    await reader.ended()


async def test_a_peer_that_takes_nothing_is_closed_as_slow_although_events_are_written(
    hub: Hub, broker: MemoryBroker, clock: FakeClock
) -> None:
    reader = await stall(hub, broker, clock, busy=True)
    assert reader.subscription.reason is CloseReason.SLOW
    await reader.ended()


async def test_a_peer_was_not_slow_while_there_was_nothing_to_take(
    hub: Hub, broker: MemoryBroker, clock: FakeClock
) -> None:
    reader = await direct(hub)
    for _ in range(20):
        clock.advance(10)
        hub.tick()
    reader.connection.stalled = True
    await publish(broker, 2)
    await settle()
    clock.advance(REST_SECONDS)
    hub.tick()
    clock.advance(29)
    hub.tick()
    assert reader.subscription.reason is None
    clock.advance(1)
    hub.tick()
    assert reader.subscription.reason is CloseReason.SLOW
    await reader.ended()


async def test_a_peer_that_takes_a_little_now_and_then_is_not_slow(
    hub: Hub, broker: MemoryBroker, clock: FakeClock
) -> None:
    reader = await direct(hub)
    reader.connection.stalled = True
    for _ in range(100):
        await publish(broker, 2)
        await settle()
        reader.connection.take(1)
        clock.advance(10)
        hub.tick()
    assert reader.connection.buffered() > 100
    assert reader.subscription.reason is None
    await close(hub, reader)
