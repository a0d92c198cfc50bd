"""Much history is handed over in pieces, and a peer that takes none of them is found out."""

import asyncio
from collections.abc import Sequence

from tests.brokers.changes import USER, publish
from tests.progress.clock import FakeClock
from tests.progress.reading import Reader, seqs
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.progress.events import Ending, Record
from wellnet_sse.progress.hub import Hub
from wellnet_sse.progress.items import PIECE_CHARACTERS, CloseReason, Final, Item, Live, pieces
from wellnet_sse.progress.operation import Operation


class Stalled:
    """A connection whose peer takes nothing; `drain` waits for ever."""

    def __init__(self) -> None:
        self.waiting = 0
        self.aborted = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.waiting += len(data)

    def buffered(self) -> int:
        return self.waiting

    def abort(self) -> None:
        self.aborted.set()


async def test_a_long_page_comes_in_pieces_in_order_and_then_it_is_live(
    hub: Hub, broker: MemoryBroker
) -> None:
    await publish(broker, 200, message="x" * 2000)
    first, _ = await broker.bounds(USER)
    assert first is not None
    handed: list[Sequence[Item]] = []
    async with Reader(hub.subscribe(USER, cursor=str(first._replace(seq=0)))) as reader:
        while not (handed and handed[-1] and isinstance(handed[-1][-1], Live)):
            batch = await reader.next()
            assert batch is not None
            handed.append(batch)
    records = [[item for item in batch if isinstance(item, Record)] for batch in handed]
    assert [record.seq for batch in records for record in batch] == list(range(1, 201))
    assert all(sum(len(it.json) for it in batch) <= PIECE_CHARACTERS * 1.1 for batch in records)
    assert len(handed) < 20


async def test_the_last_piece_has_the_ending(hub: Hub, broker: MemoryBroker) -> None:
    await publish(broker, 80, message="x" * 2000)
    await broker.append(USER, "op", Operation.stop)
    first, _ = await broker.bounds(USER)
    assert first is not None
    async with Reader(hub.subscribe(USER, operation_id="op", cursor=str(first._replace(seq=0)))) as reader:
        batches = []
        while (batch := await reader.next()) is not None:
            batches.append(batch)
    assert len(batches) > 1
    items = [item for batch in batches for item in batch]
    assert isinstance(items[-1], Final)
    assert isinstance(items[-1].record.event, Ending)
    assert seqs(items) == list(range(1, 82))


def test_nothing_is_one_piece() -> None:
    assert list(pieces(())) == [()]


async def test_a_peer_that_takes_nothing_of_what_comes_first_is_closed_as_slow(
    hub: Hub, broker: MemoryBroker, clock: FakeClock
) -> None:
    await publish(broker, 200, message="x" * 2000)
    first, _ = await broker.bounds(USER)
    assert first is not None
    connection = Stalled()
    subscription = hub.subscribe(USER, cursor=str(first._replace(seq=0)))
    with subscription:
        subscription.write_directly(connection, lambda _items: b".")
        batches = subscription.batches()
        await anext(batches)
        connection.write(b"x" * 100_000)  # and is waiting for room
        for _ in range(29):
            clock.advance(1)
            hub.tick()
            assert subscription.reason is None
        for _ in range(6):
            clock.advance(1)
            hub.tick()
        assert subscription.reason is CloseReason.SLOW
        for _ in range(6):
            clock.advance(1)
            hub.tick()
        assert connection.aborted.is_set()
        assert await anext(batches, None) is None, "the rest is not handed over any more"
