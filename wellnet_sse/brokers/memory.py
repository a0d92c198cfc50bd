"""History in this process's memory: for tests and trying out. It is lost with the process."""

import secrets
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from wellnet_sse.brokers.activity import Activity
from wellnet_sse.brokers.alone import Alone
from wellnet_sse.errors import UnprocessableError
from wellnet_sse.progress.broker import (
    LEASE_MS,
    Appended,
    Change,
    Feed,
    Gap,
    IdempotencyKey,
    Page,
    State,
    Wanted,
)
from wellnet_sse.progress.codec import copy
from wellnet_sse.progress.events import Cursor, Record, UserId
from wellnet_sse.progress.operation import Entry, Operation


@dataclass(slots=True)
class _Log:
    """One user's history. It is forgotten, epoch and all, a retention after it was last touched."""

    epoch: str
    touched_ms: int
    seq: int = 0
    floor: int = 0
    """The newest entry that is no longer kept."""
    records: list[Record] = field(default_factory=list)
    operations: dict[str, Operation] = field(default_factory=dict)
    trimmed: dict[str, int] = field(default_factory=dict)
    """The newest forgotten entry of each operation that is still known."""
    keys: dict[str, tuple[str, Appended, int]] = field(default_factory=dict)

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.seq)

    def earliest(self) -> Cursor | None:
        return self.records[0].cursor if self.records else None

    def latest(self) -> Cursor | None:
        return self.cursor if self.seq else None


class MemoryBroker(Alone):
    """`memory://`: the whole contract but for durability.

    `history_ms` and `history_events` bound what is kept of each user; `clock` gives milliseconds since 1970.
    """

    def __init__(self, *, history_ms: int, history_events: int, clock: Callable[[], int]) -> None:
        super().__init__(Activity(), clock)
        self._history_ms = history_ms
        self._history_events = history_events
        self._slack = history_events >> 4  # so that not every append moves a whole list
        self._logs: dict[UserId, _Log] = {}
        self._feed: Feed = lambda _user_id, _records: None

    def attach(self, feed: Feed) -> None:
        """See `Broker.attach`."""
        self._feed = feed

    async def start(self) -> None:
        """See `Broker.start`: there is nothing to open."""

    async def aclose(self) -> None:
        """See `Broker.aclose`: there is nothing to let go of."""

    async def append(
        self, user_id: UserId, operation_id: str, change: Change, *, key: IdempotencyKey | None = None
    ) -> Appended:
        """See `Broker.append`. Nothing is awaited: it is atomic because the loop runs nothing else."""
        at_ms = self._clock()
        log = self._log(user_id, at_ms)
        if key is not None and (known := log.keys.get(key.key)) is not None:
            if known[0] != key.fingerprint:
                raise UnprocessableError("Esa Idempotency-Key ya se usó con otros datos")
            return known[1]._replace(records=(), created=False)
        operation = log.operations.get(operation_id)
        created = operation is None
        if operation is None:
            operation = Operation(operation_id)
        entries = change(operation, at_ms)
        if not operation.begun:
            return Appended((), created=False)
        records = []
        for entry in entries:
            log.seq += 1
            operation.placed(entry, log.seq)
            records.append(Record(log.epoch, log.seq, entry))
        if created:
            log.operations[operation_id] = operation
            if log.floor:
                log.trimmed[operation_id] = log.floor  # a namesake may be forgotten, with what it wrote
        log.records += records
        self._activity.note(user_id, operation)
        surplus = len(log.records) - self._history_events
        if surplus > self._slack:
            self._forget_records(log, surplus)
        appended = Appended(records, created, records[0].cursor if records else None)
        if key is not None:
            log.keys[key.key] = (key.fingerprint, appended, at_ms)
        self._feed(user_id, records)
        return appended

    async def since(
        self, user_id: UserId, cursor: Cursor, *, operation_id: str | None = None, limit: int = 256
    ) -> Page | Gap:
        """See `Broker.since`."""
        log = self._log(user_id, self._clock())
        if cursor.epoch != log.epoch or cursor.seq > log.seq or self._lost(log, cursor.seq, operation_id):
            return Gap(str(cursor), log.earliest(), log.latest())
        later: Iterator[Record] = islice(log.records, max(0, cursor.seq - log.floor), None)
        if operation_id is not None:
            later = (record for record in later if record.event.operation_id == operation_id)
        records = list(islice(later, limit))
        level = next(later, None) is None
        return Page(records, log.cursor if level else records[-1].cursor, level)

    async def state(self, user_id: UserId, wanted: Wanted) -> State:
        """See `Broker.state`."""
        log = self._log(user_id, self._clock())
        if wanted.operation_id is not None:
            one = log.operations.get(wanted.operation_id)
            ended = one is not None and one.outcome is not None
            return State(self._records(log, [one] if one else []), log.cursor, ended)
        operations = [one for one in log.operations.values() if one.outcome is None]
        done = sorted(
            (one for one in log.operations.values() if one.outcome is not None and _is_wanted(one, wanted)),
            key=lambda one: -one.ending_seq,
        )
        return State(self._records(log, operations + done[: wanted.newest]), log.cursor, ended=False)

    async def bounds(self, user_id: UserId) -> tuple[Cursor | None, Cursor | None]:
        """See `Broker.bounds`."""
        log = self._log(user_id, self._clock())
        return log.earliest(), log.latest()

    async def operation(self, user_id: UserId, operation_id: str) -> tuple[Operation, Cursor] | None:
        """See `Broker.operation`."""
        log = self._logs.get(user_id)
        operation = log.operations.get(operation_id) if log else None
        if log is None or operation is None:
            return None
        return copy(operation), Cursor(log.epoch, operation.last_seq)

    async def operations(
        self, user_id: UserId, *, limit: int, before: tuple[int, str] | None = None
    ) -> Sequence[tuple[Operation, Cursor]]:
        """See `Broker.operations`."""
        log = self._logs.get(user_id)
        if log is None:
            return []
        found: list[tuple[int, str]] = []
        for operation in log.operations.values():
            place = (operation.started_ms or 0, operation.operation_id)
            if before is None or place < before:
                insort(found, place)
        newest = [log.operations[operation_id] for _, operation_id in reversed(found[-limit:])]
        return [(copy(one), Cursor(log.epoch, one.last_seq)) for one in newest]

    async def renew(self, holder: str, *, lease_ms: int = LEASE_MS) -> None:
        """See `Broker.renew`."""
        self._activity.renew(holder, self._clock() + lease_ms)

    async def check(self) -> None:
        """See `Broker.check`: it is always there."""

    async def trim(self) -> None:
        """See `Broker.trim`."""
        before_ms = self._clock() - self._history_ms
        for user_id, log in list(self._logs.items()):
            old = next((n for n, r in enumerate(log.records) if r.event.at_ms >= before_ms), len(log.records))
            self._forget_records(log, old)
            ended = sorted((o for o in log.operations.values() if o.outcome), key=lambda o: o.ending_seq)
            surplus = len(ended) - self._history_events
            for number, operation in enumerate(ended):
                if number < surplus or (operation.finished_ms or 0) < before_ms:
                    del log.operations[operation.operation_id]
                    log.trimmed.pop(operation.operation_id, None)
            log.keys = {key: known for key, known in log.keys.items() if known[2] >= before_ms}
            if log.touched_ms < before_ms and not log.records and not log.operations:
                del self._logs[user_id]

    def _log(self, user_id: UserId, at_ms: int) -> _Log:
        log = self._logs.get(user_id)
        if log is None:
            log = self._logs[user_id] = _Log(secrets.token_hex(4), at_ms)
        log.touched_ms = at_ms
        return log

    def _lost(self, log: _Log, seq: int, operation_id: str | None) -> bool:
        if operation_id is None or operation_id not in log.operations:
            return seq < log.floor
        return seq < log.trimmed.get(operation_id, 0)

    def _forget_records(self, log: _Log, count: int) -> None:
        for record in log.records[:count]:
            log.floor = record.seq
            if record.event.operation_id in log.operations:
                log.trimmed[record.event.operation_id] = record.seq
        del log.records[:count]

    def _records(self, log: _Log, operations: Sequence[Operation]) -> list[Record]:
        placed: list[tuple[int, Entry]] = [
            (step.seq, step.event) for one in operations for step in one.steps.values()
        ]
        placed += [(one.ending_seq, one.ending) for one in operations if one.outcome and one.ending]
        return [Record(log.epoch, seq, entry) for seq, entry in sorted(placed)]


def _is_wanted(operation: Operation, wanted: Wanted) -> bool:
    after = wanted.ended_after_seq
    since = wanted.ended_since_ms
    return (after is not None and operation.ending_seq > after) or (
        since is not None and (operation.finished_ms or 0) >= since
    )
