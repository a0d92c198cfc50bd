"""The contract of `progress.broker.Broker`: the operations of a user, and of all."""

from tests.brokers.changes import OTHER, USER, begin_run, finish_run, name, origin, page, told, update
from tests.progress.clock import FakeClock
from wellnet_sse.progress.broker import LEASE_MS, Broker
from wellnet_sse.progress.events import Outcome, Status, UserId
from wellnet_sse.progress.operation import Operation

COMPLETED = Status.COMPLETED


async def test_operations_come_newest_first_in_pages(broker: Broker, clock: FakeClock) -> None:
    for number, user_id in enumerate([USER, USER, OTHER, USER, USER]):
        await broker.append(user_id, f"op{number}", name())
        clock.advance(0.001 if number % 2 else 0)  # op0 and op1 in one millisecond, op3 alone, op4 alone
    first = await broker.operations(USER, limit=3)
    assert [operation.operation_id for operation, _ in first] == ["op4", "op3", "op1"]
    last = first[-1][0]
    rest = await broker.operations(USER, limit=3, before=(last.started_ms or 0, last.operation_id))
    assert [operation.operation_id for operation, _ in rest] == ["op0"]
    assert await broker.operations(UserId(9), limit=3) == []


async def test_active_operations_are_those_of_all_users_that_have_not_ended(broker: Broker) -> None:
    assert await broker.active(limit=10) == []
    await broker.append(USER, "ended", name())
    await broker.append(USER, "ended", Operation.stop)
    await broker.append(USER, "running", begin_run("r"))
    await broker.append(USER, "resting", name("a"))
    await broker.append(OTHER, "in-step", update("a", progress=40))
    found = {(user_id, one.operation_id): one for user_id, one in await broker.active(limit=10)}
    assert sorted(found) == [(USER, "resting"), (USER, "running"), (OTHER, "in-step")]
    assert found[OTHER, "in-step"].steps["a"].event.progress == 40
    assert found[USER, "running"].runs
    assert len(await broker.active(limit=2)) == 2
    found[USER, "resting"].steps.clear()  # it is a copy
    assert [one.operation_id for _, one in await broker.active(limit=10) if not one.steps] == ["running"]
    await broker.append(USER, "resting", Operation.stop)
    assert len(await broker.active(limit=10)) == 2


async def test_silent_operations_are_those_at_rest_that_nobody_touched(
    broker: Broker, clock: FakeClock
) -> None:
    await broker.append(USER, "ended", name())
    await broker.append(USER, "ended", Operation.stop)
    await broker.append(USER, "running", begin_run("r"))
    await broker.append(USER, "silent", name())
    await broker.append(OTHER, "silent", update())
    touched_ms = clock.wall_ms()
    clock.advance(1)
    await broker.append(USER, "fresh", name())
    assert sorted(await broker.silent(touched_ms)) == [(USER, "silent"), (OTHER, "silent")]
    assert await broker.silent(touched_ms - 1) == []
    await broker.append(USER, "silent", update())
    assert await broker.silent(touched_ms) == [(OTHER, "silent")]
    assert len(await broker.silent(clock.wall_ms())) == 3


async def test_active_operations_are_those_that_have_not_ended(broker: Broker) -> None:
    await broker.append(USER, "op", name("a"))
    await broker.append(OTHER, "op", begin_run("r"))
    assert broker.active_operations() == 2
    await broker.append(USER, "op", update(status=COMPLETED))
    assert broker.active_operations() == 1
    await broker.append(USER, "op", update("b"))
    assert broker.active_operations() == 2


async def test_runs_whose_holder_is_not_heard_of_are_orphans(broker: Broker, clock: FakeClock) -> None:
    await broker.renew("here")
    await broker.append(USER, "mine", begin_run("r1", holder="here"))
    await broker.append(USER, "theirs", begin_run("r2", holder="gone"))
    await broker.append(USER, "theirs", begin_run("r3", holder="here"))
    orphans = [(user_id, operation_id, list(runs)) for user_id, operation_id, runs in await broker.orphans()]
    assert orphans == [(USER, "theirs", ["r2"])]
    for _ in range(5):
        clock.advance(LEASE_MS / 4000)
        await broker.renew("here")
    assert len(await broker.orphans()) == 1
    clock.advance(LEASE_MS / 1000)
    assert [operation_id for _, operation_id, _ in await broker.orphans()] == ["mine", "theirs"]


async def test_a_holder_is_alive_until_the_lease_that_it_asked_for_is_over(
    broker: Broker, clock: FakeClock
) -> None:
    await broker.renew("brief", lease_ms=5_000)
    await broker.renew("usual")
    assert [await broker.alive(holder) for holder in ("brief", "usual", "unknown")] == [True, True, False]
    clock.advance(6)
    assert [await broker.alive(holder) for holder in ("brief", "usual")] == [False, True]
    await broker.renew("brief", lease_ms=5_000)
    assert await broker.alive("brief")


async def test_a_usable_store_passes_the_check(broker: Broker) -> None:
    await broker.check()


async def test_an_operation_may_be_reopened_after_its_ending_was_kept(broker: Broker) -> None:
    await broker.append(USER, "op", begin_run("r1", "a"))
    await broker.append(USER, "op", finish_run("r1"))
    await broker.append(USER, "op", begin_run("r2"))
    found = await broker.operation(USER, "op")
    assert found is not None
    assert (found[0].outcome, found[0].ending_seq) == (None, 2)
    await broker.append(USER, "op", finish_run("r2"))
    found_records = (await page(broker, await origin(broker))).records
    assert told(found_records)[1:] == [("op", Outcome.CANCELLED)] * 2
