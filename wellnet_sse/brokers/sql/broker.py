"""The `sql` broker: durable history in the database, for one process at a time."""

import logging
import secrets
from collections.abc import Callable, Sequence

from wellnet_sse.brokers.alone import Alone
from wellnet_sse.brokers.sql import identity
from wellnet_sse.brokers.sql.cache import RECENT_MS, Cache, Known
from wellnet_sse.brokers.sql.lock import ProcessLock
from wellnet_sse.brokers.sql.store import Kept, Store
from wellnet_sse.brokers.sql.writer import Writer
from wellnet_sse.errors import ConfigurationError, UnavailableError
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
from wellnet_sse.storage.database import Database

log = logging.getLogger(__name__)

TRIM_ENTRIES = 5000
"""How many entries are forgotten at a time, so that no publisher waits long for it."""


class SqlBroker(Alone):
    """`sql://`, on SQLite or PostgreSQL.

    `history_ms` and `history_events` bound what is kept of each user; `lock_wait_seconds` is how long another
    process may take to end; `clock` gives milliseconds since 1970.

    One process writes, so what it has committed is all there is: active operations and the newest entries
    are served from memory, the rest from the database.
    """

    def __init__(
        self,
        database: Database,
        *,
        history_ms: int,
        history_events: int,
        lock_wait_seconds: float,
        clock: Callable[[], int],
    ) -> None:
        self._database = database
        self._store = Store(database)
        self._cache = Cache(self._store)
        super().__init__(self._cache.activity, clock)
        self._lock = ProcessLock(database)
        self._owner = secrets.token_hex(8)
        self._history_ms = history_ms
        self._history_events = history_events
        self._lock_wait_seconds = lock_wait_seconds
        self._feed: Feed = lambda _user_id, _records: None
        self._witnessed = identity.Witnessed("", 0)
        self._writer: Writer | None = None

    def attach(self, feed: Feed) -> None:
        """See `Broker.attach`."""
        self._feed = feed

    async def start(self) -> None:
        """See `Broker.start`."""
        await self._open(self._lock_wait_seconds)

    async def _open(self, wait_seconds: float) -> None:
        await self._lock.acquire(wait_seconds=wait_seconds)
        witnessed = identity.Witnessed.parse(self._lock.noted())
        self._witnessed = await identity.claim_epoch(self._database, self._owner, witnessed)
        self._lock.note(str(self._witnessed))
        await self._cache.load(await self._store.users_with_unfinished(), self._clock())
        epoch = self._witnessed.epoch
        if witnessed is not None and witnessed.epoch != epoch:
            log.warning("history_replaced", extra={"epoch": epoch, "was": witnessed.epoch})
        self._writer = Writer(
            self._store, self._cache, epoch, self._clock, feed=self._publish, committed=self._witness
        )

    async def _take_again(self) -> None:
        """Stop writing, and take the lock anew: another process may have had it, and what is known be old."""
        log.warning("history_lock_lost")
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.abandon()
        await self._lock.release()
        self._cache.clear()
        try:
            await self._open(0.1)
        except ConfigurationError as error:
            raise UnavailableError(error.detail, retry_after_seconds=5) from error

    async def aclose(self) -> None:
        """See `Broker.aclose`."""
        if self._writer is not None:
            await self._writer.aclose()
            self._writer = None
            await identity.close_cleanly(self._database, self._owner)
        await self._lock.release()

    async def append(
        self, user_id: UserId, operation_id: str, change: Change, *, key: IdempotencyKey | None = None
    ) -> Appended:
        """See `Broker.append`."""
        return await self._running().append(user_id, operation_id, change, key)

    async def since(
        self, user_id: UserId, cursor: Cursor, *, operation_id: str | None = None, limit: int = 256
    ) -> Page | Gap:
        """See `Broker.since`."""
        known = await self._known(user_id)
        epoch, upto = self._epoch_of(user_id), known.seq
        if cursor.epoch != epoch or cursor.seq > upto:
            return Gap(str(cursor), *self._bounds(user_id, known))
        records = known.tail_after(cursor.seq)
        if records is None:
            records = await self._store.entries(
                user_id, epoch, after=cursor.seq, upto=upto, operation_id=operation_id, limit=limit + 1
            )
        elif operation_id is not None:
            records = [record for record in records if record.event.operation_id == operation_id]
        # Asked after they were read: what was forgotten in between is not among them.
        if await self._lost(user_id, known, cursor.seq, operation_id):
            return Gap(str(cursor), *self._bounds(user_id, known))
        if len(records) > limit:
            return Page(records[:limit], records[limit - 1].cursor, level=False)
        return Page(records, Cursor(epoch, upto), level=upto == known.seq)

    async def state(self, user_id: UserId, wanted: Wanted) -> State:
        """See `Broker.state`."""
        known = await self._known(user_id)
        if wanted.operation_id is not None:
            kept = known.operations.get(wanted.operation_id)
            if kept is None:  # then it has ended a while ago, or is not known; nothing may change meanwhile
                async with self._running().turn:
                    found = await self._store.find([(user_id, wanted.operation_id)])
                    kept = found[0] if found else None
                    return self._state(user_id, known, [kept.operation] if kept else [], one=True)
            return self._state(user_id, known, [kept.operation], one=True)
        active = [kept.operation for kept in known.operations.values() if kept.operation.outcome is None]
        if wanted.ended_after_seq is None and wanted.ended_since_ms is None:
            return self._state(user_id, known, active)
        if wanted.ended_after_seq is None and (wanted.ended_since_ms or 0) > self._clock() - RECENT_MS // 2:
            recent = [kept.operation for kept in known.operations.values() if _ended_since(kept, wanted)]
            recent.sort(key=lambda operation: -operation.ending_seq)
            return self._state(user_id, known, active + recent[: wanted.newest])
        async with self._running().turn:
            ended = await self._store.ended(
                user_id,
                after_seq=wanted.ended_after_seq,
                since_ms=wanted.ended_since_ms,
                newest=wanted.newest,
            )
            active = [kept.operation for kept in known.operations.values() if kept.operation.outcome is None]
            return self._state(user_id, known, active + [kept.operation for kept in ended])

    async def bounds(self, user_id: UserId) -> tuple[Cursor | None, Cursor | None]:
        """See `Broker.bounds`."""
        return self._bounds(user_id, await self._known(user_id))

    async def operation(self, user_id: UserId, operation_id: str) -> tuple[Operation, Cursor] | None:
        """See `Broker.operation`."""
        known = await self._known(user_id)
        kept = known.operations.get(operation_id)
        if kept is None:
            found = await self._store.find([(user_id, operation_id)])
            kept = found[0] if found else None
        if kept is None:
            return None
        return copy(kept.operation), Cursor(self._epoch_of(user_id), kept.operation.last_seq)

    async def operations(
        self, user_id: UserId, *, limit: int, before: tuple[int, str] | None = None
    ) -> Sequence[tuple[Operation, Cursor]]:
        """See `Broker.operations`."""
        found = await self._store.newest(user_id, limit=limit, before=before)
        epoch = self._epoch_of(user_id)
        return [(kept.operation, Cursor(epoch, kept.operation.last_seq)) for kept in found]

    async def renew(self, holder: str, *, lease_ms: int = LEASE_MS) -> None:
        """See `Broker.renew`; also looks whether history is still ours to write."""
        if self._writer is None or not await self._lock.is_held():
            await self._take_again()
        self._activity.renew(holder, self._clock() + lease_ms)

    async def check(self) -> None:
        """See `Broker.check`."""
        if self._running().failing:
            # It could be read, perhaps; whether it can be written shows when it is.
            await identity.touch(self._database, self._owner)
            self._running().failing = False
        await self._database.ping()

    async def trim(self) -> None:
        """See `Broker.trim`."""
        now_ms = self._clock()
        before_ms = now_ms - self._history_ms
        turn = self._running().turn
        for user_id, floor in (
            await self._store.floors(before_ms=before_ms, newest=self._history_events)
        ).items():
            first = (await self._known(user_id)).floor
            for upto in [*range(first + TRIM_ENTRIES, floor, TRIM_ENTRIES), floor]:
                async with turn:
                    gone = await self._store.forget_entries(user_id, upto)
                    self._cache.trimmed(user_id, upto, gone)
        async with turn:
            oldest_kept = await self._store.forget_ended(before_ms=before_ms, newest=self._history_events)
            self._cache.evict_ended(max(before_ms, now_ms - RECENT_MS), oldest_kept)
            self._cache.evict_idle(now_ms - RECENT_MS)

    def _publish(self, user_id: UserId, records: Sequence[Record]) -> None:
        self._feed(user_id, records)

    def _witness(self, entries: int) -> None:
        """Note outside the database that it has so many more, before anybody sees them."""
        self._witnessed = self._witnessed._replace(entries=self._witnessed.entries + entries)
        self._lock.note(str(self._witnessed))

    def _running(self) -> Writer:
        if self._writer is None:
            raise UnavailableError("El historial no está abierto", retry_after_seconds=2)
        return self._writer

    async def _known(self, user_id: UserId) -> Known:
        known = self._cache.get(user_id, self._clock())
        if known is not None:
            return known
        async with self._running().turn:
            await self._cache.load([user_id], self._clock())
            known = self._cache.get(user_id, self._clock())
        if known is None:
            raise RuntimeError("a user that was just loaded is known")
        return known

    async def _lost(self, user_id: UserId, known: Known, seq: int, operation_id: str | None) -> bool:
        """Whether entries after `seq`, of the operation if one is given, may be gone."""
        if seq >= known.floor:
            return False
        if operation_id is None:
            return True
        kept = known.operations.get(operation_id)
        if kept is None:
            found = await self._store.find([(user_id, operation_id)])
            kept = found[0] if found else None
        return True if kept is None else seq < kept.trimmed_seq

    def _epoch_of(self, user_id: UserId) -> str:
        return identity.epoch_of(self._witnessed.epoch, user_id)

    def _bounds(self, user_id: UserId, known: Known) -> tuple[Cursor | None, Cursor | None]:
        epoch = self._epoch_of(user_id)
        earliest = Cursor(epoch, known.floor + 1) if known.floor < known.seq else None
        return earliest, Cursor(epoch, known.seq) if known.seq else None

    def _state(
        self, user_id: UserId, known: Known, operations: Sequence[Operation], *, one: bool = False
    ) -> State:
        placed: list[tuple[int, Entry]] = []
        for operation in operations:
            placed += [(step.seq, step.event) for step in operation.steps.values()]
            if operation.outcome is not None and operation.ending is not None:
                placed.append((operation.ending_seq, operation.ending))
        epoch = self._epoch_of(user_id)
        records = [Record(epoch, seq, entry) for seq, entry in sorted(placed)]
        ended = one and bool(operations) and operations[0].outcome is not None
        return State(records, Cursor(epoch, known.seq), ended)


def _ended_since(kept: Kept, wanted: Wanted) -> bool:
    finished_ms = kept.operation.finished_ms
    return finished_ms is not None and finished_ms >= (wanted.ended_since_ms or 0)
