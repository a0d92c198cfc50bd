"""Readers who are told the same: those of all of a user's operations, or those of one."""

import logging
from collections.abc import Iterator, Sequence

from wellnet_sse.progress.events import Ending, Record
from wellnet_sse.progress.items import Encoder, Final, Item
from wellnet_sse.progress.level import Level
from wellnet_sse.progress.subscription import Subscription

log = logging.getLogger(__name__)


class Audience:
    """The readers, and what is yet to be written to those of them who are written to directly.

    Such a reader is level with the feed and its connection has room. So all of them wait for the same
    records, which are encoded once and go out in one write each, together, when the hub flushes. All others
    are offered each record at once, and take it from their own outbox.
    """

    __slots__ = ("_comers", "_final_ends", "_levels", "_others", "_pending", "readers")

    def __init__(self, *, final_ends: bool) -> None:
        """`final_ends`: an ending that nothing follows is the last they are told."""
        self._levels: dict[Encoder, Level] = {}
        self._comers: set[Subscription] = set()
        """Those who are to be written to directly, but may have been told of what is pending."""
        self._others: set[Subscription] = set()
        self._pending: list[Record] = []
        self._final_ends = final_ends
        self.readers = 0
        """How many there are."""

    def __iter__(self) -> Iterator[Subscription]:
        for level in self._levels.values():
            yield from level
        yield from self._comers
        yield from self._others

    def __bool__(self) -> bool:
        return self.readers > 0

    def join(self, subscription: Subscription) -> None:
        """Offer it what is published from now on."""
        self._others.add(subscription)
        self.readers += 1

    def leave(self, subscription: Subscription) -> None:
        """Offer it nothing more."""
        self._remove(subscription)
        self._others.discard(subscription)
        self.readers -= 1

    def go_direct(self, subscription: Subscription) -> None:
        """Write to it directly from now on. What it was offered before, it passes over."""
        self._others.discard(subscription)
        self._comers.add(subscription)

    def stop_direct(self, subscription: Subscription) -> None:
        """Offer it again, what is pending first."""
        self._remove(subscription)
        self._others.add(subscription)
        for record in self._pending:
            subscription.offer(record)

    def lose(self) -> None:
        """The live feed has a hole, or what was pending is lost: all go back to history."""
        self._pending.clear()
        for subscription in tuple(self):
            subscription.lost()

    def _remove(self, subscription: Subscription) -> None:
        self._comers.discard(subscription)
        level = self._levels.get(subscription.encode)
        if level is not None and subscription in level:
            level.leave(subscription)
            if not level:
                del self._levels[level.encode]

    def publish(self, record: Record) -> bool:
        """Let the readers have it; whether a flush has become due."""
        if self._others:
            for subscription in self._others:
                subscription.offer(record)
        if not (self._levels or self._comers):
            return False
        pending = self._pending
        pending.append(record)
        return len(pending) == 1

    def flush(self, now: float) -> None:
        """Write what is pending, each reader's in one piece. `now`: monotonic seconds."""
        records, self._pending = self._pending, []
        if not records:
            return
        if self._comers:
            self._place_comers(records)
        is_final = self._final_ends and isinstance(records[-1].event, Ending)
        items: Sequence[Item] = [*records[:-1], Final(records[-1])] if is_final else records
        for level in tuple(self._levels.values()):
            try:
                data = level.encode(items)
            except Exception:  # what cannot be encoded must not pass for told
                log.exception("readers_failed")
                for subscription in tuple(level):
                    subscription.fail()
                continue
            for subscription in level.without_room(len(data)):
                _offer(subscription, records)  # which takes it off the level
            level.write(data, records[-1].seq, now)
            if is_final:
                for subscription in tuple(level):
                    subscription.finish()

    def _place_comers(self, records: Sequence[Record]) -> None:
        for subscription in tuple(self._comers):
            if subscription.sink is None or subscription.seq >= records[0].seq:
                _offer(subscription, records)  # some of them were among what it was told before
                continue
            self._comers.discard(subscription)
            level = self._levels.get(subscription.encode)
            if level is None:
                level = self._levels[subscription.encode] = Level(subscription.encode)
            level.join(subscription, subscription.sink)


def _offer(subscription: Subscription, records: Sequence[Record]) -> None:
    for record in records:
        subscription.offer(record)
