"""What a broker told a user of its one operation."""

from tests.brokers.changes import USER
from wellnet_sse.progress.broker import Broker
from wellnet_sse.progress.events import Ending, Event, Outcome, Status
from wellnet_sse.progress.operation import Operation


async def log(broker: Broker) -> list[Event | Ending]:
    """All that was told to the user."""
    latest = (await broker.bounds(USER))[1]
    if latest is None:
        return []
    page = await broker.since(USER, latest._replace(seq=0), limit=10_000)
    return [record.event for record in page.records]  # type: ignore[union-attr]


async def told(broker: Broker) -> list[tuple[str, Status, int | None, str] | Outcome]:
    return [
        it.outcome if isinstance(it, Ending) else (it.step, it.status, it.progress, it.message)
        for it in await log(broker)
    ]


async def state(broker: Broker) -> Operation:
    found = await broker.operation(USER, "op")
    assert found is not None
    return found[0]
