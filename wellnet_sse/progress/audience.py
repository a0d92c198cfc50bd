"""Readers who are told the same: those of all of a user's operations, or those of one."""

import logging
from collections.abc import Iterator, Sequence

from wellnet_sse.progress.events import Ending, Record
from wellnet_sse.progress.items import Encoder, Final, Item
from wellnet_sse.progress.subscription import Subscription

log = logging.getLogger(__name__)


class Audience:
    """The readers, and what is yet to be written to those of them who are written to directly.

    Such a reader is level with the feed and its connection has room. So all of them wait for the same
    records, which are encoded once and go out in one write each, together, when the hub flushes. All others
    are offered each record at once, and take it from their own outbox.
    """

    __slots__ = ("_direct", "_final_ends", "_others", "_pending", "readers")

    def __init__(self, *, final_ends: bool) -> None:
        """`final_ends`: an ending that nothing follows is the last they are told."""
        self._direct: set[Subscription] = set()
        self._others: set[Subscription] = set()
        self._pending: list[Record] = []
        self._final_ends = final_ends
        self.readers = 0
        """How many there are."""

    def __iter__(self) -> Iterator[Subscription]:
        yield from self._direct
        yield from self._others

    def __bool__(self) -> bool:
        return self.readers > 0

    def join(self, subscription: Subscription) -> None:
        """Offer it what is published from now on."""
        self._others.add(subscription)
        self.readers += 1

    def leave(self, subscription: Subscription) -> None:
        """Offer it nothing more."""
        self._direct.discard(subscription)
        self._others.discard(subscription)
        self.readers -= 1

    def go_direct(self, subscription: Subscription) -> None:
        """Write to it directly from now on. What it was offered before, it passes over."""
        self._others.discard(subscription)
        self._direct.add(subscription)

    def stop_direct(self, subscription: Subscription) -> None:
        """Offer it again, what is pending first."""
        if subscription in self._direct:
            self._direct.discard(subscription)
            self._others.add(subscription)
            for record in self._pending:
                subscription.offer(record)

    def publish(self, record: Record) -> bool:
        """Let the readers have it; whether a flush has become due."""
        if self._others:
            for subscription in self._others:
                subscription.offer(record)
        if not self._direct:
            return False
        pending = self._pending
        pending.append(record)
        return len(pending) == 1

    def flush(self, now: float) -> None:
        """Write what is pending, each reader's in one piece. `now`: monotonic seconds."""
        records, self._pending = self._pending, []
        if not records:
            return
        is_final = self._final_ends and isinstance(records[-1].event, Ending)
        items: Sequence[Item] = [*records[:-1], Final(records[-1])] if is_final else records
        encoded: dict[Encoder, bytes] = {}
        for subscription in self._direct:
            encode = subscription.encode
            try:
                data = encoded.get(encode)
                if data is None:
                    data = encoded[encode] = encode(items)
                subscription.write(records, data, now, is_final=is_final)
            except Exception:  # one connection's fault must not take the event from the readers after it
                log.exception("reader_failed", extra={"user_id": subscription.user_id})
                if subscription.abort is not None:
                    subscription.abort()
