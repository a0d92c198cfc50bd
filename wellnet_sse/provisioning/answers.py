"""Stored answers, so that the same (user, operation, step) never runs twice at once (protocol §6)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, NamedTuple, cast

from sqlalchemy import ColumnElement, Row, Table, and_, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import UpdateBase

from wellnet_sse.errors import BodyMismatchError
from wellnet_sse.progress.hub import wall_clock_ms
from wellnet_sse.provisioning.tables import Answer
from wellnet_sse.storage.database import Database


class AnswerKey(NamedTuple):
    """Whose answer it is, and to what."""

    user_id: int
    operation_id: str
    step: str


_answers = cast("Table", Answer.__table__)

# Built once: every step of every operation goes through these.
_OF_KEY = tuple(_answers.c[name] == bindparam(f"of_{name}") for name in AnswerKey._fields)
_FIND = select(_answers).where(*_OF_KEY)
_INSERT = {
    "sqlite": sqlite.insert(_answers).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(_answers).on_conflict_do_nothing(),
}
_FINISH = (
    update(_answers)
    .where(*_OF_KEY, _answers.c.attempt == bindparam("of_attempt"), _answers.c.status == "running")
    .values({name: bindparam(name) for name in ("status", "http_status", "message", "finished_at")})
)


class Fresh(NamedTuple):
    """The caller is to do the work, as this attempt (1, 2, …), and then to call `finish`."""

    attempt: int
    abandoned: bool = False
    """Whether somebody who is dead had begun the same, and may have come to its end."""


class Running(NamedTuple):
    """Somebody who is alive is at it."""

    holder: str


class Completed(NamedTuple):
    """It was done; this was answered."""

    http_status: int | None
    message: str | None


Claim = Fresh | Running | Completed


class Answers:
    """Claims and answers, the same to every process on the database.

    A holder names whoever does the work, and `is_alive` tells whether it still does; the claim of one
    that does not counts as failed.
    """

    def __init__(
        self,
        database: Database,
        *,
        is_alive: Callable[[str], Awaitable[bool]],
        now_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._database = database
        self._is_alive = is_alive
        self._now_ms = now_ms

    async def claim(self, key: AnswerKey, *, body_hash: str, holder: str) -> Claim:
        """Say what is to be done about a request.

        `Fresh` is durable when it is returned, and only one caller is given it. Raises `BodyMismatchError`
        when the step is running or completed with another body.
        """
        # Every turn of the loop means that somebody else has just moved the row on.
        while True:
            if await self._insert(key, body_hash=body_hash, holder=holder):
                return Fresh(1)
            row = await self._find(key)
            if row is None:
                continue
            alive = row.status == "running" and await self._is_alive(row.holder)
            if alive or row.status == "completed":
                if row.body_hash != body_hash:
                    raise BodyMismatchError("Este paso ya se pidió con otros datos en la misma operación")
                return Running(row.holder) if alive else Completed(row.http_status, row.message)
            if await self._take_over(key, row, body_hash=body_hash, holder=holder):
                abandoned = row.status == "running" and row.body_hash == body_hash
                return Fresh(row.attempt + 1, abandoned)

    async def finish(
        self,
        key: AnswerKey,
        attempt: int,
        *,
        status: Literal["completed", "failed"],
        http_status: int,
        message: str,
    ) -> bool:
        """Store what was answered; durable when it returns.

        False when the claim is no longer this attempt's, because its holder was taken for dead.
        """
        finished = {
            **_of(key),
            "of_attempt": attempt,
            "status": status,
            "http_status": http_status,
            "message": message,
            "finished_at": self._now_ms(),
        }
        return await self._rows(_FINISH, finished) == 1

    async def abandon(self, key: AnswerKey, attempt: int) -> None:
        """Leave the work undone: its claim has no holder any more, and is anybody's."""
        mine = (_is(key), Answer.attempt == attempt, Answer.status == "running")
        await self._rows(update(Answer).where(*mine).values(holder=""))

    async def outcome(self, key: AnswerKey, claim: Running) -> Running | Completed | None:
        """How the work of somebody else goes on: as it did; or what was answered, also to a failure.

        None where its holder is dead or has left it undone, or somebody else is at it by now.
        """
        row = await self._find(key)
        if row is None or row.holder != claim.holder:
            return None
        if row.status != "running":
            return Completed(row.http_status, row.message)
        return claim if await self._is_alive(row.holder) else None

    async def release_expired(self, older_than_ms: int) -> int:
        """Delete what was finished, or abandoned, before this moment (milliseconds since 1970)."""
        old = func.coalesce(Answer.finished_at, Answer.started_at) < older_than_ms
        async with self._database.session() as session:
            holders = await session.scalars(select(Answer.holder).where(old, Answer.status == "running"))
        alive = [holder for holder in holders if await self._is_alive(holder)]
        over = or_(Answer.status != "running", Answer.holder.not_in(alive))
        return await self._rows(delete(Answer).where(old, over))

    async def _find(self, key: AnswerKey) -> Row[Any] | None:
        async with self._database.reading() as connection:
            return (await connection.execute(_FIND, _of(key))).one_or_none()

    async def _insert(self, key: AnswerKey, *, body_hash: str, holder: str) -> bool:
        begun = {
            **key._asdict(),
            "body_hash": body_hash,
            "holder": holder,
            "status": "running",
            "attempt": 1,
            "started_at": self._now_ms(),
        }
        return await self._rows(_INSERT[self._database.dialect], begun) == 1

    async def _take_over(self, key: AnswerKey, row: Row[Any], *, body_hash: str, holder: str) -> bool:
        """Begin the next attempt, unless somebody else has moved the row on since it was read."""
        statement = (
            update(Answer)
            .where(_is(key), Answer.attempt == row.attempt, Answer.status == row.status)
            .values(
                body_hash=body_hash,
                holder=holder,
                status="running",
                attempt=row.attempt + 1,
                http_status=None,
                message=None,
                started_at=self._now_ms(),
                finished_at=None,
            )
        )
        return await self._rows(statement) == 1

    async def _rows(self, statement: UpdateBase, values: Mapping[str, object] | None = None) -> int:
        async with self._database.writing() as connection:
            return (await connection.execute(statement, values)).rowcount


def _is(key: AnswerKey) -> ColumnElement[bool]:
    return and_(
        Answer.user_id == key.user_id, Answer.operation_id == key.operation_id, Answer.step == key.step
    )


def _of(key: AnswerKey) -> dict[str, object]:
    """The key as `_OF_KEY` takes it."""
    return {f"of_{name}": value for name, value in key._asdict().items()}
