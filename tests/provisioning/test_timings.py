"""How long steps took is kept in the database, bounded, and known to all processes on it."""

from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from wellnet_sse.progress.paces import KEPT_SAMPLES, Kind, Paces, Sample
from wellnet_sse.provisioning.timings import StepTiming, Timings
from wellnet_sse.storage.database import Database

KIND = Kind("remove-router", "http://router.example")
SAMPLES = [Sample(number, number // 2) for number in range(KEPT_SAMPLES + 5)]


async def test_what_one_process_learns_the_others_learn_once(database: Database) -> None:
    here, there = Paces(), Paces()
    ours, theirs = Timings(database, here), Timings(database, there)
    for sample in SAMPLES[:5]:
        here.add(KIND, sample)
    await ours.keep()
    for timings in (theirs, ours, theirs):
        await timings.keep()
    assert here.of(KIND) == there.of(KIND) == tuple(SAMPLES[:5])
    there.add(KIND, SAMPLES[5])
    await theirs.keep()
    await ours.keep()
    assert here.of(KIND) == there.of(KIND) == tuple(SAMPLES[:6])


async def test_the_newest_of_a_kind_are_kept(database: Database) -> None:
    before = Paces()
    timings = Timings(database, before)
    for sample in SAMPLES:
        before.add(KIND, sample)
    before.add(Kind("other"), Sample(1, 1))
    await timings.keep()
    after = Paces()
    await Timings(database, after).keep()
    assert after.of(KIND) == tuple(SAMPLES[5:])
    assert await rows(database) == KEPT_SAMPLES + 1


async def test_however_many_kinds_there_are_the_newest_are_kept(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wellnet_sse.provisioning.timings.KEPT_ROWS", 10)
    known = Paces()
    timings = Timings(database, known)
    for number in range(30):
        known.add(Kind(f"made-up-{number}"), Sample(1, 1))
    await timings.keep()
    assert await rows(database) == 10


async def rows(database: Database) -> int:
    """How many are kept."""
    async with database.reading() as connection:
        return len((await connection.execute(select(StepTiming.id))).all())


async def test_nothing_is_lost_while_the_database_is_away(tmp_path: Path) -> None:
    known, database = Paces(), Database(f"sqlite:///{tmp_path}/wellnet.db")
    timings = Timings(database, known)
    known.add(KIND, SAMPLES[0])
    with pytest.raises(OperationalError):  # it has no tables yet
        await timings.keep()
    for sample in SAMPLES[1:5]:
        known.add(KIND, sample)
    await database.migrate()
    await timings.keep()
    after = Paces()
    await Timings(database, after).keep()
    assert after.of(KIND) == tuple(SAMPLES[:5])
    await database.aclose()
