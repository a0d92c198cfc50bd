"""How long steps took: kept in the database, apart from history, which is trimmed; for all its processes."""

import secrets
from collections import deque
from collections.abc import Collection

from sqlalchemy import Delete, String, delete, func, insert, select
from sqlalchemy.orm import Mapped, mapped_column

from wellnet_sse.progress.paces import KEPT_SAMPLES, Kind, Paces, Sample
from wellnet_sse.storage.database import Database
from wellnet_sse.storage.schema import BIG, Base

KEEP_SECONDS = 5.0
"""How often what is new is written and read: a server that dies forgets no more than that."""
KEPT_ROWS = 20_000
"""Of all kinds together, the newest."""
WAITING_ROWS = 1_000
"""While the database is away, the newest."""


class StepTiming(Base):
    """A step that was completed, by the process `holder`."""

    __tablename__ = "step_timings"

    id: Mapped[int] = mapped_column(BIG, primary_key=True)
    step: Mapped[str] = mapped_column(String(64))
    place: Mapped[str] = mapped_column(String(500))
    duration_ms: Mapped[int] = mapped_column(BIG)
    silence_ms: Mapped[int] = mapped_column(BIG)
    holder: Mapped[str] = mapped_column(String(16))


class Timings:
    """Keeps what `paces` learns, and lets it learn what other processes did."""

    def __init__(self, database: Database, paces: Paces) -> None:
        self._database = database
        self._paces = paces
        self._holder = secrets.token_hex(8)
        self._seen = 0
        self._new: deque[tuple[Kind, Sample]] = deque(maxlen=WAITING_ROWS)
        paces.tell = lambda kind, sample: self._new.append((kind, sample))

    async def keep(self) -> None:
        """Write what is new here, and read what is new there. Raises UnavailableError, and loses nothing."""
        new, self._new = self._new, deque(maxlen=WAITING_ROWS)
        try:
            await self._write(new)
        except BaseException:
            new.extend(self._new)
            self._new = new
            raise
        await self._read()

    async def _write(self, new: Collection[tuple[Kind, Sample]]) -> None:
        if not new:
            return
        rows = [{**kind._asdict(), **sample._asdict(), "holder": self._holder} for kind, sample in new]
        async with self._database.writing() as connection:
            await connection.execute(insert(StepTiming), rows)
            await connection.execute(_too_many())

    async def _read(self) -> None:
        others = select(StepTiming).where(StepTiming.id > self._seen, StepTiming.holder != self._holder)
        async with self._database.reading() as connection:
            found = (await connection.execute(others.order_by(StepTiming.id))).all()
        for row in found:
            self._paces.learn(Kind(row.step, row.place), Sample(row.duration_ms, row.silence_ms))
            self._seen = row.id


def _too_many() -> Delete:
    """What is more than is kept of a kind, and of all."""
    place = func.row_number().over(
        partition_by=(StepTiming.step, StepTiming.place), order_by=StepTiming.id.desc()
    )
    ranked = select(StepTiming.id, place.label("place_of_kind")).subquery()
    older = select(ranked.c.id).where(ranked.c.place_of_kind > KEPT_SAMPLES)
    newest = select(func.max(StepTiming.id)).scalar_subquery()
    return delete(StepTiming).where(StepTiming.id.in_(older) | (StepTiming.id <= newest - KEPT_ROWS))
