"""What happens to operations, as immutable values: events, endings, and the cursors that place them.

The JSON made here is the one form of an event: every transport sends it and every broker keeps it
(protocol §2), so it is encoded once per event and shared.
"""

import re
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from json.encoder import encode_basestring
from typing import NamedTuple, NewType

UserId = NewType("UserId", int)
"""An employee: 1 to 2^63-1."""

MAX_USER_ID = 2**63 - 1
MAX_MESSAGE_CHARACTERS = 2000
MAX_STEPS = 100
MAX_OPERATION_ID_CHARACTERS = 128
MAX_STEP_NAME_CHARACTERS = 64

OPERATION_ID_RULE = "1 a 128 caracteres A-Z a-z 0-9 . _ : -"
STEP_NAME_RULE = "1 a 64 caracteres A-Z a-z 0-9 . _ : -"

_NAME = re.compile(r"[A-Za-z0-9._:-]+")
_USER_ID = re.compile(r"[1-9][0-9]{0,18}")
_SEQ = re.compile(r"0|[1-9][0-9]{0,18}")
_EPOCH = re.compile(r"[A-Za-z0-9]{1,32}")


def is_operation_id(text: str) -> bool:
    """Whether `text` is 1 to 128 of `A-Z a-z 0-9 . _ : -` (protocol §1)."""
    return len(text) <= MAX_OPERATION_ID_CHARACTERS and _is_spelled(text)


def is_step_name(text: str) -> bool:
    """Whether `text` is 1 to 64 of `A-Z a-z 0-9 . _ : -` (protocol §1)."""
    return len(text) <= MAX_STEP_NAME_CHARACTERS and _is_spelled(text)


# Publishers name the same ones again and again. What is too long is not kept: whoever sends that, sends more.


@lru_cache(maxsize=16_384)
def _is_spelled(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def is_message(text: str) -> bool:
    """Whether `text` is at most 2,000 characters and can be written as UTF-8 (protocol §1)."""
    if len(text) > MAX_MESSAGE_CHARACTERS:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def parse_user_id(text: str) -> UserId | None:
    """The user that `text` names, or None: decimal, no sign, no leading zero, at most 2^63-1."""
    if _USER_ID.fullmatch(text) is None or int(text) > MAX_USER_ID:
        return None
    return UserId(int(text))


class Status(StrEnum):
    """The documented states of a step."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    ERROR = "error"


class Outcome(StrEnum):
    """How an operation ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    EXPIRED = "expired"


class Cursor(NamedTuple):
    """A place in a user's history, `<epoch>-<seq>` on the wire.

    `seq` counts that user's events from 1 without holes; 0 is the place before the first.
    `epoch` changes only when history was lost.
    """

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> "Cursor | None":
        """The cursor that `text` spells, or None where it spells none."""
        epoch, separator, seq = text.rpartition("-")
        if not separator or _EPOCH.fullmatch(epoch) is None or _SEQ.fullmatch(seq) is None:
            return None
        return cls(epoch, int(seq))


@lru_cache(maxsize=8)
def _second(epoch_seconds: int) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=64)
def timestamp(at_ms: int) -> str:
    """`at_ms` (milliseconds since 1970) as JavaScript's `toISOString` writes it: UTC, three decimals, Z."""
    seconds, milliseconds = divmod(at_ms, 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


class Event(NamedTuple):
    """Something that happened to a step. Six fields on the wire, in the documented order."""

    operation_id: str
    step: str
    status: Status
    message: str
    progress: int | None
    at_ms: int

    def json(self) -> str:
        """The documented message, compact, in the documented order of fields."""
        progress = "null" if self.progress is None else self.progress
        return (
            f'{{"operation_id":"{self.operation_id}","step":"{self.step}","status":"{self.status!s}",'
            f'"message":{encode_basestring(self.message)},"progress":{progress},'
            f'"timestamp":"{timestamp(self.at_ms)}"}}'
        )


class Ending(NamedTuple):
    """An operation's ending: an entry of the same log, durable, with a cursor of its own."""

    operation_id: str
    outcome: Outcome
    progress: int | None
    at_ms: int

    def json(self) -> str:
        """The four fields of protocol §2, compact."""
        progress = "null" if self.progress is None else self.progress
        return (
            f'{{"operation_id":"{self.operation_id}","outcome":"{self.outcome!s}",'
            f'"progress":{progress},"timestamp":"{timestamp(self.at_ms)}"}}'
        )


class Record:
    """An entry of a user's log: an event or ending at its cursor, which is kept as `epoch` and `seq`.

    There are as many of these as there is history, so they hold little: `json` is kept only once somebody
    asked for it. `encodings` belongs to the transports: each keeps the bytes that it made of this record for
    replays under its own key, so that all who read this history share them. None until one does.
    """

    __slots__ = ("_json", "encodings", "epoch", "event", "seq")

    def __init__(self, epoch: str, seq: int, event: Event | Ending) -> None:
        self.epoch = epoch
        self.seq = seq
        self.event = event
        self.encodings: dict[str, bytes] | None = None
        self._json: bytes | None = None

    @property
    def cursor(self) -> Cursor:
        """Its place."""
        return Cursor(self.epoch, self.seq)

    @property
    def json(self) -> bytes:
        """The event's JSON in UTF-8."""
        if self._json is None:
            self._json = self.event.json().encode()
        return self._json

    def __repr__(self) -> str:
        return f"Record({self.cursor}, {self.event!r})"
