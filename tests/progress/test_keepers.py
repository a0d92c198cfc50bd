"""What looks after operations and work while the server lives, and at its end."""

import asyncio
import logging

import pytest

from tests.brokers.changes import USER, begin_run, name, update
from tests.brokers.wrappers import GatedBroker
from tests.harness import eventually
from tests.progress.clock import FakeClock
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.errors import UnavailableError
from wellnet_sse.progress.events import Outcome
from wellnet_sse.progress.supervisor import Supervisor
from wellnet_sse.progress.tracker import Lifetimes, Progress


@pytest.fixture
def progress(broker: MemoryBroker, clock: FakeClock) -> Progress:
    return Progress(broker, clocks=clock.clocks)


async def outcome(broker: MemoryBroker, operation_id: str = "op") -> Outcome | None:
    found = await broker.operation(USER, operation_id)
    assert found is not None
    return found[0].outcome


# Silence


async def test_what_is_silent_too_long_is_ended(
    progress: Progress, broker: MemoryBroker, clock: FakeClock
) -> None:
    await broker.append(USER, "rest", name("a"))
    await broker.append(USER, "publisher", update("a"))
    await broker.append(USER, "running", begin_run("r"))
    clock.advance(59.9)
    await progress.expire_silent()
    assert await outcome(broker, "rest") is None
    clock.advance(0.1)
    await progress.expire_silent()
    assert await outcome(broker, "rest") is Outcome.EXPIRED
    assert await outcome(broker, "publisher") is None
    clock.advance(840)
    await progress.expire_silent()
    assert await outcome(broker, "publisher") is Outcome.INTERRUPTED
    assert await outcome(broker, "running") is None


async def test_lifetimes_are_settings(broker: MemoryBroker, clock: FakeClock) -> None:
    lifetimes = Lifetimes(idle_seconds=5, silence_seconds=2)
    progress = Progress(broker, lifetimes=lifetimes, clocks=clock.clocks)
    await broker.append(USER, "rest", name("a"))
    await broker.append(USER, "publisher", update("a"))
    clock.advance(2)
    await progress.expire_silent()
    assert await outcome(broker, "publisher") is Outcome.INTERRUPTED
    assert await outcome(broker, "rest") is None


async def test_an_operation_that_stirs_just_in_time_is_spared(broker: MemoryBroker, clock: FakeClock) -> None:
    """Whether it is silent is looked at again where it is atomic."""
    gated = GatedBroker(broker)
    progress = Progress(gated, clocks=clock.clocks)
    await broker.append(USER, "op", name("a"))
    clock.advance(60)
    async with gated.commits.closed():
        sweep = asyncio.ensure_future(progress.expire_silent())
        await gated.commits.reached()
        await broker.append(USER, "op", update("b"))
        gated.commits.open()
        await sweep
    assert await outcome(broker) is None


# Keepers


async def test_a_keeper_outlives_whatever_befalls_a_round(
    progress: Progress, caplog: pytest.LogCaptureFixture
) -> None:
    rounds: list[Exception | None] = []

    async def keep() -> None:
        rounds.append([UnavailableError("lejos"), ValueError("roto"), None][min(len(rounds), 2)])
        if (error := rounds[-1]) is not None:
            raise error

    progress.keeper.add("test", 0.001, keep)
    await progress.start()
    await eventually(lambda: len(rounds) > 3)
    await progress.aclose()
    assert [record.getMessage() for record in caplog.records[:2]] == ["chore_put_off", "chore_failed"]


async def test_closing_leaves_no_task(progress: Progress) -> None:
    before = asyncio.all_tasks()
    await progress.start()
    assert len(asyncio.all_tasks()) > len(before)
    await progress.aclose()
    assert asyncio.all_tasks() == before


async def test_closing_what_was_never_started_is_harmless(progress: Progress) -> None:
    await progress.aclose()


async def test_closing_lets_work_end_within_its_grace(progress: Progress, broker: MemoryBroker) -> None:
    async def work() -> None:
        async with progress.operation("op", user_id=USER) as operation, operation.step("a"):
            for _ in range(10):
                await asyncio.sleep(0)

    progress.supervisor.spawn(work(), name="work")
    await progress.aclose(grace_seconds=5)
    assert await outcome(broker) is Outcome.COMPLETED


async def test_closing_interrupts_what_does_not_end(progress: Progress, broker: MemoryBroker) -> None:
    async def work() -> None:
        async with progress.operation("op", user_id=USER, steps=["a"]) as operation, operation.step("a"):
            await asyncio.Event().wait()

    progress.supervisor.spawn(work(), name="work")
    await eventually(broker.active_operations)
    await progress.aclose(grace_seconds=0)
    assert await outcome(broker) is Outcome.INTERRUPTED
    assert len(progress.supervisor) == 0


async def test_closing_never_cuts_the_writing_of_an_ending(broker: MemoryBroker, clock: FakeClock) -> None:
    gated = GatedBroker(broker)
    progress = Progress(gated, clocks=clock.clocks)
    leave = asyncio.Event()

    async def work() -> None:
        async with progress.operation("op", user_id=USER):
            await leave.wait()

    progress.supervisor.spawn(work(), name="work")
    await eventually(broker.active_operations)
    async with gated.commits.closed():
        leave.set()
        await gated.commits.reached()
        closing = asyncio.ensure_future(progress.aclose(grace_seconds=0))
        for _ in range(20):
            await asyncio.sleep(0)
        gated.commits.open()
        await closing
    assert await outcome(broker) is Outcome.CANCELLED


# The supervisor


async def test_supervised_work_gives_its_result_and_is_let_go() -> None:
    supervisor = Supervisor()

    async def work() -> int:
        return 7

    task = supervisor.spawn(work(), name="seven")
    assert len(supervisor) == 1
    assert await task == 7
    assert len(supervisor) == 0


async def test_supervised_work_goes_on_when_who_waits_for_it_leaves() -> None:
    supervisor, go = Supervisor(), asyncio.Event()

    async def work() -> str:
        await go.wait()
        return "done"

    task = supervisor.spawn(work(), name="work")

    async def wait() -> str:
        return await asyncio.shield(task)

    waiter = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    go.set()
    assert await task == "done"


async def test_work_that_fails_is_logged_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor()

    async def work() -> None:
        raise ValueError("roto")

    task = supervisor.spawn(work(), name="the work")
    with caplog.at_level(logging.ERROR), pytest.raises(ValueError, match="roto"):
        await task
    await asyncio.sleep(0)
    (record,) = caplog.records
    assert record.getMessage() == "work_failed"
    assert record.__dict__["task"] == "the work"


async def test_cancelled_work_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor()
    task = supervisor.spawn(asyncio.Event().wait(), name="work")
    await supervisor.drain(grace_seconds=0)
    assert task.cancelled()
    assert caplog.records == []


async def test_draining_nothing_returns_at_once() -> None:
    await Supervisor().drain(grace_seconds=100)
