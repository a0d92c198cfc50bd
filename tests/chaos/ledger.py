"""What publishers did and what clients saw: the evidence that `checker` compares.

Written from the wire alone: nothing here knows the server's code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Place = tuple[int, str]
"""A user's operation."""


def split_cursor(cursor: str) -> tuple[str, int]:
    """The epoch and the place of a cursor. Raises ValueError where it is none."""
    epoch, separator, seq = cursor.rpartition("-")
    if not separator or not epoch or not epoch.isascii() or not epoch.isalnum() or str(int(seq)) != seq:
        raise ValueError(f"{cursor!r} is no cursor")
    return epoch, int(seq)


def seq_of(cursor: str | None) -> int:
    """The place that a cursor names; 0, before the first, where there is none."""
    return 0 if cursor is None else split_cursor(cursor)[1]


@dataclass(frozen=True, slots=True)
class Publish:
    """One update that a publisher asked for; messages are unique, so that each can be found again."""

    user: int
    operation_id: str
    step: str
    status: str
    message: str
    progress: int | None
    cursor: str | None
    """As answered with 201. None: never answered; it may be there, once."""
    reopens: bool = False
    """The operation had ended before it."""

    @property
    def place(self) -> Place:
        """The operation it is of."""
        return self.user, self.operation_id


@dataclass(slots=True)
class Ledger:
    """All that the publishers know."""

    publishes: list[Publish] = field(default_factory=list)
    declared: dict[Place, tuple[str, ...]] = field(default_factory=dict)
    """The steps that were announced when the operation was begun."""
    endings: dict[Place, list[str]] = field(default_factory=dict)
    """The outcomes that the publisher was told of, or that follow from what it was told, one an opening."""
    faults: list[str] = field(default_factory=list)
    """Answers that no rule of the protocol allows."""

    @property
    def answered(self) -> list[Publish]:
        """Those that were answered with a cursor."""
        return [publish for publish in self.publishes if publish.cursor is not None]


@dataclass(frozen=True, slots=True)
class Seen:
    """An event or an ending as it came, on which of the client's connections."""

    connection: int
    cursor: str
    data: Mapping[str, Any]

    @property
    def is_ending(self) -> bool:
        """Whether it is the ending of an operation."""
        return "outcome" in self.data


@dataclass(slots=True)
class Log:
    """All that one client saw, in the order in which it came; it keeps repeats too."""

    client: str
    user: int
    operation_id: str | None = None
    """The only operation that the client watches; None: all of the user's."""
    seen: list[Seen] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)
    """With which cursor each connection was opened."""
    gaps: list[Mapping[str, Any]] = field(default_factory=list)
    complete_after: str | None = None
    """Every event later than this must be here: the cursor of the first `live`, or None."""
    closed: bool = False
    """The server said that nothing follows the last ending."""

    def events(self) -> list[Seen]:
        """What came, without what the client had seen before."""
        kept: dict[str, Seen] = {}
        for seen in self.seen:
            kept.setdefault(seen.cursor, seen)
        return list(kept.values())
