"""What a reader was told, and what is kept."""

from collections.abc import Sequence

from tests.brokers.changes import USER, page
from tests.progress.reading import record_of, seqs
from wellnet_sse.progress.broker import Broker
from wellnet_sse.progress.events import Cursor, Event, Record
from wellnet_sse.progress.items import Item


def messages(items: Sequence[Item]) -> list[str]:
    """The messages of the events that a reader was told."""
    records = [record for item in items if (record := record_of(item)) is not None]
    return [record.event.message for record in records if isinstance(record.event, Event)]


async def kept(broker: Broker) -> list[str]:
    """The messages of the whole history, which has no hole."""
    operations = await broker.operations(USER, limit=1)
    cursor, found = Cursor(operations[0][1].epoch, 0), list[Record]()
    while not (one := await page(broker, cursor, limit=1000)).level:
        found += one.records
        cursor = one.upto
    found += one.records
    assert seqs(found) == list(range(1, len(found) + 1))
    return messages(found)
