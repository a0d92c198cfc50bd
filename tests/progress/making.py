"""Hubs over brokers with troubles."""

from tests.brokers.changes import USER, name
from tests.progress.clock import FakeClock
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.progress.broker import Broker
from wellnet_sse.progress.events import Cursor
from wellnet_sse.progress.hub import Hub, Limits


def memory(clock: FakeClock, *, history_events: int = 10_000) -> MemoryBroker:
    return MemoryBroker(history_ms=86_400_000, history_events=history_events, clock=clock.wall_ms)


def hub_over(broker: Broker, clock: FakeClock, *, outbox_events: int = 256) -> Hub:
    return Hub(broker, limits=Limits(outbox_events=outbox_events), clocks=clock.clocks)


async def first_cursor(broker: Broker) -> Cursor:
    """Make the user known, and return the place before the first entry."""
    await broker.append(USER, "op", name())
    found = await broker.operation(USER, "op")
    assert found is not None
    return found[1]
