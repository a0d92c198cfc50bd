"""A reader whose token ends may read no longer."""

import pytest

from tests.brokers.changes import USER, publish
from tests.progress.clock import FakeClock
from tests.progress.connecting import direct
from tests.progress.reading import Reader
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.progress.hub import Hub
from wellnet_sse.progress.items import CloseReason


async def test_a_reader_that_may_read_no_longer_is_told_what_waits_and_closed(
    hub: Hub, broker: MemoryBroker, clock: FakeClock
) -> None:
    ends_ms = clock.wall_ms() + 10_000
    async with (
        Reader(hub.subscribe(USER, expires_ms=ends_ms)) as reader,
        Reader(hub.subscribe(USER)) as other,
    ):
        await reader.until_live()
        await other.until_live()
        clock.advance(9.9)
        hub.tick()
        assert reader.subscription.reason is None
        await publish(broker, 1)
        clock.advance(0.1)
        hub.tick()
        assert reader.subscription.reason is CloseReason.EXPIRED
        await reader.until(1)
        assert await reader.next() is None
        assert other.subscription.reason is None


async def test_what_is_pending_is_told_before_the_end(
    hub: Hub, broker: MemoryBroker, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_schedule_flush", lambda: None)  # the flush is yet to come
    reader = await direct(hub, expires_ms=clock.wall_ms() + 10_000)
    await publish(broker, 2)
    clock.advance(10)
    hub.tick()
    assert await reader.ended() == ["1", "2"]
