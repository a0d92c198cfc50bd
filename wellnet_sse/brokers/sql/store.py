"""What the broker asks of the database: plain functions over rows, no rules."""

import json
from collections.abc import Collection, Iterable, Sequence
from json.encoder import encode_basestring
from typing import Any, NamedTuple

from sqlalchemy import Insert, Row, Select, and_, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from wellnet_sse.brokers.sql.tables import entries, keys, operations, users
from wellnet_sse.progress.codec import dump, load
from wellnet_sse.progress.events import Ending, Event, Outcome, Record, Status, UserId
from wellnet_sse.progress.operation import Entry, Operation
from wellnet_sse.storage.database import Database


class Kept(NamedTuple):
    """An operation as it is kept: its state, and its newest entry that history no longer holds."""

    user_id: UserId
    operation: Operation
    trimmed_seq: int


class KeyUse(NamedTuple):
    """What an idempotency key was used for, and the first entry that it made."""

    fingerprint: str
    seq: int | None


class Writes:
    """The rows of one commit, each in the order of its statement's columns."""

    def __init__(self) -> None:
        self.entries: list[tuple[Any, ...]] = []
        self.operations: list[tuple[Any, ...]] = []
        self.users: list[tuple[Any, ...]] = []
        self.keys: list[tuple[Any, ...]] = []

    def add_entry(self, user_id: UserId, record: Record) -> None:
        """Log an entry."""
        entry = record.event
        of_kind: tuple[str | None, str, str | None]
        if isinstance(entry, Event):
            # As JSON, because PostgreSQL's text takes no NUL.
            of_kind = (entry.step, entry.status.value, encode_basestring(entry.message))
        else:
            of_kind = (None, entry.outcome.value, None)
        place = (user_id, record.seq, entry.operation_id)
        self.entries.append((*place, *of_kind, entry.progress, entry.at_ms))

    def add_operation(self, user_id: UserId, operation: Operation, trimmed_seq: int) -> None:
        """Keep the operation's state; `trimmed_seq` counts where it is new."""
        name, times = operation.operation_id, (operation.started_ms, operation.finished_ms)
        row = (user_id, name, dump(operation), *times, operation.ending_seq, trimmed_seq)
        self.operations.append(row)

    def add_user(self, user_id: UserId, seq: int) -> None:
        """Move the user on to `seq`."""
        self.users.append((user_id, seq, 0))

    def add_key(self, user_id: UserId, key: str, use: KeyUse, at_ms: int) -> None:
        """Remember an idempotency key."""
        self.keys.append((user_id, key, use.fingerprint, use.seq, at_ms))


class Store:
    """Reads and writes history's tables. Raises what SQLAlchemy raises, and UnavailableError."""

    def __init__(self, database: Database) -> None:
        self._database = database
        kind: Any = sqlite if database.dialect == "sqlite" else postgresql
        put_user, put_operation = kind.insert(users), kind.insert(operations)
        self._put_users = self._compiled(
            put_user.on_conflict_do_update(
                index_elements=[users.c.user_id], set_={"seq": put_user.excluded.seq}
            )
        )
        self._put_operations = self._compiled(
            put_operation.on_conflict_do_update(
                index_elements=[operations.c.user_id, operations.c.operation_id],
                set_={n: put_operation.excluded[n] for n in ("state", "finished_ms", "ending_seq")},
            )
        )
        self._put_entries = self._compiled(insert(entries))
        self._put_keys = self._compiled(insert(keys))

    def _compiled(self, statement: Insert) -> str:
        """The statement as the driver takes it, with a row's columns in the order of the table's.

        Executed thousands of times a second: SQLAlchemy's own way costs more than the database's part.
        """
        return str(statement.compile(dialect=self._database.sql_dialect))

    async def commit(self, writes: Writes) -> None:
        """Write all rows in one transaction; durable when it returns."""
        if not (writes.entries or writes.operations):
            return
        batch = (
            (self._put_users, writes.users),
            (self._put_entries, writes.entries),
            (self._put_operations, writes.operations),
            (self._put_keys, writes.keys),
        )
        await self._database.write_batch([(statement, rows) for statement, rows in batch if rows])

    async def user_places(self, user_ids: Iterable[UserId]) -> dict[UserId, tuple[int, int]]:
        """The (seq, floor) of those users that have a history."""
        rows = await self._rows(select(users).where(users.c.user_id.in_(list(user_ids))))
        return {row.user_id: (row.seq, row.floor) for row in rows}

    async def users_with_unfinished(self) -> list[UserId]:
        """Whose operations have not all ended."""
        unfinished = select(operations.c.user_id).where(operations.c.finished_ms.is_(None)).distinct()
        return [row.user_id for row in await self._rows(unfinished)]

    async def unfinished_or_recent(self, user_ids: Iterable[UserId], since_ms: int) -> list[Kept]:
        """The operations of these users that have not ended, or not before `since_ms`; by activity."""
        finished_ms = operations.c.finished_ms
        wanted = select(operations).where(
            operations.c.user_id.in_(list(user_ids)), or_(finished_ms.is_(None), finished_ms >= since_ms)
        )
        return sorted(await self._kept(wanted), key=lambda kept: kept.operation.updated_ms)

    async def find(self, places: Iterable[tuple[UserId, str]]) -> list[Kept]:
        """These operations, where they are known."""
        place = tuple_(operations.c.user_id, operations.c.operation_id)
        return await self._kept(select(operations).where(place.in_(list(places))))

    async def ended(
        self, user_id: UserId, *, after_seq: int | None, since_ms: int | None, newest: int | None
    ) -> list[Kept]:
        """The user's ended operations whose ending is later than `after_seq` or `since_ms`."""
        later = [operations.c.finished_ms >= since_ms] if since_ms is not None else []
        later += [operations.c.ending_seq > after_seq] if after_seq is not None else []
        wanted = select(operations).where(
            operations.c.user_id == user_id, operations.c.finished_ms.is_not(None), *later
        )
        return await self._kept(wanted.order_by(operations.c.ending_seq.desc()).limit(newest))

    async def newest(self, user_id: UserId, *, limit: int, before: tuple[int, str] | None) -> list[Kept]:
        """The user's operations, newest first by (started_ms, operation_id)."""
        place = tuple_(operations.c.started_ms, operations.c.operation_id)
        wanted = select(operations).where(operations.c.user_id == user_id)
        if before is not None:
            wanted = wanted.where(place < before)
        order = (operations.c.started_ms.desc(), operations.c.operation_id.desc())
        return await self._kept(wanted.order_by(*order).limit(limit))

    async def entries(
        self,
        user_id: UserId,
        epoch: str,
        *,
        after: int,
        upto: int,
        operation_id: str | None = None,
        limit: int,
    ) -> list[Record]:
        """The entries after one place up to another, in order."""
        wanted = select(entries).where(
            entries.c.user_id == user_id, entries.c.seq > after, entries.c.seq <= upto
        )
        if operation_id is not None:
            wanted = wanted.where(entries.c.operation_id == operation_id)
        rows = await self._rows(wanted.order_by(entries.c.seq).limit(limit))
        return [Record(epoch, row.seq, _entry(row)) for row in rows]

    async def key_uses(self, named: Collection[tuple[UserId, str]]) -> dict[tuple[UserId, str], KeyUse]:
        """What these idempotency keys were used for, as far as they were."""
        if not named:
            return {}
        rows = await self._rows(select(keys).where(tuple_(keys.c.user_id, keys.c.key).in_(list(named))))
        return {(row.user_id, row.key): KeyUse(row.fingerprint, row.seq) for row in rows}

    async def floors(self, *, before_ms: int, newest: int) -> dict[UserId, int]:
        """Up to where history is too old or too much: for each user with such entries, the last of them."""
        old = select(entries.c.user_id, func.max(entries.c.seq).label("seq"))
        old = old.where(entries.c.at_ms < before_ms).group_by(entries.c.user_id)
        much = select(users.c.user_id, (users.c.seq - newest).label("seq"))
        much = much.where(users.c.seq - users.c.floor > newest + (newest >> 4))
        floors: dict[UserId, int] = {}
        for row in [*await self._rows(old), *await self._rows(much)]:
            floors[row.user_id] = max(row.seq, floors.get(row.user_id, 0))
        return floors

    async def forget_entries(self, user_id: UserId, floor: int) -> dict[str, int]:
        """Delete the user's entries up to `floor`; gives the last one of each operation among them."""
        old = and_(entries.c.user_id == user_id, entries.c.seq <= floor)
        last = select(entries.c.operation_id, func.max(entries.c.seq).label("seq"))
        async with self._database.writing() as connection:
            rows = (await connection.execute(last.where(old).group_by(entries.c.operation_id))).all()
            last_of_operation: dict[str, int] = {row.operation_id: row.seq for row in rows}
            for operation_id, seq in last_of_operation.items():
                known = and_(operations.c.user_id == user_id, operations.c.operation_id == operation_id)
                await connection.execute(update(operations).where(known).values(trimmed_seq=seq))
            await connection.execute(delete(entries).where(old))
            await connection.execute(update(users).where(users.c.user_id == user_id).values(floor=floor))
        return last_of_operation

    async def forget_ended(self, *, before_ms: int, newest: int) -> dict[UserId, int]:
        """Delete operations and keys from before then, and of each user all but the newest ended ones.

        Gives for each user who had more the oldest ending that is kept.
        """
        oldest_kept: dict[UserId, int] = {}
        ended = operations.c.finished_ms.is_not(None)
        counted = select(operations.c.user_id).where(ended).group_by(operations.c.user_id)
        async with self._database.writing() as connection:
            await connection.execute(delete(operations).where(operations.c.finished_ms < before_ms))
            await connection.execute(delete(keys).where(keys.c.at_ms < before_ms))
            for row in (await connection.execute(counted.having(func.count() > newest))).all():
                mine = and_(operations.c.user_id == row.user_id, ended)
                seqs = select(operations.c.ending_seq).where(mine).order_by(operations.c.ending_seq.desc())
                oldest = (await connection.execute(seqs.offset(newest - 1).limit(1))).scalar_one()
                surplus = and_(mine, operations.c.ending_seq < oldest)
                await connection.execute(delete(operations).where(surplus))
                oldest_kept[row.user_id] = oldest
        return oldest_kept

    async def _kept(self, wanted: Select[Any]) -> list[Kept]:
        rows = await self._rows(wanted)
        return [Kept(row.user_id, load(row.operation_id, row.state), row.trimmed_seq) for row in rows]

    async def _rows(self, wanted: Select[Any]) -> Sequence[Row[Any]]:
        async with self._database.reading() as connection:
            rows: Sequence[Row[Any]] = (await connection.execute(wanted)).all()
            return rows


def _entry(row: Row[Any]) -> Entry:
    if row.step is None:
        return Ending(row.operation_id, Outcome(row.status), row.progress, row.at_ms)
    status = Status(row.status)
    return Event(row.operation_id, row.step, status, json.loads(row.message), row.progress, row.at_ms)
