"""Pending clean-ups: what may still stand in a router, and must be looked at until it is certain.

A record is written before the first removal is sent to a router, and goes when the step's completion is
durable. So whatever befalls the work in between, either its completion is in the log or a record is here.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Select, delete, func, insert, select, update

from wellnet_sse.progress.events import UserId
from wellnet_sse.progress.hub import wall_clock_ms
from wellnet_sse.provisioning.router import WriteState
from wellnet_sse.provisioning.tables import Cleanup
from wellnet_sse.storage.database import Database

WORK_MS = 5 * 60_000
"""A record is let alone for so long after it was begun: by then the work has ended, one way or another."""

FIRST_WAIT_MS = 5_000
LAST_WAIT_MS = 10 * 60_000


class Owner(NamedTuple):
    """For whom a router is cleaned, and under which operation; nobody where nobody is told."""

    user_id: UserId | None = None
    operation_id: str | None = None


class Pending(NamedTuple):
    """A clean-up that is not certain yet. Times are milliseconds since 1970."""

    cleanup_id: int
    owner: Owner
    address: str
    write_state: WriteState
    attempts: int
    created_ms: int
    next_ms: int


class Backlog(NamedTuple):
    """Some clean-ups, and how many there are in all."""

    oldest: Sequence[Pending]
    total: int


class Cleanups:
    """The records, shared by all processes on the database."""

    def __init__(self, database: Database, *, now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._database = database
        self._now_ms = now_ms

    async def begin(self, owner: Owner, address: str, write_state: WriteState) -> int:
        """Record what is known of the write before it goes on; gives the id of the user's record of it.

        A record that is there already stays, and what an earlier attempt has sent stays sent.
        """
        now_ms = self._now_ms()
        latest = {"operation_id": owner.operation_id, "next_ms": now_ms + WORK_MS}
        new = {
            "user_id": owner.user_id,
            "address": address,
            "write_state": write_state.value,
            "attempts": 0,
            "created_ms": now_ms,
            **latest,
        }
        if write_state is not WriteState.NOT_SENT:
            latest["write_state"] = write_state.value
        mine = (Cleanup.user_id.is_not_distinct_from(owner.user_id), Cleanup.address == address)
        async with self._database.writing() as connection:
            if self._database.dialect == "postgresql":  # SQLite has one writer at a time
                one_at_a_time = func.pg_advisory_xact_lock(func.hashtext(f"cleanup {address}"))
                await connection.execute(select(one_at_a_time))
            again = update(Cleanup).where(*mine).values(latest).returning(Cleanup.id)
            cleanup_id = (await connection.execute(again)).scalars().first()
            if cleanup_id is None:
                begun = insert(Cleanup).values(new).returning(Cleanup.id)
                cleanup_id = (await connection.execute(begun)).scalar_one()
            return cleanup_id

    async def confirm(self, cleanup_id: int) -> None:
        """The router was read back, and holds nothing of the address."""
        await self._set(cleanup_id, write_state=WriteState.CONFIRMED.value)

    async def postpone(self, cleanup_id: int, *, attempts: int = 0) -> None:
        """Try again in a while: longer with every attempt, up to ten minutes."""
        wait_ms = min(LAST_WAIT_MS, FIRST_WAIT_MS << min(attempts, 20))
        await self._set(cleanup_id, attempts=attempts, next_ms=self._now_ms() + wait_ms)

    async def hurry(self, cleanup_id: int) -> None:
        """The work is dead: its record need not wait for it."""
        await self._set(cleanup_id, next_ms=self._now_ms())

    async def resolve(self, address: str) -> None:
        """The address is out of its router, and that is told: nothing is pending any more."""
        async with self._database.writing() as connection:
            await connection.execute(delete(Cleanup).where(Cleanup.address == address))

    async def take_due(self, *, limit: int) -> Sequence[Pending]:
        """The records whose time has come; nobody else is given them for a while."""
        now_ms = self._now_ms()
        due = select(Cleanup).where(Cleanup.next_ms <= now_ms).order_by(Cleanup.next_ms).limit(limit)
        taken = []
        for pending in await self._find(due):
            still = (Cleanup.id == pending.cleanup_id, Cleanup.next_ms == pending.next_ms)
            claim = update(Cleanup).where(*still).values(next_ms=now_ms + WORK_MS)
            async with self._database.writing() as connection:
                if (await connection.execute(claim)).rowcount == 1:
                    taken.append(pending)
        return taken

    async def of_user(self, user_id: UserId) -> Sequence[Pending]:
        """The user's pending clean-ups, oldest first."""
        return await self._find(select(Cleanup).where(Cleanup.user_id == user_id).order_by(Cleanup.id))

    async def oldest(self, *, limit: int) -> Backlog:
        """The pending clean-ups of all users, oldest first, but no more than `limit`."""
        found = await self._find(select(Cleanup).order_by(Cleanup.id).limit(limit))
        async with self._database.session() as session:
            total = await session.scalar(select(func.count()).select_from(Cleanup))
        return Backlog(found, total or 0)

    async def _set(self, cleanup_id: int, **values: object) -> None:
        async with self._database.writing() as connection:
            await connection.execute(update(Cleanup).where(Cleanup.id == cleanup_id).values(**values))

    async def _find(self, wanted: Select[Cleanup]) -> Sequence[Pending]:
        async with self._database.session() as session:
            rows = (await session.scalars(wanted)).all()
        return [
            Pending(
                row.id,
                Owner(None if row.user_id is None else UserId(row.user_id), row.operation_id),
                row.address,
                WriteState(row.write_state),
                row.attempts,
                row.created_ms,
                row.next_ms,
            )
            for row in rows
        ]
