"""Readers who have all been told the same, and whose connections have room: they are written the same."""

import logging
from collections.abc import Iterator

from wellnet_sse.progress.items import Encoder, Sink
from wellnet_sse.progress.subscription import Subscription

log = logging.getLogger(__name__)

BUFFER_BYTES = 64 * 1024
"""How much may wait in a connection's own buffer (protocol §8) before its reader's outbox takes over."""


class Level:
    """See `Standing`. What is true of all of them is noted once, and a write is all that each of them costs.

    Whether there is room in their connections is looked at only when there may be none in one of them.
    """

    __slots__ = ("_room", "_sinks", "encode", "seq", "written", "written_at")

    def __init__(self, encode: Encoder) -> None:
        self.encode = encode
        self.seq = 0
        self.written = 0
        self.written_at = 0.0
        self._room = 0
        """How far `written` may go before the connections are looked at again."""
        self._sinks: dict[Subscription, Sink] = {}

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._sinks)

    def __contains__(self, subscription: Subscription) -> bool:
        return subscription in self._sinks

    def __bool__(self) -> bool:
        return bool(self._sinks)

    def join(self, subscription: Subscription, sink: Sink) -> None:
        """Write to it, too, from now on."""
        self._sinks[subscription] = sink
        self._room = min(self._room, self.written + BUFFER_BYTES - sink.buffered())
        subscription.stand_on(self)

    def leave(self, subscription: Subscription) -> None:
        """Write to it no more."""
        del self._sinks[subscription]
        subscription.stand_alone()

    def without_room(self, size: int) -> list[Subscription]:
        """Those whose connections have no room for `size` bytes more."""
        if self.written + size <= self._room:
            return []
        left = {reader: BUFFER_BYTES - sink.buffered() for reader, sink in self._sinks.items()}
        self._room = self.written + min((room for room in left.values() if room >= size), default=0)
        return [reader for reader, room in left.items() if room < size]

    def write(self, data: bytes, upto: int, now: float) -> None:
        """Write `data` to all of them, which tells them everything up to the place `upto`."""
        if data:
            for subscription, sink in self._sinks.items():
                try:
                    sink.write(data)
                except Exception:  # one connection's fault must not take the event from the readers after it
                    log.exception("reader_failed", extra={"user_id": subscription.user_id})
                    sink.abort()
            self.written += len(data)
            self.written_at = now
        self.seq = upto
