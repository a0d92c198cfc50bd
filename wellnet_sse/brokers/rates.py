"""How far users are within a rate, counted in this process."""

from collections.abc import Callable

from wellnet_sse.progress.broker import Rate
from wellnet_sse.progress.events import UserId

SWEEP_AT = 1024
"""With so many users noted, those who may act at full burst again are forgotten."""


class Rates:
    """The generic cell rate algorithm (ITU-T I.371): of each user one number, and no timer.

    Actions are spread along the time line at the lasting rate. Whoever is ahead of the clock by less than the
    burst may act. `clock` gives milliseconds; it may jump.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._spread_until: dict[UserId, float] = {}
        self._sweep_at = SWEEP_AT

    def __len__(self) -> int:
        return len(self._spread_until)

    def admit(self, user_id: UserId, rate: Rate) -> float:
        """See `Broker.admit`."""
        now = self._clock()
        each = 1000 / rate.per_second
        # No further ahead than a burst, even where the clock was set back.
        until = min(max(self._spread_until.get(user_id, now), now), now + rate.burst * each) + each
        wait_ms = until - now - rate.burst * each
        if wait_ms > each * 1e-6:  # more than what floating point makes of nothing
            return wait_ms / 1000
        self._spread_until[user_id] = until
        if len(self._spread_until) >= self._sweep_at:
            self._sweep(now)
        return 0.0

    def _sweep(self, now: float) -> None:
        self._spread_until = {user: until for user, until in self._spread_until.items() if until > now}
        self._sweep_at = max(SWEEP_AT, 2 * len(self._spread_until))
