"""What the memory broker alone must hold to: nothing stays for ever."""

from tests.brokers.changes import begin_run, finish_run, name, update
from tests.progress.clock import FakeClock
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.progress.broker import IdempotencyKey, Wanted
from wellnet_sse.progress.events import Status, UserId
from wellnet_sse.progress.operation import Operation


def leftovers(broker: MemoryBroker) -> tuple[int, int]:
    return len(broker._logs), len(broker._activity)


async def test_twenty_thousand_operations_of_many_users_leave_nothing(clock: FakeClock) -> None:
    broker = MemoryBroker(history_ms=60_000, history_events=100, clock=clock.wall_ms)
    for number in range(20_000):
        user_id, operation_id = UserId(1 + number % 500), f"op{number}"
        key = IdempotencyKey(operation_id, "print") if number % 10 == 0 else None
        if number % 2:
            await broker.append(user_id, operation_id, begin_run("r", "a"), key=key)
            await broker.append(user_id, operation_id, finish_run("r"))
        else:
            await broker.append(user_id, operation_id, name("a"), key=key)
            await broker.append(user_id, operation_id, update("a", Status.COMPLETED))
        clock.advance(0.01)
        if number % 1000 == 0:
            await broker.trim()
    assert broker.active_operations() == 0
    assert all(len(log.records) <= 106 and len(log.trimmed) <= 106 for log in broker._logs.values())
    clock.advance(61)
    await broker.trim()
    assert leftovers(broker) == (0, 0)


async def test_who_only_reads_leaves_nothing(clock: FakeClock) -> None:
    broker = MemoryBroker(history_ms=60_000, history_events=100, clock=clock.wall_ms)
    for user_id in map(UserId, range(1, 1000)):
        await broker.state(user_id, Wanted())
        await broker.bounds(user_id)
    clock.advance(61)
    await broker.trim()
    assert leftovers(broker) == (0, 0)


async def test_an_operation_that_is_silent_for_ever_keeps_no_more_than_itself(clock: FakeClock) -> None:
    broker = MemoryBroker(history_ms=60_000, history_events=100, clock=clock.wall_ms)
    await broker.append(UserId(7), "op", name("a"))
    clock.advance(10_000)
    await broker.trim()
    log = broker._logs[UserId(7)]
    assert (len(log.records), len(log.operations), len(log.keys)) == (0, 1, 0)
    await broker.append(UserId(7), "op", Operation.stop)
    clock.advance(61)
    await broker.trim()
    assert leftovers(broker) == (0, 0)


async def test_a_user_who_never_rests_keeps_nothing_of_forgotten_operations(clock: FakeClock) -> None:
    broker = MemoryBroker(history_ms=60_000, history_events=10, clock=clock.wall_ms)
    for number in range(200):
        await broker.append(UserId(7), f"op{number}", begin_run("r", "a"))
        await broker.append(UserId(7), f"op{number}", finish_run("r"))
        clock.advance(10)
        await broker.trim()
    log = broker._logs[UserId(7)]
    assert len(log.operations) <= 10
    assert log.trimmed.keys() <= log.operations.keys()


async def test_a_user_who_comes_back_after_all_was_forgotten_gets_a_new_epoch(clock: FakeClock) -> None:
    broker = MemoryBroker(history_ms=60_000, history_events=100, clock=clock.wall_ms)
    first = (await broker.append(UserId(7), "op", update())).records[0].cursor
    await broker.append(UserId(7), "op", Operation.stop)
    clock.advance(61)
    await broker.trim()
    again = (await broker.append(UserId(7), "op", update())).records[0].cursor
    assert (first.seq, again.seq) == (1, 1)
    assert first.epoch != again.epoch
