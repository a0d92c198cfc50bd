"""The blocks that business code writes: outcome follows control flow (design: the progress API)."""

import pytest

from tests.brokers.changes import USER
from tests.progress.clock import FakeClock
from tests.progress.reading import Reader, gaps, record_of
from tests.progress.telling import log, state, told
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.errors import (
    NotFoundError,
    OperationEndedError,
    RouterUnreachableError,
    UnprocessableError,
    WellnetError,
)
from wellnet_sse.progress.broker import IdempotencyKey
from wellnet_sse.progress.events import Outcome, Status
from wellnet_sse.progress.tracker import Progress

PENDING, IN_PROGRESS, COMPLETED, ERROR = Status


@pytest.fixture
def progress(broker: MemoryBroker, clock: FakeClock) -> Progress:
    return Progress(broker, clocks=clock.clocks)


async def test_a_block_that_ends_is_told_from_its_steps_to_its_ending(
    progress: Progress, broker: MemoryBroker
) -> None:
    async with progress.operation("op", user_id=USER, steps=["a", "b"]) as operation:
        async with operation.step("a", done="Hecho") as step:
            await step.update(20, "Conectando...")
        async with operation.step("b"):
            pass
    assert await told(broker) == [
        ("a", PENDING, 0, "Pendiente"),
        ("b", PENDING, 0, "Pendiente"),
        ("a", IN_PROGRESS, 20, "Conectando..."),
        ("a", COMPLETED, 100, "Hecho"),
        ("b", COMPLETED, 100, "Completado"),
        Outcome.COMPLETED,
    ]
    assert (await state(broker)).runs == {}


async def test_the_message_of_completed_may_be_chosen_at_the_end(
    progress: Progress, broker: MemoryBroker
) -> None:
    async with progress.operation("op", user_id=USER) as operation, operation.step("a") as step:
        step.done = "Tres borrados"
    assert (await told(broker))[0] == ("a", COMPLETED, 100, "Tres borrados")


async def test_an_error_with_a_sentence_tells_it_and_is_raised(
    progress: Progress, broker: MemoryBroker
) -> None:
    async def work() -> None:
        async with progress.operation("op", user_id=USER) as operation, operation.step("a") as step:
            await step.update(20, "Conectando...")
            raise RouterUnreachableError("el router no responde")

    with pytest.raises(RouterUnreachableError):
        await work()
    assert (await told(broker))[-2:] == [("a", ERROR, 0, "Error: el router no responde"), Outcome.FAILED]


async def test_an_unknown_error_tells_nothing_of_itself(progress: Progress, broker: MemoryBroker) -> None:
    with pytest.raises(ValueError, match="hunter2"):
        async with progress.operation("op", user_id=USER) as operation, operation.step("a"):
            raise ValueError("no route to 10.0.0.1, password hunter2")
    assert await told(broker) == [("a", ERROR, 0, "Error: error interno del servidor"), Outcome.FAILED]


async def test_an_error_between_steps_fails_the_operation(progress: Progress, broker: MemoryBroker) -> None:
    with pytest.raises(ZeroDivisionError):
        async with progress.operation("op", user_id=USER, steps=["a"]):
            raise ZeroDivisionError
    assert (await told(broker))[-1] is Outcome.FAILED


async def test_a_block_left_before_all_was_done_is_cancelled(
    progress: Progress, broker: MemoryBroker
) -> None:
    async with progress.operation("op", user_id=USER, steps=["a", "b"]) as operation, operation.step("a"):
        pass
    assert (await told(broker))[-1] is Outcome.CANCELLED


async def test_a_step_that_failed_may_be_tried_again(progress: Progress, broker: MemoryBroker) -> None:
    def fail_once(attempt: int) -> None:
        if attempt == 1:
            raise RouterUnreachableError("nada")

    async with progress.operation("op", user_id=USER) as operation:
        for attempt in (1, 2):
            try:
                async with operation.step("a") as step:
                    await step.update(50 // attempt, "Probando...")
                    fail_once(attempt)
            except RouterUnreachableError:
                continue
    assert [it[:3] for it in await told(broker) if not isinstance(it, Outcome)] == [
        ("a", IN_PROGRESS, 50),
        ("a", ERROR, 0),
        ("a", IN_PROGRESS, 25),
        ("a", COMPLETED, 100),
    ]
    assert (await told(broker))[-1] is Outcome.COMPLETED


async def test_a_very_long_message_is_cut(progress: Progress, broker: MemoryBroker) -> None:
    async with progress.operation("op", user_id=USER) as operation, operation.step("a") as step:
        await step.update(1, "ñ" * 5000)
    assert (await told(broker))[0] == ("a", IN_PROGRESS, 1, "ñ" * 2000)


# What business code gets wrong never reaches a reader


@pytest.mark.parametrize(("given", "sent"), [(-5, 0), (150, 100), (33.9, 33)])
async def test_a_number_outside_of_its_range_is_brought_into_it(
    progress: Progress, broker: MemoryBroker, given: int, sent: int
) -> None:
    async with progress.operation("op", user_id=USER) as operation, operation.step("a") as step:
        await step.update(given, "x")
    event = (await log(broker))[0]
    assert (event.progress, type(event.progress)) == (sent, int)


async def test_a_lone_surrogate_in_a_message_is_replaced(progress: Progress) -> None:
    """As in a file's name that is not UTF-8. It could never be sent, and would break every reader."""
    async with Reader(progress.hub.subscribe(USER)) as reader:
        await reader.until_live()
        async with progress.operation("op", user_id=USER) as operation, operation.step("a") as step:
            await step.update(1, "fichero\udcff.txt")
        record = record_of((await reader.until(1))[0])
    assert record is not None
    assert record.json.decode().count("fichero?.txt") == 1


@pytest.mark.parametrize("bad", ["", "a b", 'a"', "a\nid: k3f9-999", "x" * 129])
async def test_ids_and_names_that_are_none_are_refused_before_anything_is_told(
    progress: Progress, broker: MemoryBroker, bad: str
) -> None:
    """They stand unescaped in ids and JSON."""
    with pytest.raises(WellnetError):
        async with progress.operation(bad, user_id=USER):
            pass
    with pytest.raises(WellnetError):
        async with progress.operation("op", user_id=USER, steps=["a", bad]):
            pass
    with pytest.raises(WellnetError):
        await progress.name(USER, bad)
    with pytest.raises(WellnetError):
        await progress.name(USER, "op", steps=[bad])
    for operation_id, step in ((bad, "a"), ("op", bad)):
        with pytest.raises(WellnetError):
            await progress.publish(
                USER, operation_id, step=step, status=IN_PROGRESS, message="m", progress=None
            )
    assert await broker.operations(USER, limit=10) == []
    with pytest.raises(WellnetError):
        async with progress.operation("op", user_id=USER) as operation, operation.step(bad):
            pass
    assert await told(broker) == [Outcome.FAILED]


@pytest.mark.parametrize(("message", "number"), [("x" * 2001, 1), ("\udcff", 1), ("m", 101), ("m", -1)])
async def test_an_event_from_outside_that_could_not_be_sent_is_refused(
    progress: Progress, broker: MemoryBroker, message: str, number: int
) -> None:
    with pytest.raises(UnprocessableError):
        await progress.publish(USER, "op", step="a", status=IN_PROGRESS, message=message, progress=number)
    assert await told(broker) == []


# From outside


async def test_naming_says_whether_it_began(progress: Progress) -> None:
    assert await progress.name(USER, "op", steps=["a"])
    assert not await progress.name(USER, "op", steps=["a", "b"])


async def test_publishing_returns_the_cursor_of_the_event_and_not_of_the_ending(progress: Progress) -> None:
    await progress.name(USER, "op", steps=["a"])
    key = IdempotencyKey("k", "print")
    cursors = [
        await progress.publish(USER, "op", step="a", status=COMPLETED, message="m", progress=None, key=key)
        for _ in range(2)
    ]
    assert [cursor.seq for cursor in cursors] == [2, 2]


async def test_stopping_and_cancelling_what_is_unknown_or_ended_is_refused(progress: Progress) -> None:
    with pytest.raises(NotFoundError):
        await progress.stop(USER, "op")
    with pytest.raises(NotFoundError):
        await progress.cancel(USER, "op")
    await progress.name(USER, "op")
    await progress.stop(USER, "op")
    await progress.stop(USER, "op")
    with pytest.raises(OperationEndedError):
        await progress.cancel(USER, "op")


async def test_a_reader_sees_the_whole_block(progress: Progress) -> None:
    async with Reader(progress.hub.subscribe(USER, operation_id="op")) as reader:
        await reader.until_live()
        async with progress.operation("op", user_id=USER) as operation, operation.step("a") as step:
            await step.update(1, "x")
        await reader.rest()
    assert not gaps(reader.items)
    assert [type(it).__name__ for it in reader.items] == ["Live", "Record", "Record", "Final"]
