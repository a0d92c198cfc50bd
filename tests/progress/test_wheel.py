"""Who is looked at, and how often: to look at each idle reader every second is most of what it costs."""

from collections import Counter

import pytest

from tests.brokers.changes import USER
from tests.progress.clock import FakeClock
from tests.progress.connecting import direct
from wellnet_sse.progress.hub import REST_SECONDS, Hub
from wellnet_sse.progress.subscription import Subscription


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """At what time, in whole seconds, readers were looked at, and how many."""
    counted = Counter[int]()
    is_stuck = Subscription.is_stuck

    def look(self: Subscription, now: float, seconds: float) -> bool:
        counted[int(now)] += 1
        return is_stuck(self, now, seconds)

    monkeypatch.setattr(Subscription, "is_stuck", look)
    return counted


def pass_seconds(hub: Hub, clock: FakeClock, count: int) -> None:
    for _ in range(count):
        clock.advance(1)
        hub.tick()


async def test_idle_readers_are_looked_at_seldom(hub: Hub, clock: FakeClock, looks: Counter[int]) -> None:
    await direct(hub)
    pass_seconds(hub, clock, 60)
    assert sum(looks.values()) <= 60 / REST_SECONDS * 1.5


async def test_one_that_takes_nothing_is_looked_at_each_second(
    hub: Hub, clock: FakeClock, looks: Counter[int]
) -> None:
    reader = await direct(hub)
    pass_seconds(hub, clock, 10)
    reader.connection.stalled = True
    reader.connection.write(b"x" * 100)
    pass_seconds(hub, clock, int(REST_SECONDS) + 20)  # a heartbeat is among them, and waits as well
    looks.clear()
    pass_seconds(hub, clock, 5)
    assert set(looks.values()) == {1}
    assert len(looks) == 5


async def test_one_that_fails_takes_the_clock_from_nobody(hub: Hub, clock: FakeClock) -> None:
    readers = [await direct(hub) for _ in range(3)]
    for reader in readers[:2]:
        reader.connection.broken = True
    pass_seconds(hub, clock, 50)  # heartbeats
    assert [reader.connection.aborted for reader in readers] == [True, True, False]
    assert readers[2].connection.lines.count(".") == 3


async def test_whoever_left_is_not_looked_at(hub: Hub, clock: FakeClock, looks: Counter[int]) -> None:
    with hub.subscribe(USER):
        pass
    pass_seconds(hub, clock, 10)
    assert not looks
