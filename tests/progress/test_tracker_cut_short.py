"""Work that is cancelled, interrupted, or meets a broker that is away."""

import asyncio

import pytest

from tests.brokers.changes import USER
from tests.brokers.wrappers import AwayBroker, GatedBroker
from tests.harness import eventually
from tests.progress.clock import FakeClock
from tests.progress.telling import state, told
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.errors import (
    OperationCancelledError,
    RunLostError,
    UnavailableError,
)
from wellnet_sse.progress.events import Outcome, Status, UserId
from wellnet_sse.progress.tracker import Progress

PENDING, IN_PROGRESS, COMPLETED, ERROR = Status


@pytest.fixture
def progress(broker: MemoryBroker, clock: FakeClock) -> Progress:
    return Progress(broker, clocks=clock.clocks)


# Cancellation of the task


async def test_a_cancelled_task_says_that_it_was_interrupted(
    progress: Progress, broker: MemoryBroker
) -> None:
    at_work = asyncio.Event()

    async def work() -> None:
        async with progress.operation("op", user_id=USER) as operation, operation.step("a") as step:
            await step.update(60, "Borrando...")
            at_work.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(work())
    await at_work.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await told(broker))[-2:] == [
        ("a", ERROR, 0, "Interrumpido en el paso a: no se sabe si terminó"),
        Outcome.INTERRUPTED,
    ]


async def test_a_task_cancelled_while_its_ending_is_written_writes_it(
    broker: MemoryBroker, clock: FakeClock
) -> None:
    gated = GatedBroker(broker)
    progress = Progress(gated, clocks=clock.clocks)
    leave = asyncio.Event()

    async def work() -> None:
        async with progress.operation("op", user_id=USER):
            await leave.wait()

    task = asyncio.ensure_future(work())
    await eventually(broker.active_operations)
    async with gated.commits.closed():
        leave.set()
        await gated.commits.reached()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await progress.supervisor.drain(grace_seconds=5)
    assert (await told(broker)) == [Outcome.CANCELLED]


async def test_a_task_cancelled_just_as_its_work_began_leaves_nothing_running(
    broker: MemoryBroker, clock: FakeClock
) -> None:
    gated = GatedBroker(broker)
    progress = Progress(gated, clocks=clock.clocks)

    async def work() -> None:
        async with progress.operation("op", user_id=USER, steps=["a"]):
            raise AssertionError("never reached")

    async with gated.committed.closed():
        task = asyncio.ensure_future(work())
        await gated.committed.reached()
        task.cancel()
        gated.committed.open()
        with pytest.raises(asyncio.CancelledError):
            await task
    await progress.supervisor.drain(grace_seconds=5)
    assert (await state(broker)).runs == {}
    assert (await told(broker))[-1] is Outcome.INTERRUPTED


async def test_work_that_cannot_begin_says_so_at_once(broker: MemoryBroker, clock: FakeClock) -> None:
    away = AwayBroker(broker)
    away.away = True
    progress = Progress(away, clocks=clock.clocks)
    with pytest.raises(UnavailableError):
        async with asyncio.timeout(2), progress.operation("op", user_id=USER):
            raise AssertionError("never reached")
    assert len(progress.supervisor) == 0


async def test_an_ending_is_written_as_soon_as_the_broker_is_back(
    broker: MemoryBroker, clock: FakeClock
) -> None:
    away = AwayBroker(broker)
    progress = Progress(away, clocks=clock.clocks)

    async def work() -> None:
        async with progress.operation("op", user_id=USER):
            away.away = True

    task = asyncio.ensure_future(work())
    await eventually(lambda: away.asked)
    away.away = False
    await task
    assert await told(broker) == [Outcome.CANCELLED]


@pytest.mark.parametrize("when", ["reading", "explaining"])
async def test_an_interruption_is_written_as_soon_as_the_broker_is_back(
    broker: MemoryBroker, clock: FakeClock, when: str
) -> None:
    away = AwayBroker(broker)
    progress = Progress(away, clocks=clock.clocks)
    asked = 0

    async def explain(_user_id: UserId, _operation_id: str, step: str) -> str:
        nonlocal asked
        asked += 1
        if when == "explaining" and asked == 1:
            raise UnavailableError("lejos")
        return f"{step}: no enviado"

    async def work() -> None:
        async with progress.operation("op", user_id=USER, steps=["a"]):
            away.away = when == "reading"
            await asyncio.Event().wait()

    progress.explain = explain
    task = progress.supervisor.spawn(work(), name="work")
    await eventually(broker.active_operations)
    task.cancel()
    await eventually(lambda: away.asked or asked)
    away.away = False
    await progress.supervisor.drain(grace_seconds=5)
    assert (await told(broker))[1:] == [("a", ERROR, 0, "a: no enviado"), Outcome.INTERRUPTED]


# Cancelling the operation


async def test_cancelling_takes_effect_between_steps(progress: Progress, broker: MemoryBroker) -> None:
    async def work() -> None:
        async with progress.operation("op", user_id=USER, steps=["a", "b"]) as operation:
            async with operation.step("a") as step:
                await progress.cancel(USER, "op")
                await step.update(60, "Sigue...")
            async with operation.step("b"):
                raise AssertionError("never begun")

    with pytest.raises(OperationCancelledError):
        await work()
    assert [it if isinstance(it, Outcome) else it[:2] for it in await told(broker)][2:] == [
        ("a", IN_PROGRESS),
        ("a", COMPLETED),
        Outcome.CANCELLED,
    ]
    with pytest.raises(OperationCancelledError):
        async with progress.operation("op", user_id=USER):
            raise AssertionError("never begun")


async def test_work_that_was_taken_for_dead_ends_without_a_word(
    progress: Progress, broker: MemoryBroker
) -> None:
    async def work() -> None:
        async with progress.operation("op", user_id=USER) as operation, operation.step("a") as step:
            runs = tuple((await state(broker)).runs)
            await broker.append(
                USER, "op", lambda it, at_ms: it.interrupt(at_ms, run_ids=runs, message="{} cut".format)
            )
            await step.update(50, "Sigue...")

    with pytest.raises(RunLostError):
        await work()
    assert await told(broker) == [("a", ERROR, 0, "a cut"), Outcome.INTERRUPTED]
