"""The contract of `progress.broker.Broker`: what is appended, to whom it is fed, and what operations are."""

import asyncio

import pytest

from tests.brokers.changes import OTHER, USER, begin_run, finish_run, name, origin, page, seqs, told, update
from tests.progress.clock import FakeClock
from wellnet_sse.errors import (
    NotFoundError,
    StepCompletedError,
    TooManyStepsError,
    UnprocessableError,
    WellnetError,
)
from wellnet_sse.progress.broker import Broker, IdempotencyKey
from wellnet_sse.progress.events import Cursor, Record, Status, UserId
from wellnet_sse.progress.operation import Operation

COMPLETED = Status.COMPLETED


async def test_an_append_returns_its_entries_at_the_users_next_places(broker: Broker) -> None:
    first = await broker.append(USER, "op", name("a", "b"))
    second = await broker.append(USER, "other", update())
    assert seqs(first.records) == [1, 2]
    assert told(first.records) == [("op", "a", Status.PENDING), ("op", "b", Status.PENDING)]
    assert seqs(second.records) == [3]
    assert first.cursor == first.records[0].cursor
    assert len({it.cursor.epoch for it in [*first.records, *second.records]}) == 1
    assert str(first.cursor).isascii()
    assert Cursor.parse(str(first.cursor)) == first.cursor


async def test_each_user_has_places_of_their_own(broker: Broker) -> None:
    await broker.append(USER, "op", name("a", "b"))
    assert seqs((await broker.append(OTHER, "op", update())).records) == [1]


async def test_it_says_whether_the_operation_began_with_it(broker: Broker) -> None:
    assert (await broker.append(USER, "op", name())).created
    assert not (await broker.append(USER, "op", update())).created
    assert (await broker.append(OTHER, "op", name())).created


async def test_the_event_carries_the_brokers_time(broker: Broker, clock: FakeClock) -> None:
    (record,) = (await broker.append(USER, "op", update())).records
    assert record.event.at_ms == clock.wall_ms()


async def test_an_operation_is_kept_with_all_its_changes(broker: Broker) -> None:
    await broker.append(USER, "op", begin_run("r", "a", "b"))
    await broker.append(USER, "op", update("a", progress=40))
    found = await broker.operation(USER, "op")
    assert found is not None
    operation, cursor = found
    assert cursor.seq == operation.last_seq == 3
    assert [(step.event.progress, step.seq) for step in operation.steps.values()] == [(40, 3), (0, 2)]
    assert (list(operation.runs), operation.first_seq, operation.progress) == (["r"], 1, 20)


async def test_what_is_handed_out_is_a_copy(broker: Broker) -> None:
    await broker.append(USER, "op", begin_run("r", "a"))
    found = await broker.operation(USER, "op")
    assert found is not None
    found[0].steps.clear()
    found[0].runs["r"].step = "changed"
    again = await broker.operation(USER, "op")
    assert again is not None
    assert list(again[0].steps) == ["a"]
    assert again[0].runs["r"].step is None


async def test_an_unknown_operation_is_none_and_so_is_another_users(broker: Broker) -> None:
    await broker.append(USER, "op", name())
    assert await broker.operation(OTHER, "op") is None
    assert await broker.operation(USER, "other") is None


async def test_a_named_operation_without_events_stands_before_the_first(broker: Broker) -> None:
    await broker.append(USER, "op", name())
    found = await broker.operation(USER, "op")
    assert found is not None
    assert found[1].seq == 0


# Refusals


@pytest.mark.parametrize("change", [Operation.stop, Operation.cancel])
async def test_a_change_that_leaves_the_operation_unnamed_is_forgotten(
    broker: Broker, change: object
) -> None:
    with pytest.raises(NotFoundError):
        await broker.append(USER, "op", change)  # type: ignore[arg-type]
    appended = await broker.append(USER, "op", finish_run("nobody"))
    assert (list(appended.records), appended.created) == ([], False)
    assert await broker.operation(USER, "op") is None
    assert await broker.operations(USER, limit=10) == []
    assert broker.active_operations() == 0


async def test_a_refused_change_changes_nothing(broker: Broker) -> None:
    await broker.append(USER, "op", update(status=COMPLETED))
    before = await broker.operation(USER, "op")
    for change, error in (
        (update(), StepCompletedError),
        (name(*[f"s{n}" for n in range(101)]), TooManyStepsError),
    ):
        with pytest.raises(error):
            await broker.append(USER, "op", change)
    assert await broker.operation(USER, "op") == before
    assert await broker.bounds(USER) == (Cursor(before[1].epoch, 1),) * 2  # type: ignore[index]


# Order and feed


async def test_everything_is_fed_in_order_and_before_its_publisher_hears_of_it(broker: Broker) -> None:
    fed: list[tuple[UserId, Record]] = []
    broker.attach(lambda user_id, records: fed.extend((user_id, record) for record in records))

    async def publish(user_id: UserId, operation_id: str) -> None:
        for number in range(20):
            for record in (await broker.append(user_id, operation_id, update(progress=number))).records:
                assert (user_id, record.cursor) in [(user, it.cursor) for user, it in fed]

    async with asyncio.TaskGroup() as tasks:
        for user_id in (USER, OTHER):
            for operation_id in ("one", "two", "three"):
                tasks.create_task(publish(user_id, operation_id))
    for user_id in (USER, OTHER):
        assert seqs([it for user, it in fed if user == user_id]) == list(range(1, 61))


async def test_a_change_without_entries_feeds_nothing(broker: Broker) -> None:
    fed: list[Record] = []
    broker.attach(lambda _user_id, records: fed.extend(records))
    await broker.append(USER, "op", begin_run("r"))
    await broker.append(USER, "op", name())
    assert fed == []


async def test_concurrent_publishers_leave_no_hole_and_lose_no_update(broker: Broker) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number in range(30):
            tasks.create_task(broker.append(USER, f"op{number % 3}", update(f"s{number}")))
    found = (await page(broker, await origin(broker))).records
    assert seqs(found) == list(range(1, 31))
    assert {it.event.step for it in found} == {f"s{n}" for n in range(30)}  # type: ignore[union-attr]
    operations = await broker.operations(USER, limit=10)
    assert sorted(len(operation.steps) for operation, _ in operations) == [10, 10, 10]


async def test_the_rules_hold_when_many_publish_at_once(broker: Broker) -> None:
    results = await asyncio.gather(
        *[broker.append(USER, "op", update(status=COMPLETED)) for _ in range(10)], return_exceptions=True
    )
    assert sum(isinstance(result, StepCompletedError) for result in results) == 9
    assert sum(isinstance(result, BaseException) for result in results) == 9


async def test_refused_and_accepted_changes_at_once_leave_no_hole(broker: Broker) -> None:
    await broker.append(USER, "done", update(status=COMPLETED))

    async def append(number: int) -> None:
        try:
            await broker.append(USER, "done" if number % 2 else f"op{number}", update())
        except WellnetError:
            assert number % 2

    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(append(number))
    assert seqs((await page(broker, await origin(broker))).records) == list(range(1, 12))


# Idempotency keys


async def test_a_repeat_with_its_key_is_the_same_append(broker: Broker) -> None:
    key = IdempotencyKey("k", "print")
    first = await broker.append(USER, "op", update(status=COMPLETED), key=key)
    again = await broker.append(USER, "op", update(status=COMPLETED), key=key)
    assert again.cursor == first.cursor
    assert (again.created, list(again.records)) == (False, [])
    assert seqs((await page(broker, await origin(broker))).records) == [1]


async def test_concurrent_repeats_append_once(broker: Broker) -> None:
    key = IdempotencyKey("k", "print")
    results = await asyncio.gather(*[broker.append(USER, "op", update(), key=key) for _ in range(5)])
    assert len({result.cursor for result in results}) == 1
    assert sum(len(result.records) for result in results) == 1


async def test_the_same_key_for_something_else_is_refused(broker: Broker) -> None:
    await broker.append(USER, "op", update(), key=IdempotencyKey("k", "print"))
    with pytest.raises(UnprocessableError):
        await broker.append(USER, "other", update(), key=IdempotencyKey("k", "different"))
    assert await broker.operation(USER, "other") is None


async def test_a_key_is_its_users_own(broker: Broker) -> None:
    await broker.append(USER, "op", update(), key=IdempotencyKey("k", "print"))
    assert (await broker.append(OTHER, "op", update(), key=IdempotencyKey("k", "different"))).records


async def test_a_key_of_a_refused_append_may_be_used_again(broker: Broker) -> None:
    key = IdempotencyKey("k", "print")
    await broker.append(USER, "op", update(status=COMPLETED))
    with pytest.raises(StepCompletedError):
        await broker.append(USER, "op", update(), key=key)
    await broker.append(USER, "op", update(status=Status.PENDING))
    assert (await broker.append(USER, "op", update(), key=key)).records
