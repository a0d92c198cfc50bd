"""An append on its way: judged by what is known of its operation, and made into what a script writes."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from wellnet_sse.brokers.valkey.entries import Kept, dump_entry, place, standing
from wellnet_sse.brokers.valkey.names import channel, idempotency_key, user_keys
from wellnet_sse.errors import UnprocessableError
from wellnet_sse.progress.broker import Appended, Change, IdempotencyKey
from wellnet_sse.progress.codec import copy, dump
from wellnet_sse.progress.events import Cursor, UserId
from wellnet_sse.progress.operation import Entry, Operation


@dataclass(frozen=True, slots=True)
class Terms:
    """What is kept, and of which database this is."""

    history_ms: int
    history_events: int
    database: int


@dataclass(slots=True, eq=False)
class Request:
    """An append that waits for its answer.

    `fresh` is what was just read for it; without it the change is judged by what this process remembers. That
    is good enough to write by, for the script checks it, but not to refuse by.
    """

    user_id: UserId
    operation_id: str
    change: Change
    key: IdempotencyKey | None
    mark: str
    """Unlike any other append's, of any process."""
    answer: asyncio.Future[Appended] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    fresh: Kept | None = None
    looks: bool = False
    """Whether it must be looked at in the store before it is judged."""
    in_doubt: bool = False
    """Whether it was sent and its answer was lost."""
    began: bool = False
    """Whether the operation begins with it, as it was judged last."""

    @property
    def place(self) -> tuple[UserId, str]:
        """Which operation it is about."""
        return (self.user_id, self.operation_id)


class Judged(NamedTuple):
    """What an append writes."""

    before: Operation | None
    operation: Operation
    entries: Sequence[Entry]


def judge(request: Request, kept: Kept, now_ms: int) -> Judged | None:
    """Apply the change to what is kept; None where nothing is to be written. Raises what the change does."""
    before = kept.operation
    operation = Operation(request.operation_id) if before is None else copy(before)
    entries = request.change(operation, now_ms)
    if not operation.begun or (not entries and operation == before and request.key is None):
        return None
    place(operation, entries)
    request.began = before is None
    return Judged(before, operation, entries)


def arguments(
    request: Request, kept: Kept, judged: Judged, terms: Terms
) -> tuple[Sequence[str], Sequence[str | int]]:
    """The keys and arguments of `append.lua`."""
    operation, own = judged.operation, user_keys(request.user_id)
    keys = [own.open, own.endings, own.finished, own.started, own.resting, own.in_step, own.runs]
    if request.key is not None:
        keys.append(idempotency_key(request.user_id, request.key.key))
    ended = operation.outcome is not None
    args: tuple[str | int, ...] = (
        request.operation_id,
        kept.mark,
        request.mark,
        dump(operation),
        standing(operation),
        json.dumps([[run.run_id, run.holder] for run in operation.runs.values()]),
        operation.started_ms or 0,
        (operation.finished_ms or 0) if ended else operation.updated_ms,
        operation.ending_seq,
        terms.history_ms,
        terms.history_events,
        "" if request.key is None else request.key.fingerprint,
        channel(request.user_id, terms.database),
        *map(dump_entry, judged.entries),
    )
    return keys, args


def repeated(key: IdempotencyKey, epoch: str, place: bytes, fingerprint: bytes) -> Appended:
    """The answer to an append whose key was used. Raises UnprocessableError where it was for another."""
    if fingerprint.decode() != key.fingerprint:
        raise UnprocessableError("Esa Idempotency-Key ya se usó con otros datos")
    seq = int(place)
    return Appended((), created=False, cursor=Cursor(epoch, seq) if seq else None)
