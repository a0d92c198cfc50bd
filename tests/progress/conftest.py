"""A hub over the memory broker, with a clock that the tests turn."""

import pytest

from tests.progress.clock import FakeClock
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.progress.hub import Hub, Limits


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def broker(clock: FakeClock) -> MemoryBroker:
    return MemoryBroker(history_ms=86_400_000, history_events=10_000, clock=clock.wall_ms)


@pytest.fixture
def hub(broker: MemoryBroker, clock: FakeClock) -> Hub:
    return Hub(broker, limits=Limits(), clocks=clock.clocks)
