"""Local fan-out: every record of a user to the readers of that user, synchronously."""

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from wellnet_sse.progress.audience import Audience
from wellnet_sse.progress.broker import Broker
from wellnet_sse.progress.channel import Channel
from wellnet_sse.progress.events import Cursor, Record, UserId
from wellnet_sse.progress.glances import Delays, Glances, glance
from wellnet_sse.progress.items import Clocks, CloseReason
from wellnet_sse.progress.outbox import LIMIT_BYTES, LIMIT_EVENTS, Outbox
from wellnet_sse.progress.subscription import Subscription
from wellnet_sse.progress.wheel import Wheel

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.002
"""How long records may be gathered while there is much to write."""

REST_SECONDS = 5.0
"""How long a reader for whom nothing waits is not looked at: so much later may be seen that it is stuck."""

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


class Hub:
    """Hands what the broker feeds to the readers of this process, and keeps an eye on them."""

    def __init__(self, broker: Broker, *, limits: Limits, clocks: Clocks = CLOCKS) -> None:
        self._broker = broker
        self._limits = limits
        self._clocks = clocks
        self._channels: dict[UserId, Channel] = {}
        self._readers: set[Subscription] = set()
        self._closing: CloseReason | None = None
        self._due: list[Audience] = []
        self._flushed_at = 0.0
        self.emptied = asyncio.Event()
        """Set while nobody reads."""
        self.emptied.set()
        self.records = 0
        """How many records were fed since the start."""
        self.deliveries = 0
        """How many times one of them was offered to a reader."""
        self.delays = Delays()
        self._noted_ms = 0
        self._wheel = Wheel()
        self._rest_seconds = min(REST_SECONDS, limits.slow_seconds / 6)
        self._conflated = 0
        broker.attach(self.publish)

    def __len__(self) -> int:
        return len(self._readers)

    def subscriptions(self) -> Collection[Subscription]:
        """Every reader of this process, as of now."""
        return list(self._readers)

    @property
    def conflated(self) -> int:
        """How many updates readers were not told of, because they were slow and a newer one came."""
        return self._conflated + sum(reader.outbox.conflated for reader in self.subscriptions())

    def subscribe(
        self,
        user_id: UserId,
        *,
        operation_id: str | None = None,
        cursor: str | None = None,
        recent_ms: int | None = None,
        expires_ms: int | None = None,
        via: str = "",
    ) -> Subscription:
        """A reader of all the user's operations or of one; it is offered records within its `with` block.

        `cursor` is where it left off, as received; `recent_ms`, `expires_ms`, `via`: see `Subscription`.
        """
        return Subscription(
            user_id,
            operation_id=operation_id,
            cursor=cursor,
            recent_ms=recent_ms,
            expires_ms=expires_ms,
            via=via,
            broker=self._broker,
            home=self,
            outbox=Outbox(limit_events=self._limits.outbox_events, limit_bytes=self._limits.outbox_bytes),
            clocks=self._clocks,
        )

    def glance(self, *, limit: int) -> Glances:
        """The readers of this process that are most behind."""
        return glance(self.subscriptions(), self._clocks.monotonic(), limit=limit)

    def join(self, subscription: Subscription) -> None:
        """See `Home.join`."""
        channel = self._channels.get(subscription.user_id)
        if channel is None:
            channel = self._channels[subscription.user_id] = Channel()
            self._broker.watch(subscription.user_id)
        channel.audience(subscription).join(subscription)
        self._readers.add(subscription)
        self._wheel.put(subscription, self._clocks.monotonic())
        self.emptied.clear()
        if self._closing is not None:
            subscription.close(self._closing)

    def leave(self, subscription: Subscription) -> None:
        """See `Home.leave`."""
        self._conflated += subscription.outbox.conflated
        channel = self._channels[subscription.user_id]
        channel.leave(subscription)
        self._readers.discard(subscription)
        self._wheel.discard(subscription)
        if not channel:
            del self._channels[subscription.user_id]
            self._broker.unwatch(subscription.user_id)
        if not self._channels:
            self.emptied.set()

    def go_direct(self, subscription: Subscription) -> None:
        """See `Home.go_direct`."""
        self._channels[subscription.user_id].audience(subscription).go_direct(subscription)

    def stop_direct(self, subscription: Subscription) -> None:
        """See `Home.stop_direct`."""
        self._channels[subscription.user_id].audience(subscription).stop_direct(subscription)

    def is_level(self, user_id: UserId, cursor: Cursor) -> bool:
        """See `Home.is_level`."""
        return self._channels[user_id].is_level(cursor)

    def publish(self, user_id: UserId, records: Sequence[Record]) -> None:
        """Offer the records to their readers. Synchronous, so no join or leave comes in between."""
        self.records += len(records)
        if records and (made_ms := records[0].event.at_ms) != self._noted_ms:
            self._noted_ms = made_ms  # of what was made within a millisecond, one will do
            self.delays.note(made_ms, self._clocks.wall_ms())
        channel = self._channels.get(user_id)
        if channel is None:
            return
        for record in records:
            if channel.admits(record):
                if channel.all.readers:
                    self._tell(channel.all, record)
                if channel.by_operation:
                    audience = channel.by_operation.get(record.event.operation_id)
                    if audience is not None:
                        self._tell(audience, record)

    def _tell(self, audience: Audience, record: Record) -> None:
        self.deliveries += audience.readers
        if audience.publish(record):
            if not self._due:
                self._schedule_flush()
            self._due.append(audience)

    def _schedule_flush(self) -> None:
        """At once when idle, and after the tick when busy: then what comes meanwhile goes out with it."""
        loop = asyncio.get_running_loop()
        due = self._flushed_at + FLUSH_SECONDS
        if loop.time() >= due:
            loop.call_soon(self._flush)
        else:
            loop.call_at(due, self._flush)

    def _flush(self) -> None:
        due, self._due = self._due, []
        now = self._clocks.monotonic()
        for audience in due:
            try:
                audience.flush(now)
            except Exception:  # whose fault that is, is not known: history tells them what they missed
                log.exception("flush_failed")
                audience.lose()
        self._flushed_at = asyncio.get_running_loop().time()

    def tick(self) -> None:
        """Let idle readers know that all is well; close the expired and the slow, abort those who stay.

        To be called about every second by whoever owns the hub: it is the one clock of all readers.
        """
        now, now_ms = self._clocks.monotonic(), self._clocks.wall_ms()
        for subscription in self._wheel.take_due(now):
            try:
                again = self._look_at(subscription, now, now_ms)
            except Exception:  # one connection's fault must not take the clock from the readers after it
                log.exception("reader_failed", extra={"user_id": subscription.user_id})
                subscription.fail()
                again = now
            if subscription in self._readers:
                self._wheel.put(subscription, again)

    def _look_at(self, subscription: Subscription, now: float, now_ms: int) -> float:
        """Do what is due for it, and tell when it is to be looked at again; `now` is with the next tick."""
        if subscription.closed_at is not None:
            if now - subscription.closed_at >= ABORT_AFTER_SECONDS and subscription.abort is not None:
                subscription.abort()
            return now
        if subscription.expires_ms is not None and subscription.expires_ms <= now_ms:
            subscription.close(CloseReason.EXPIRED)
            return now
        if subscription.is_stuck(now, self._limits.slow_seconds):
            subscription.close(CloseReason.SLOW)
            return now
        if not subscription.handing and now - subscription.handed_at >= self._limits.heartbeat_seconds:
            subscription.beat(now)
        if not subscription.at_rest:
            return now
        again = min(now + self._rest_seconds, subscription.handed_at + self._limits.heartbeat_seconds)
        if subscription.expires_ms is not None:
            again = min(again, now + (subscription.expires_ms - now_ms) / 1000)
        return again

    def close(self, reason: CloseReason) -> None:
        """End every reader, and those that come from now on."""
        self._closing = reason
        self._flush()  # what is pending was published before
        for subscription in self.subscriptions():
            subscription.close(reason)
