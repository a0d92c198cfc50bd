"""The contract of `progress.broker.Broker`: how fast a user may act."""

import asyncio

import pytest

from tests.brokers.changes import OTHER, USER
from tests.progress.clock import FakeClock
from wellnet_sse.progress.broker import Broker, Rate

RATE = Rate(per_second=2, burst=3)


async def admitted(broker: Broker, times: int, rate: Rate = RATE) -> int:
    """How many of so many actions at once are let in."""
    return [await broker.admit(USER, rate) for _ in range(times)].count(0)


async def test_a_burst_is_let_in_and_then_it_is_told_when_the_next_is(
    broker: Broker, clock: FakeClock
) -> None:
    assert await admitted(broker, 3) == 3
    for _ in range(5):  # asking in vain costs nothing
        assert await broker.admit(USER, RATE) == pytest.approx(0.5, abs=0.002)
    clock.advance(0.3)
    assert await broker.admit(USER, RATE) == pytest.approx(0.2, abs=0.002)
    clock.advance(0.21)
    assert await admitted(broker, 2) == 1


async def test_what_was_not_used_is_saved_up_to_the_burst(broker: Broker, clock: FakeClock) -> None:
    assert await admitted(broker, 4) == 3
    clock.advance(1.01)
    assert await admitted(broker, 4) == 2
    clock.advance(3600)
    assert await admitted(broker, 9) == 3


async def test_each_user_has_a_rate_of_their_own(broker: Broker) -> None:
    assert await admitted(broker, 4) == 3
    assert await broker.admit(OTHER, RATE) == 0


async def test_many_at_once_are_not_let_in_for_each_other(broker: Broker) -> None:
    # Slow enough: what a store has counted ends by its own clock, once all of it would be free again.
    waits = await asyncio.gather(*(broker.admit(USER, Rate(per_second=20, burst=50)) for _ in range(80)))
    assert waits.count(0) == 50


async def test_a_clock_that_is_set_back_shuts_nobody_out(broker: Broker, clock: FakeClock) -> None:
    assert await admitted(broker, 1) == 1
    clock.advance(-3600)
    assert await broker.admit(USER, RATE) <= 0.5
