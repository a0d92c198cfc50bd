"""What a reader is told, why it is closed, and what it may be written to."""

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from wellnet_sse.progress.broker import Gap
from wellnet_sse.progress.events import Cursor, Event, Record


class Live(NamedTuple):
    """The reader is up to date; from here on it is live."""

    cursor: Cursor


class Final(NamedTuple):
    """The ending after which an operation's own stream closes."""

    record: Record


Item = Record | Gap | Live | Final

PIECE_CHARACTERS = 64 * 1024
"""About as much of history is handed to a transport at a time..."""
EVENT_CHARACTERS = 250
"""...an event without its message taken for so much."""


def pieces(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """The items in pieces of about that size; of none, one without any."""
    start = size = 0
    for number, item in enumerate(items):
        event = item.event if isinstance(item, Record) else None
        size += EVENT_CHARACTERS + (len(event.message) if isinstance(event, Event) else 0)
        if size > PIECE_CHARACTERS and number > start:
            yield items[start:number]
            start, size = number, 0
    yield items[start:]


Encoder = Callable[[Sequence[Item]], bytes]
"""What a transport makes of items; of none, what tells an idle reader that all is well, if anything."""


class Sink(Protocol):
    """A connection that can be written to directly."""

    def write(self, data: bytes) -> None:
        """Write `data`; never waits."""

    def buffered(self) -> int:
        """How many bytes the peer has yet to take out of this process."""

    def abort(self) -> None:
        """Close the connection at once, and forget what is buffered."""


class CloseReason(Enum):
    """Why the server closes a reader: what SSE says, and the close code of RFC 6455 §7.4."""

    DRAIN = ("drain", 1012)
    SLOW = ("slow", 1013)
    EXPIRED = ("expired", 1008)

    def __init__(self, reason: str, websocket_code: int) -> None:
        self.reason = reason
        self.websocket_code = websocket_code


class Clocks(NamedTuple):
    """Where time comes from: milliseconds since 1970, and seconds that only go forward."""

    wall_ms: Callable[[], int]
    monotonic: Callable[[], float]
