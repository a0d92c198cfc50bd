"""Local fan-out: every record of a user to the readers of that user, synchronously."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wellnet_sse.progress.broker import Broker
from wellnet_sse.progress.events import Cursor, Record, UserId
from wellnet_sse.progress.outbox import LIMIT_BYTES, LIMIT_EVENTS, Outbox
from wellnet_sse.progress.subscription import Clocks, CloseReason, Subscription

ABORT_AFTER_SECONDS = 5.0
"""How long a closed reader may take nothing before its connection is aborted."""


def wall_clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


CLOCKS = Clocks(wall_clock_ms, time.monotonic)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader may cost, and how long it may be silent or slow."""

    outbox_events: int = LIMIT_EVENTS
    outbox_bytes: int = LIMIT_BYTES
    heartbeat_seconds: float = 15.0
    slow_seconds: float = 30.0


class _Channel:
    """The readers of one user, and how far the live feed has come."""

    __slots__ = ("_all", "_by_operation", "_first_seq", "_newest")

    def __init__(self) -> None:
        self._all: set[Subscription] = set()
        self._by_operation: dict[str, set[Subscription]] = {}
        self._first_seq = 0
        self._newest: Cursor | None = None

    def __iter__(self) -> Iterator[Subscription]:
        yield from self._all
        for subscriptions in self._by_operation.values():
            yield from subscriptions

    def __bool__(self) -> bool:
        return bool(self._all or self._by_operation)

    def join(self, subscription: Subscription) -> None:
        if subscription.operation_id is None:
            self._all.add(subscription)
        else:
            self._by_operation.setdefault(subscription.operation_id, set()).add(subscription)

    def leave(self, subscription: Subscription) -> None:
        self._all.discard(subscription)
        mine = self._by_operation.get(subscription.operation_id or "")
        if mine is not None:
            mine.discard(subscription)
            if not mine:
                del self._by_operation[subscription.operation_id or ""]

    def is_level(self, cursor: Cursor) -> bool:
        """Whether the feed goes on from `cursor`: nothing lies between it and what was fed first."""
        if self._newest is None:
            self._first_seq, self._newest = cursor.seq + 1, cursor
        elif self._newest.epoch != cursor.epoch:  # history is the truth: the feed starts anew from there
            self._lose(epoch_changed=True)
            self._first_seq, self._newest = cursor.seq + 1, cursor
        return self._first_seq <= cursor.seq + 1

    def feed(self, record: Record) -> int:
        """Offer the record to its readers; how many they are."""
        newest, cursor = self._newest, record.cursor
        if newest is None:
            self._first_seq = cursor.seq
        elif cursor.epoch != newest.epoch or cursor.seq > newest.seq + 1:
            self._first_seq = cursor.seq
            self._lose(epoch_changed=cursor.epoch != newest.epoch)
        elif cursor.seq <= newest.seq:
            return 0  # fed before
        self._newest = cursor
        for subscription in self._all:
            subscription.offer(record)
        of_operation = self._by_operation.get(record.event.operation_id, ())
        for subscription in of_operation:
            subscription.offer(record)
        return len(self._all) + len(of_operation)

    def _lose(self, *, epoch_changed: bool) -> None:
        for subscription in self:
            subscription.lost(epoch_changed=epoch_changed)


class Hub:
    """Hands what the broker feeds to the readers of this process, and keeps an eye on them."""

    def __init__(self, broker: Broker, *, limits: Limits, clocks: Clocks = CLOCKS) -> None:
        self._broker = broker
        self._limits = limits
        self._clocks = clocks
        self._channels: dict[UserId, _Channel] = {}
        self._closing: CloseReason | None = None
        self.emptied = asyncio.Event()
        """Set while nobody reads."""
        self.emptied.set()
        self.records = 0
        """How many records were fed since the start."""
        self.deliveries = 0
        """How many times one of them was offered to a reader."""
        broker.attach(self.publish)

    def __len__(self) -> int:
        return sum(1 for _ in self.subscriptions())

    def subscriptions(self) -> Iterator[Subscription]:
        """Every reader of this process."""
        for channel in self._channels.values():
            yield from channel

    def subscribe(
        self,
        user_id: UserId,
        *,
        operation_id: str | None = None,
        cursor: str | None = None,
        recent_ms: int | None = None,
    ) -> Subscription:
        """A reader of all the user's operations or of one; it is offered records within its `with` block.

        `cursor` is where it left off, as received; `recent_ms`: see `Subscription`.
        """
        return Subscription(
            user_id,
            operation_id=operation_id,
            cursor=cursor,
            recent_ms=recent_ms,
            broker=self._broker,
            home=self,
            outbox=Outbox(limit_events=self._limits.outbox_events, limit_bytes=self._limits.outbox_bytes),
            clocks=self._clocks,
        )

    def join(self, subscription: Subscription) -> None:
        """See `Home.join`."""
        self._channels.setdefault(subscription.user_id, _Channel()).join(subscription)
        self.emptied.clear()
        if self._closing is not None:
            subscription.close(self._closing)

    def leave(self, subscription: Subscription) -> None:
        """See `Home.leave`."""
        channel = self._channels[subscription.user_id]
        channel.leave(subscription)
        if not channel:
            del self._channels[subscription.user_id]
        if not self._channels:
            self.emptied.set()

    def is_level(self, user_id: UserId, cursor: Cursor) -> bool:
        """See `Home.is_level`."""
        return self._channels[user_id].is_level(cursor)

    def publish(self, user_id: UserId, records: Sequence[Record]) -> None:
        """Offer the records to their readers. Synchronous, so no join or leave comes in between."""
        self.records += len(records)
        channel = self._channels.get(user_id)
        if channel is not None:
            for record in records:
                self.deliveries += channel.feed(record)

    def tick(self) -> None:
        """Let idle readers know that all is well; close the slow, abort what does not even take that.

        To be called about every second by whoever owns the hub.
        """
        now = self._clocks.monotonic()
        for subscription in self.subscriptions():
            since_seconds = now - subscription.handed_at
            if not subscription.handing:
                if since_seconds >= self._limits.heartbeat_seconds:
                    subscription.beat()
            elif subscription.closed_at is None:
                if since_seconds >= self._limits.slow_seconds:
                    subscription.close(CloseReason.SLOW)
            elif now - subscription.closed_at >= ABORT_AFTER_SECONDS and subscription.abort is not None:
                subscription.abort()

    def close(self, reason: CloseReason) -> None:
        """End every reader, and those that come from now on."""
        self._closing = reason
        for subscription in self.subscriptions():
            subscription.close(reason)
