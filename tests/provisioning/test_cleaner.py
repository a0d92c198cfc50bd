"""What becomes of a router that could not be cleaned at once, and who hears of it (protocol §6)."""

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import delete

from tests.progress.clock import FakeClock
from tests.progress.reading import Reader
from tests.provisioning.support import ANA, BAJA, Cable, Gate, idle, menus_with, told
from wellnet_sse.progress.broker import Broker
from wellnet_sse.progress.events import UserId
from wellnet_sse.progress.tracker import Progress
from wellnet_sse.provisioning import Removals, WriteState
from wellnet_sse.provisioning import cleaner as cleaning
from wellnet_sse.provisioning.cleaner import Cleaner, operation_id_of
from wellnet_sse.provisioning.cleanups import WORK_MS, Owner, Pending
from wellnet_sse.provisioning.service import RemovalService
from wellnet_sse.provisioning.tables import Connection
from wellnet_sse.simulator import Behaviour, RouterSimulator
from wellnet_sse.storage.database import Database

ADDRESS = "10.0.0.3"
HERS = Owner(ANA, BAJA)
OLD = ["remove-router in_progress 20", "remove-router error 0", "end failed"]
TOLD = [
    "remove-router pending 0",
    "remove-router in_progress 20",
    "remove-router in_progress 60",
    "remove-router completed 100",
    "end completed",
]

Ask = Callable[[], Awaitable[int]]


@pytest.fixture
def ask(service: RemovalService, removals: Removals) -> Ask:
    """Ana asks for the router step of her operation; gives the HTTP status that she is answered."""

    async def ask_once() -> int:
        work = service.single(removals.router(ADDRESS))
        job = await service.begin(work, user_id=ANA, operation_id=BAJA, ends=True)
        answer = await job.answer
        await idle(service._progress)
        return answer.http_status

    return ask_once


async def clean(cleaner: Cleaner) -> None:
    """Do what is due, to its end."""
    await cleaner.clean_due()
    await idle(cleaner._progress)


async def pending(removals: Removals) -> list[Pending]:
    return list(await removals.cleanups.of_user(ANA))


async def test_an_unreachable_router_is_cleaned_and_told_once_it_answers(
    ask: Ask, cleaner: Cleaner, broker: Broker, removals: Removals, cable: Cable, *, clock: FakeClock
) -> None:
    await cable.pull()
    assert await ask() == 504
    (one,) = await pending(removals)
    await cable.plug()
    await clean(cleaner)
    assert await pending(removals) == [one]  # not before its time
    clock.advance(5)
    await clean(cleaner)
    assert await told(broker, operation_id_of(one.cleanup_id)) == TOLD
    assert await pending(removals) == []
    assert await told(broker, BAJA) == OLD  # the old one stays ended


async def test_a_router_that_does_not_answer_is_probed_quietly_and_ever_more_rarely(
    ask: Ask, cleaner: Cleaner, broker: Broker, removals: Removals, cable: Cable, *, clock: FakeClock
) -> None:
    await cable.pull()
    await ask()
    waits = []
    for attempts in range(9):
        (one,) = await pending(removals)
        assert one.attempts == attempts
        waits.append((one.next_ms - clock.wall_ms()) // 1000)
        clock.advance(waits[-1])
        await clean(cleaner)
    assert waits == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    assert await told(broker, operation_id_of(one.cleanup_id)) == []
    assert await told(broker, BAJA) == OLD


async def test_a_clean_up_that_is_refused_half_way_is_told_and_tried_again(
    ask: Ask,
    cleaner: Cleaner,
    broker: Broker,
    removals: Removals,
    simulator: RouterSimulator,
    *,
    clock: FakeClock,
) -> None:
    simulator.behave(Behaviour(mode="refusing"))
    assert await ask() == 502
    clock.advance(5)
    await clean(cleaner)
    (one,) = await pending(removals)
    assert (one.write_state, one.attempts) == (WriteState.UNKNOWN, 1)
    refused = [*TOLD[:3], "remove-router error 0", "end failed"]
    assert await told(broker, operation_id_of(one.cleanup_id)) == refused
    simulator.behave(Behaviour())
    clock.advance(10)
    await clean(cleaner)
    assert await told(broker, operation_id_of(one.cleanup_id)) == refused + TOLD[1:]
    assert await pending(removals) == []
    assert menus_with(simulator, ADDRESS) == set()


async def test_a_clean_up_whose_telling_was_cancelled_goes_on_untold(
    ask: Ask,
    cleaner: Cleaner,
    progress: Progress,
    removals: Removals,
    simulator: RouterSimulator,
    *,
    clock: FakeClock,
) -> None:
    simulator.behave(Behaviour(mode="refusing"))
    await ask()
    (one,) = await pending(removals)
    operation_id = operation_id_of(one.cleanup_id)
    await progress.name(ANA, operation_id)
    await progress.cancel(ANA, operation_id)
    before = await told(progress.broker, operation_id)
    assert before == ["end cancelled"]
    clock.advance(5)
    await clean(cleaner)
    assert [it.attempts for it in await pending(removals)] == [1]
    simulator.behave(Behaviour())
    clock.advance(10)
    await clean(cleaner)
    assert await pending(removals) == []
    assert menus_with(simulator, ADDRESS) == set()
    assert await told(progress.broker, operation_id) == before


async def test_a_clean_up_is_not_lost_to_a_cancellation_that_comes_between(
    ask: Ask, cleaner: Cleaner, progress: Progress, removals: Removals, cable: Cable, *, clock: FakeClock
) -> None:
    await cable.pull()
    await ask()
    await cable.plug()
    clock.advance(5)
    (one,) = await pending(removals)
    operation_id = operation_id_of(one.cleanup_id)
    find = progress.broker.operation

    async def find_and_cancel(user_id: UserId, name: str) -> object:
        found = await find(user_id, name)
        await progress.name(ANA, operation_id)
        await progress.cancel(ANA, operation_id)
        return found

    progress.broker.operation = find_and_cancel  # type: ignore[method-assign, assignment]
    await clean(cleaner)
    progress.broker.operation = find  # type: ignore[method-assign]
    assert [it.attempts for it in await pending(removals)] == [1]
    clock.advance(10)
    await clean(cleaner)
    assert await pending(removals) == []


async def test_a_repeat_by_the_user_resolves_what_was_pending(
    ask: Ask, cleaner: Cleaner, broker: Broker, removals: Removals, cable: Cable, *, clock: FakeClock
) -> None:
    await cable.pull()
    assert await ask() == 504
    (one,) = await pending(removals)
    await cable.plug()
    assert await ask() == 200
    assert await pending(removals) == []
    clock.advance(WORK_MS / 1000)
    await clean(cleaner)
    assert await told(broker, operation_id_of(one.cleanup_id)) == []


async def test_work_that_nobody_is_told_of_is_cleaned_up_untold(
    service: RemovalService,
    cleaner: Cleaner,
    removals: Removals,
    cable: Cable,
    simulator: RouterSimulator,
    *,
    clock: FakeClock,
) -> None:
    await cable.pull()
    answer = await service.run_untold(service.single(removals.router(ADDRESS)))
    assert answer.http_status == 504
    await cable.plug()
    clock.advance(5)
    (one,) = await removals.cleanups.take_due(limit=1)
    assert one.owner == Owner()
    await removals.cleanups.hurry(one.cleanup_id)
    await clean(cleaner)
    clock.advance(WORK_MS / 1000)
    assert await removals.cleanups.take_due(limit=1) == []
    assert menus_with(simulator, ADDRESS) == set()
    assert cleaner._progress.broker.active_operations() == 0


async def test_a_connection_that_is_gone_is_looked_at_again_and_again(
    ask: Ask, cleaner: Cleaner, removals: Removals, seeded: Database, cable: Cable, *, clock: FakeClock
) -> None:
    """Its row may come back; until then nobody knows which router to ask."""
    await cable.pull()
    await ask()
    async with seeded.writing() as connection:
        for table in ("assignments", "configurations", "temporary_files"):
            await connection.exec_driver_sql(f"DELETE FROM {table} WHERE connection_id = 3")  # noqa: S608
        await connection.execute(delete(Connection).where(Connection.id == 3))
    clock.advance(5)
    await clean(cleaner)
    assert [it.attempts for it in await pending(removals)] == [1]


async def test_a_slow_router_holds_up_no_other_clean_up_and_not_too_many_run_at_once(
    cleaner: Cleaner, progress: Progress, removals: Removals, gate: Gate, *, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "AT_ONCE", 2)
    addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    for address in addresses:
        await removals.cleanups.hurry(await removals.cleanups.begin(HERS, address, WriteState.NOT_SENT))
    gate.shut()
    await cleaner.clean_due()
    await cleaner.clean_due()
    assert len(progress.supervisor) == 2
    gate.open()
    await idle(progress)
    assert [it.address for it in await pending(removals)] == addresses[2:]
    await clean(cleaner)
    assert await pending(removals) == []


async def test_what_is_due_is_looked_for_by_itself(
    progress: Progress, removals: Removals, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "LOOK_SECONDS", 0.01)
    Cleaner(removals, progress)
    cleanup_id = await removals.cleanups.begin(HERS, ADDRESS, WriteState.UNKNOWN)
    clock.advance(WORK_MS / 1000)
    await progress.broker.renew(progress.holder)
    progress.keeper.start()
    async with Reader(progress.hub.subscribe(ANA, operation_id=operation_id_of(cleanup_id))) as reader:
        await reader.rest()
    await progress.keeper.aclose()
    await idle(progress)
    assert await told(progress.broker, operation_id_of(cleanup_id)) == TOLD


async def test_a_clean_up_that_fails_by_a_mistake_of_ours_is_tried_again(
    cleaner: Cleaner,
    removals: Removals,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def mistaken(_address: str) -> None:
        raise LookupError

    cleanup_id = await removals.cleanups.begin(HERS, ADDRESS, WriteState.UNKNOWN)
    await removals.cleanups.hurry(cleanup_id)
    with monkeypatch.context() as patched:
        patched.setattr(removals, "reach", mistaken)
        await clean(cleaner)
    assert "work_failed" in caplog.messages
    assert cleaner._running == 0
    clock.advance(WORK_MS / 1000)
    await clean(cleaner)
    assert await pending(removals) == []
