"""Rates that are counted in this process."""

from tests.progress.clock import FakeClock
from wellnet_sse.brokers.rates import SWEEP_AT, Rates
from wellnet_sse.progress.broker import Rate
from wellnet_sse.progress.events import UserId


def test_users_who_are_at_rest_are_forgotten() -> None:
    clock = FakeClock()
    rates = Rates(clock.wall_ms)
    for user in range(1, 10 * SWEEP_AT):
        assert rates.admit(UserId(user), Rate(per_second=10, burst=5)) == 0
        clock.advance(0.001)
    assert len(rates) < SWEEP_AT


def test_whoever_is_not_at_rest_is_not_forgotten() -> None:
    clock = FakeClock()
    rates = Rates(clock.wall_ms)
    slow = Rate(per_second=0.001, burst=1)
    for user in range(1, 3 * SWEEP_AT):
        assert rates.admit(UserId(user), slow) == 0
    assert all(rates.admit(UserId(user), slow) > 0 for user in range(1, 3 * SWEEP_AT))
