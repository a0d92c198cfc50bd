"""What a reader is told when it joins, resumes, and reads on (protocol §3)."""

from tests.brokers.changes import OTHER, USER, name, publish, update
from tests.progress.clock import FakeClock
from tests.progress.reading import Reader, gaps, kinds, seqs
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.progress.broker import Gap
from wellnet_sse.progress.events import Cursor, Status
from wellnet_sse.progress.hub import Hub
from wellnet_sse.progress.items import Live
from wellnet_sse.progress.operation import Operation

COMPLETED = Status.COMPLETED


async def cursor(broker: MemoryBroker, seq: int) -> Cursor:
    found = (await broker.bounds(USER))[1]
    assert found is not None
    return found._replace(seq=seq)


# Without a cursor


async def test_before_any_event_a_reader_is_live_at_a_good_cursor(hub: Hub) -> None:
    async with Reader(hub.subscribe(USER)) as reader:
        (live,) = await reader.until_live()
    assert isinstance(live, Live)
    assert live.cursor.seq == 0
    async with Reader(hub.subscribe(USER, cursor=str(live.cursor))) as reader:
        assert kinds(await reader.until_live()) == ["live"]


async def test_a_starting_reader_gets_the_state_of_what_has_not_ended(hub: Hub, broker: MemoryBroker) -> None:
    await broker.append(USER, "ended", update())  # 1, 2
    await broker.append(USER, "ended", Operation.stop)
    await broker.append(USER, "open", name("a", "b"))  # 3, 4
    await broker.append(USER, "open", update("a"))  # 5
    async with Reader(hub.subscribe(USER)) as reader:
        items = await reader.until_live()
    assert kinds(items) == [4, 5, "live"]
    assert items[-1] == Live(await cursor(broker, 5))


async def test_recently_ended_operations_are_added_for_who_asks(
    hub: Hub, broker: MemoryBroker, clock: FakeClock
) -> None:
    for operation_id in ("old", "recent"):
        await broker.append(USER, operation_id, update())
        await broker.append(USER, operation_id, Operation.stop)
        clock.advance(40)
    async with Reader(hub.subscribe(USER, recent_ms=60_000)) as reader:
        assert kinds(await reader.until_live()) == [3, 4, "live"]


async def test_an_operations_own_stream_begins_with_its_state(hub: Hub, broker: MemoryBroker) -> None:
    await publish(broker, 2, "op")
    await publish(broker, 2, "other")
    async with Reader(hub.subscribe(USER, operation_id="op")) as reader:
        assert kinds(await reader.until_live()) == [2, "live"]
        await publish(broker, 1, "other")
        await publish(broker, 1, "op")
        assert kinds(await reader.next() or ()) == [6]


async def test_an_ended_operations_own_stream_tells_its_end_and_closes(
    hub: Hub, broker: MemoryBroker
) -> None:
    await broker.append(USER, "op", update())
    await broker.append(USER, "op", Operation.stop)
    await publish(broker, 1, "other")
    async with Reader(hub.subscribe(USER, operation_id="op")) as reader:
        assert kinds(await reader.rest()) == [1, "final"]
    assert reader.subscription.reason is None


async def test_a_stream_of_an_operation_that_does_not_exist_waits_for_it(
    hub: Hub, broker: MemoryBroker
) -> None:
    async with Reader(hub.subscribe(USER, operation_id="op")) as reader:
        assert kinds(await reader.until_live()) == ["live"]
        await broker.append(USER, "op", name("a"))
        await broker.append(USER, "op", update("a", COMPLETED))
        assert kinds(await reader.rest()) == [1, 2, "final"]


async def test_nobody_sees_another_users_events(hub: Hub, broker: MemoryBroker) -> None:
    async with (
        Reader(hub.subscribe(OTHER)) as all_of_theirs,
        Reader(hub.subscribe(OTHER, operation_id="op")) as one_of_theirs,
    ):
        await all_of_theirs.until_live()
        await one_of_theirs.until_live()
        await publish(broker, 3, "op")
        assert await all_of_theirs.nothing()
        assert await one_of_theirs.nothing()


# With a cursor


async def test_a_resuming_reader_gets_every_later_event_and_then_live(hub: Hub, broker: MemoryBroker) -> None:
    await publish(broker, 600)
    async with Reader(hub.subscribe(USER, cursor=str(await cursor(broker, 2)))) as reader:
        items = await reader.until_live()
        await publish(broker, 1)
        await reader.until(601)
    assert kinds(items) == [*range(3, 601), "live"]


async def test_a_cursor_of_any_stream_is_good_on_any_other(hub: Hub, broker: MemoryBroker) -> None:
    await publish(broker, 2, "op")
    await publish(broker, 2, "other")
    await publish(broker, 1, "op")
    for_op = hub.subscribe(USER, operation_id="op", cursor=str(await cursor(broker, 3)))
    async with Reader(for_op) as reader:
        assert kinds(await reader.until_live()) == [5, "live"]
    async with Reader(hub.subscribe(USER, cursor=str(await cursor(broker, 1)))) as reader:
        assert kinds(await reader.until_live()) == [2, 3, 4, 5, "live"]


async def test_an_empty_cursor_is_none(hub: Hub, broker: MemoryBroker) -> None:
    await publish(broker, 3)
    async with Reader(hub.subscribe(USER, cursor="")) as reader:
        assert kinds(await reader.until_live()) == [3, "live"]


async def test_resuming_before_the_ending_gets_what_was_missed_and_the_end(
    hub: Hub, broker: MemoryBroker
) -> None:
    await publish(broker, 3, "op")
    await broker.append(USER, "op", Operation.stop)
    await publish(broker, 1, "other")
    own = hub.subscribe(USER, operation_id="op", cursor=str(await cursor(broker, 2)))
    async with Reader(own) as reader:
        assert kinds(await reader.rest()) == [3, "final"]


async def test_on_the_stream_of_all_operations_an_ending_is_not_the_end(
    hub: Hub, broker: MemoryBroker
) -> None:
    await broker.append(USER, "op", update())
    start = str(await cursor(broker, 0))
    async with Reader(hub.subscribe(USER)) as live, Reader(hub.subscribe(USER, cursor=start)) as resumed:
        await live.until_live()
        await broker.append(USER, "op", Operation.stop)
        assert kinds(await live.next() or ()) == [2]
        assert kinds(await resumed.until_live()) == [1, 2, "live"]


async def test_an_ending_that_a_reopening_followed_does_not_close_the_operations_stream(
    hub: Hub, broker: MemoryBroker
) -> None:
    async with Reader(hub.subscribe(USER, operation_id="op")) as reader:
        await reader.until_live()
        await broker.append(USER, "op", update())
        await broker.append(USER, "op", Operation.stop)
        await broker.append(USER, "op", update())
        start = str(await cursor(broker, 0))
        assert kinds(await reader.next() or ()) == [1, 2, 3]
        resumed = hub.subscribe(USER, operation_id="op", cursor=start)
        async with Reader(resumed) as late:
            assert kinds(await late.until_live()) == [1, 2, 3, "live"]
        await broker.append(USER, "op", Operation.stop)
        assert kinds(await reader.rest()) == ["final"]


async def test_an_ending_at_the_end_of_a_page_closes_only_with_the_last_page(
    hub: Hub, broker: MemoryBroker
) -> None:
    await publish(broker, 255, "op")
    await broker.append(USER, "op", Operation.stop)  # 256: a page is full
    start = str(await cursor(broker, 0))
    async with Reader(hub.subscribe(USER, operation_id="op", cursor=start)) as reader:
        assert kinds(await reader.rest())[-1] == "final"
    await broker.append(USER, "op", update("b"))
    async with Reader(hub.subscribe(USER, operation_id="op", cursor=start)) as reader:
        assert kinds(await reader.until_live())[-3:] == [256, 257, "live"]


# When the cursor cannot be served


async def test_a_malformed_cursor_is_a_gap_that_repeats_it_as_received(
    hub: Hub, broker: MemoryBroker
) -> None:
    await publish(broker, 2)
    for received in ("nonsense", "k3f9-01", "\udcff\x7f", "x" * 5000):
        async with Reader(hub.subscribe(USER, cursor=received)) as reader:
            items = await reader.until_live()
        assert items[0] == Gap(received, await cursor(broker, 1), await cursor(broker, 2))
        assert kinds(items) == ["gap", 2, "live"]


async def test_a_gap_before_any_event_has_no_bounds(hub: Hub) -> None:
    async with Reader(hub.subscribe(USER, cursor="k3f9-41")) as reader:
        items = await reader.until_live()
    assert items[0] == Gap("k3f9-41", None, None)
    assert kinds(items) == ["gap", "live"]


async def test_after_a_gap_the_next_reconnect_has_none(hub: Hub, broker: MemoryBroker) -> None:
    await publish(broker, 3)
    future = str(await cursor(broker, 99))
    async with Reader(hub.subscribe(USER, cursor=future)) as reader:
        live = (await reader.until_live())[-1]
    assert len(gaps(reader.items)) == 1
    assert isinstance(live, Live)
    async with Reader(hub.subscribe(USER, cursor=str(live.cursor))) as reader:
        assert kinds(await reader.until_live()) == ["live"]


async def test_an_unusable_cursor_gets_the_endings_of_the_last_day_the_newest_hundred(
    hub: Hub, broker: MemoryBroker, clock: FakeClock
) -> None:
    await broker.append(USER, "yesterday", update())  # 1, 2
    await broker.append(USER, "yesterday", Operation.stop)
    clock.advance(86_401)
    for number in range(101):
        await broker.append(USER, f"op{number}", update())  # 3, 5, …
        await broker.append(USER, f"op{number}", Operation.stop)  # 4, 6, … 204
    await broker.append(USER, "open", update())  # 205
    async with Reader(hub.subscribe(USER, cursor="another-1")) as reader:
        assert kinds(await reader.until_live()) == ["gap", *range(5, 206), "live"]


async def test_an_operations_own_stream_with_an_unusable_cursor_gets_that_operation_only(
    hub: Hub, broker: MemoryBroker
) -> None:
    await publish(broker, 2, "op")
    await publish(broker, 2, "other")
    async with Reader(hub.subscribe(USER, operation_id="op", cursor="another-1")) as reader:
        assert kinds(await reader.until_live()) == ["gap", 2, "live"]
    await broker.append(USER, "op", Operation.stop)
    async with Reader(hub.subscribe(USER, operation_id="op", cursor="another-1")) as reader:
        assert kinds(await reader.rest()) == ["gap", 2, "final"]


async def test_ids_strictly_rise_on_every_connection(hub: Hub, broker: MemoryBroker) -> None:
    await broker.append(USER, "one", name("a", "b"))
    await publish(broker, 5, "two")
    await broker.append(USER, "one", update("a"))
    await broker.append(USER, "two", Operation.stop)
    for received in (None, "another-9", *[str(await cursor(broker, seq)) for seq in range(9)]):
        async with Reader(hub.subscribe(USER, cursor=received)) as reader:
            await reader.until_live()
            told = seqs(reader.items)
            await publish(broker, 1, "two")
            await reader.next()
        assert seqs(reader.items)[: len(told)] == told
        assert seqs(reader.items) == sorted(set(seqs(reader.items)))
