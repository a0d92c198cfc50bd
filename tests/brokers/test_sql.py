"""What only the broker in a database can get wrong."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from tests.brokers.changes import name, update
from tests.postgres import Postgres
from tests.progress.clock import FakeClock
from wellnet_sse.brokers.sql import SqlBroker
from wellnet_sse.brokers.sql.store import Writes
from wellnet_sse.errors import UnavailableError
from wellnet_sse.progress.events import UserId
from wellnet_sse.progress.operation import Operation
from wellnet_sse.storage.database import Database

USER = UserId(7)


@pytest.fixture
async def sql_broker(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqlBroker]:
    database = Database(f"sqlite:///{tmp_path}/wellnet.db")
    await database.migrate()
    broker = SqlBroker(
        database,
        history_ms=86_400_000,
        history_events=100,
        lock_wait_seconds=1,
        clock=clock.wall_ms,
    )
    await broker.start()
    yield broker
    await broker.aclose()
    await database.aclose()


async def test_what_could_not_be_written_is_still_looked_after(
    sql_broker: SqlBroker, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed commit must not hide the user's operations from whoever ends the silent ones."""
    broker = sql_broker
    await broker.append(USER, "op", name("a"))

    async def full(_writes: Writes) -> None:
        raise UnavailableError("disk full")

    monkeypatch.setattr(broker._store, "commit", full)
    with pytest.raises(UnavailableError):
        await broker.append(USER, "op", update("a"))
    with pytest.raises(UnavailableError):
        await broker.append(USER, "another", update("a"))
    assert broker._running().failing
    monkeypatch.undo()

    clock.advance(60)
    assert await broker.silent(clock.wall_ms()) == [(USER, "op")]
    assert broker.active_operations() == 1
    await broker.check()
    assert not broker._running().failing
    assert (await broker.append(USER, "op", update("a"))).records[0].cursor.seq == 2


async def test_a_chore_that_changes_nothing_writes_nothing(
    sql_broker: SqlBroker, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = sql_broker
    await broker.append(USER, "op", update("a"))
    written: list[Writes] = []

    async def note(writes: Writes) -> None:
        written.append(writes)

    monkeypatch.setattr(broker._store, "commit", note)
    clock.advance(1)
    await broker.append(USER, "op", partial(Operation.expire, idle_ms=60_000, silence_ms=60_000))
    assert [len(it.operations) for it in written] == [0]
    assert await broker.silent(clock.wall_ms(), in_step_before_ms=0) == []


async def test_a_lock_that_was_lost_with_its_connection_is_taken_again(
    postgres: Postgres, clock: FakeClock
) -> None:
    """While it is another's, nothing is written here."""
    url = await postgres.empty_database()
    database, other_database = Database(url), Database(url)
    await database.migrate()

    def broker_on(shared: Database) -> SqlBroker:
        return SqlBroker(
            shared, history_ms=86_400_000, history_events=100, lock_wait_seconds=1, clock=clock.wall_ms
        )

    mine, others = broker_on(database), broker_on(other_database)
    await mine.start()
    await mine.append(USER, "op", name("a"))
    async with other_database.writing() as connection:
        kill = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        await connection.exec_driver_sql(kill)
    await others.start()
    await others.append(USER, "op", update("a"))
    with pytest.raises(UnavailableError):
        await mine.renew("me")
    with pytest.raises(UnavailableError):
        await mine.append(USER, "op", update("a"))
    await others.aclose()
    await mine.renew("me")
    assert (await mine.append(USER, "op", update("a"))).records[0].cursor.seq == 3
    await mine.aclose()
    for each in (database, other_database):
        await each.aclose()
