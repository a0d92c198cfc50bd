"""How readers are at one moment, and how late entries reach them: for whoever looks after the server."""

import heapq
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from wellnet_sse.progress.events import UserId
from wellnet_sse.progress.subscription import Subscription

SLOW_SECONDS = 2.0
"""A peer that takes nothing for so long although something waits is slow; the hub looks once a second."""

WINDOW_MS = 60_000
WINDOW_NOTES = 4096


class Glance(NamedTuple):
    """A reader, and what waits for it. Times are milliseconds since 1970."""

    stuck_seconds: float
    """For how long its peer has taken nothing although something waits."""
    waiting_bytes: int
    waiting_events: int
    """In its outbox; what its connection has yet to send is counted in bytes alone."""
    skipped: int
    """How many updates it was not told of, because a newer one came."""
    opened_ms: int
    user_id: UserId
    operation_id: str | None
    """The one that it follows; None for all of the user's."""
    via: str
    """How it is connected, as whoever subscribed it has put it."""

    @property
    def is_slow(self) -> bool:
        """Whether its peer does not keep up."""
        return self.stuck_seconds >= SLOW_SECONDS


class Glances(NamedTuple):
    """Some readers, and how many there are."""

    readers: list[Glance]
    """The slowest first."""
    total: int
    slow: int


def glance(subscriptions: Iterable[Subscription], now: float, *, limit: int) -> Glances:
    """The `limit` readers that are most behind, at `now` (monotonic seconds)."""
    seen = [_glance(subscription, now) for subscription in subscriptions]
    slowest = heapq.nlargest(limit, seen, key=lambda it: it[:4])
    return Glances(slowest, len(seen), sum(it.is_slow for it in seen))


def _glance(subscription: Subscription, now: float) -> Glance:
    outbox = subscription.outbox
    return Glance(
        subscription.stuck_seconds(now),
        outbox.size_bytes + subscription.buffered_bytes,
        len(outbox),
        outbox.conflated,
        subscription.opened_ms,
        subscription.user_id,
        subscription.operation_id,
        subscription.via,
    )


class Delays:
    """How late entries were lately: from when they were made to when they were offered to their readers."""

    def __init__(self) -> None:
        self._noted: deque[tuple[int, int]] = deque(maxlen=WINDOW_NOTES)

    def note(self, made_ms: int, now_ms: int) -> None:
        """An entry that was made then is offered now (milliseconds since 1970)."""
        self._noted.append((now_ms, now_ms - made_ms))

    def percentile_ms(self, percent: int, now_ms: int) -> int | None:
        """As late were so many in a hundred of the last minute at most; None where there was none."""
        lately = sorted(max(0, delay) for at_ms, delay in self._noted if at_ms > now_ms - WINDOW_MS)
        return lately[max(0, -(-len(lately) * percent // 100) - 1)] if lately else None
