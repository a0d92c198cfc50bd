"""The contract of `progress.broker.Broker`: what is read again, and what is no longer kept."""

import pytest

from tests.brokers.changes import OTHER, USER, name, origin, page, publish, seqs, told, update
from tests.brokers.conftest import MakeBroker
from tests.progress.clock import FakeClock
from wellnet_sse.progress.broker import Broker, Gap, IdempotencyKey, Wanted
from wellnet_sse.progress.events import Cursor, Outcome, Status, UserId
from wellnet_sse.progress.operation import Operation


async def test_history_is_read_in_order_after_any_cursor(broker: Broker) -> None:
    written = await publish(broker, 10)
    start = await origin(broker)
    for seq in range(11):
        found = await page(broker, start._replace(seq=seq))
        assert seqs(found.records) == list(range(seq + 1, 11))
        assert [it.json for it in found.records] == [it.json for it in written[seq:]]
        assert (found.upto.seq, found.level) == (10, True)


async def test_every_character_of_a_message_is_kept(broker: Broker) -> None:
    message = 'ñ "\\\b\x00\x1f\x7f\r\n\u2028 \U0001f680' + "x" * 1900
    written = await publish(broker, 1, message=message)
    (record,) = (await page(broker, await origin(broker))).records
    assert record.event == written[0].event
    (state,) = (await broker.state(USER, Wanted())).records
    assert state.event == written[0].event


async def test_long_history_comes_in_pages(broker: Broker) -> None:
    await publish(broker, 10)
    cursor, levels, found = await origin(broker), [], []
    for _ in range(3):
        one = await page(broker, cursor, limit=4)
        found += seqs(one.records)
        cursor = one.upto
        levels.append(one.level)
    assert found == list(range(1, 11))
    assert levels == [False, False, True]


async def test_a_page_that_is_just_full_may_be_the_last(broker: Broker) -> None:
    await publish(broker, 4)
    found = await page(broker, await origin(broker), limit=4)
    assert (len(found.records), found.upto.seq) == (4, 4)
    assert not (await page(broker, found.upto)).records


async def test_the_history_of_one_operation_is_its_own_and_reaches_to_the_users_newest(
    broker: Broker,
) -> None:
    for _ in range(3):
        await publish(broker, 2, "op")
        await publish(broker, 3, "other")
    start = await origin(broker)
    found = await page(broker, start, operation_id="op")
    assert seqs(found.records) == [1, 2, 6, 7, 11, 12]
    assert (found.upto.seq, found.level) == (15, True)
    part = await page(broker, start, operation_id="op", limit=4)
    assert (seqs(part.records), part.upto.seq, part.level) == ([1, 2, 6, 7], 7, False)
    assert (await page(broker, part.upto, operation_id="op")).upto.seq == 15


async def test_the_history_of_an_unknown_operation_is_empty(broker: Broker) -> None:
    await publish(broker, 2)
    found = await page(broker, await origin(broker), operation_id="unknown")
    assert (list(found.records), found.upto.seq, found.level) == ([], 2, True)


async def test_users_share_no_history(broker: Broker) -> None:
    await publish(broker, 2)
    await broker.append(OTHER, "op", update())
    assert seqs((await page(broker, await origin(broker))).records) == [1, 2]
    assert (await broker.bounds(OTHER))[1] == Cursor((await origin(broker, OTHER)).epoch, 1)


async def test_before_the_first_event_there_is_a_good_cursor(broker: Broker) -> None:
    state = await broker.state(UserId(99), Wanted())
    assert (list(state.records), state.cursor.seq, state.ended) == ([], 0, False)
    found = await broker.since(UserId(99), state.cursor)
    assert not isinstance(found, Gap)
    assert (list(found.records), found.upto, found.level) == ([], state.cursor, True)
    assert await broker.bounds(UserId(99)) == (None, None)


@pytest.mark.parametrize("operation_id", [None, "op", "unknown"])
@pytest.mark.parametrize("foreign", ["future", "epoch"])
async def test_a_foreign_cursor_is_a_gap(broker: Broker, operation_id: str | None, foreign: str) -> None:
    await publish(broker, 3)
    start = await origin(broker)
    cursor = start._replace(seq=4) if foreign == "future" else Cursor("another", 1)
    found = await broker.since(USER, cursor, operation_id=operation_id)
    assert found == Gap(str(cursor), start._replace(seq=1), start._replace(seq=3))


# State


async def test_the_state_is_the_last_event_of_each_step_in_the_order_of_cursors(broker: Broker) -> None:
    await broker.append(USER, "one", name("a", "b"))
    await broker.append(USER, "two", update("x"))
    await broker.append(USER, "one", update("a", progress=5))
    state = await broker.state(USER, Wanted())
    assert seqs(state.records) == [2, 3, 4]
    assert told(state.records)[2] == ("one", "a", Status.IN_PROGRESS)
    assert (state.cursor.seq, state.ended) == (4, False)


async def test_ended_operations_are_in_the_state_only_where_they_are_wanted(
    broker: Broker, clock: FakeClock
) -> None:
    for number in range(4):
        await broker.append(USER, f"op{number}", update("a"))  # 1, 3, 5, 7
        await broker.append(USER, f"op{number}", Operation.stop)  # 2, 4, 6, 8
        clock.advance(10)
    await broker.append(USER, "open", update("a"))

    async def wanted(**arguments: int) -> list[int]:
        return seqs((await broker.state(USER, Wanted(**arguments))).records)  # type: ignore[arg-type]

    assert await wanted() == [9]
    assert await wanted(ended_after_seq=4) == [5, 6, 7, 8, 9]
    assert await wanted(ended_after_seq=8) == [9]
    assert await wanted(ended_since_ms=clock.wall_ms() - 10_000) == [7, 8, 9]
    assert await wanted(ended_since_ms=clock.wall_ms() - 30_000, newest=1) == [7, 8, 9]
    assert await wanted(ended_since_ms=0) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


async def test_the_state_of_one_operation_is_there_ended_or_not(broker: Broker) -> None:
    await publish(broker, 1, "other")
    await broker.append(USER, "op", name("a", "b"))
    assert seqs((await broker.state(USER, Wanted("op"))).records) == [2, 3]
    await broker.append(USER, "op", Operation.stop)
    state = await broker.state(USER, Wanted("op"))
    assert told(state.records)[-1] == ("op", Outcome.CANCELLED)
    assert (seqs(state.records), state.ended, state.cursor.seq) == ([2, 3, 4], True, 4)
    assert (await broker.state(USER, Wanted("unknown")))[::2] == ([], False)


async def test_a_reopened_operation_has_no_ending_in_its_state(broker: Broker) -> None:
    await broker.append(USER, "op", update("a"))
    await broker.append(USER, "op", Operation.stop)
    await broker.append(USER, "op", update("b"))
    state = await broker.state(USER, Wanted("op"))
    assert (seqs(state.records), state.ended) == ([1, 3], False)
    assert seqs((await broker.state(USER, Wanted(ended_after_seq=0))).records) == [1, 3]


# What is no longer kept


async def test_events_are_kept_up_to_their_number_and_not_without_bound(make_broker: MakeBroker) -> None:
    broker = await make_broker(history_events=50)
    await publish(broker, 50)
    await broker.trim()
    assert (await broker.bounds(USER))[0] == (await origin(broker))._replace(seq=1)
    await publish(broker, 200)
    await broker.trim()
    earliest, latest = await broker.bounds(USER)
    assert earliest is not None
    assert latest is not None
    assert latest.seq == 250
    assert 250 - 75 < earliest.seq <= 201
    assert seqs((await page(broker, latest._replace(seq=200))).records) == list(range(201, 251))


async def test_events_are_kept_for_their_time(make_broker: MakeBroker, clock: FakeClock) -> None:
    broker = await make_broker(history_seconds=60)
    await publish(broker, 2)
    clock.advance(60)
    await publish(broker, 2)
    await broker.trim()
    assert (await broker.bounds(USER))[0] == (await origin(broker))._replace(seq=1)
    clock.advance(0.001)
    await broker.trim()
    assert (await broker.bounds(USER))[0] == (await origin(broker))._replace(seq=3)


async def test_a_cursor_whose_followers_are_gone_is_a_gap_and_the_next_one_is_none(
    make_broker: MakeBroker, clock: FakeClock
) -> None:
    broker = await make_broker(history_seconds=60)
    await publish(broker, 3)
    clock.advance(61)
    await publish(broker, 2)
    await broker.trim()
    start = await origin(broker)
    for seq in (0, 1, 2):
        found = await broker.since(USER, start._replace(seq=seq))
        assert found == Gap(str(start._replace(seq=seq)), start._replace(seq=4), start._replace(seq=5))
    assert seqs((await page(broker, start._replace(seq=3))).records) == [4, 5]


async def test_an_operations_own_history_has_a_gap_only_where_its_own_events_may_be_gone(
    make_broker: MakeBroker, clock: FakeClock
) -> None:
    broker = await make_broker(history_seconds=60)
    await publish(broker, 1, "early")  # 1: forgotten
    await publish(broker, 2, "other")  # 2, 3: forgotten
    await broker.append(USER, "late", name())
    clock.advance(61)
    await publish(broker, 1, "early")  # 4
    await publish(broker, 1, "late")  # 5
    await broker.trim()
    start = await origin(broker)
    assert isinstance(await broker.since(USER, start, operation_id="early"), Gap)
    assert seqs((await page(broker, start._replace(seq=1), operation_id="early")).records) == [4]
    assert seqs((await page(broker, start, operation_id="late")).records) == [5]
    assert isinstance(await broker.since(USER, start, operation_id="unknown"), Gap)


async def test_an_operation_that_goes_on_keeps_its_state_beyond_its_history(
    make_broker: MakeBroker, clock: FakeClock
) -> None:
    broker = await make_broker(history_seconds=60)
    await broker.append(USER, "op", name("a"))
    clock.advance(1000)
    await broker.trim()
    assert seqs((await broker.state(USER, Wanted())).records) == [1]
    assert await broker.operation(USER, "op") is not None
    assert (await broker.bounds(USER))[1] == (await origin(broker))._replace(seq=1)
    assert seqs((await broker.append(USER, "op", update("a"))).records) == [2]


async def test_an_ended_operation_is_forgotten_with_its_history(
    make_broker: MakeBroker, clock: FakeClock
) -> None:
    broker = await make_broker(history_seconds=60)
    await broker.append(USER, "op", name())
    await broker.append(USER, "op", Operation.stop)
    clock.advance(60)
    await broker.trim()
    assert await broker.operation(USER, "op") is not None
    clock.advance(0.001)
    await broker.trim()
    assert await broker.operation(USER, "op") is None
    assert await broker.operations(USER, limit=10) == []
    assert (await broker.append(USER, "op", name())).created


async def test_an_operations_history_does_not_close_over_its_forgotten_namesake(
    make_broker: MakeBroker, clock: FakeClock
) -> None:
    """An id that is used again after it was forgotten: what came between is gone, and must not be hidden."""
    broker = await make_broker(history_seconds=60)
    await publish(broker, 1, "keeps-the-epoch")
    await publish(broker, 1, "op")
    await broker.append(USER, "op", Operation.stop)
    clock.advance(61)
    await publish(broker, 1, "keeps-the-epoch")
    await broker.trim()
    await publish(broker, 1, "op")
    start = await origin(broker)
    assert isinstance(await broker.since(USER, start._replace(seq=1), operation_id="op"), Gap)
    assert seqs((await page(broker, start._replace(seq=4), operation_id="op")).records) == [5]


async def test_a_key_is_forgotten_with_its_time(make_broker: MakeBroker, clock: FakeClock) -> None:
    broker = await make_broker(history_seconds=60)
    key = IdempotencyKey("k", "print")
    await broker.append(USER, "op", update(), key=key)
    clock.advance(60)
    await broker.trim()
    assert not (await broker.append(USER, "op", update(), key=key)).records
    clock.advance(1)
    await broker.trim()
    assert (await broker.append(USER, "op", update(), key=key)).records
