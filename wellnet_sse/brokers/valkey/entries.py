"""Entries and operations as Valkey keeps them.

An entry is a JSON array. An operation is its state as JSON, after the mark of the append that wrote it and
the user's place before that append: the script alone knows where its entries come to stand, so in the state
their places are counted from there, as -1, -2, ….
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from wellnet_sse.progress.codec import load
from wellnet_sse.progress.events import Ending, Event, Outcome, Record, Status
from wellnet_sse.progress.operation import Entry, Operation


class Kept(NamedTuple):
    """An operation as it was last written, or as nobody has named it yet."""

    operation: Operation | None
    mark: str
    """Of the append that wrote it; empty where there was none."""


UNNAMED = Kept(None, "")


def dump_entry(entry: Entry) -> str:
    """The entry as text; its first member is the operation, its last the time, which the scripts look at."""
    if isinstance(entry, Event):
        fields = [entry.operation_id, entry.step, entry.status, entry.message, entry.progress, entry.at_ms]
    else:
        fields = [entry.operation_id, None, entry.outcome, None, entry.progress, entry.at_ms]
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def load_entry(text: bytes) -> Entry:
    """The entry that `dump_entry` wrote."""
    operation_id, step, status, message, progress, at_ms = json.loads(text)
    if step is None:
        return Ending(operation_id, Outcome(status), progress, at_ms)
    return Event(operation_id, step, Status(status), message, progress, at_ms)


def load_records(epoch: str, pairs: Sequence[bytes]) -> list[Record]:
    """Records out of places and entries in turn."""
    return [
        Record(epoch, int(seq), load_entry(text)) for seq, text in zip(pairs[::2], pairs[1::2], strict=True)
    ]


def load_kept(operation_id: str, value: bytes | None) -> Kept:
    """The operation out of its value."""
    if value is None:
        return UNNAMED
    mark, base, state = value.split(b" ", 2)
    operation = load(operation_id, state.decode())
    settle(operation, int(base))
    return Kept(operation, mark.decode())


def load_operations(pairs: Sequence[bytes]) -> list[Operation]:
    """Operations out of names and values in turn, each once."""
    found = {}
    for name, value in zip(pairs[::2], pairs[1::2], strict=True):
        operation = load_kept(name.decode(), value).operation
        if operation is not None:
            found[operation.operation_id] = operation
    return list(found.values())


def place(operation: Operation, entries: Sequence[Entry]) -> None:
    """Put the entries of a change at the places after the base, wherever that will be."""
    for number, entry in enumerate(entries, 1):
        operation.placed(entry, -number)


def settle(operation: Operation, base: int) -> None:
    """The base is known: give places that were counted from it their numbers."""
    for step in operation.steps.values():
        step.seq = _settled(step.seq, base)
    operation.first_seq = _settled(operation.first_seq, base)
    operation.last_seq = _settled(operation.last_seq, base)
    operation.ending_seq = _settled(operation.ending_seq, base)


def _settled(seq: int, base: int) -> int:
    return base - seq if seq < 0 else seq


def standing(operation: Operation) -> str:
    """Which index the operation belongs in."""
    if operation.outcome is not None:
        return "ended"
    if operation.runs:
        return "running"
    return "in_step" if operation.in_step else "resting"
