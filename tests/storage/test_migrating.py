"""Another process holds the database while a server starts."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.storage.conftest import Open
from tests.storage.test_unavailable import Pragmas
from wellnet_sse.errors import UnavailableError
from wellnet_sse.storage.database import Database


@pytest.fixture
async def database(open_database: Open, tmp_path: Path) -> Database:
    """An SQLite database in a file, with nothing in it, where nobody waits five seconds for a lock."""
    database = open_database(f"sqlite:///{tmp_path}/wellnet.db")
    Pragmas(database)
    return database


@pytest.fixture
def other(database: Database) -> Iterator[sqlite3.Connection]:
    """Another process, as far as SQLite is concerned."""
    assert database.path is not None
    with closing(sqlite3.connect(database.path, isolation_level=None)) as connection:
        yield connection


async def test_a_migration_of_a_locked_database_is_unavailable(
    database: Database, other: sqlite3.Connection
) -> None:
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError):
        await database.migrate(wait_seconds=0.05)
    other.execute("ROLLBACK")
    await database.migrate()


async def test_a_migration_waits_longer_for_its_turn_than_a_request_does(
    database: Database, other: sqlite3.Connection
) -> None:
    await database.ping()
    other.execute("BEGIN IMMEDIATE")
    migrating = asyncio.create_task(database.migrate())
    done, _ = await asyncio.wait([migrating], timeout=0.3)
    assert not done
    other.execute("ROLLBACK")
    await migrating


async def test_where_nothing_is_to_migrate_no_lock_is_waited_for(
    database: Database, other: sqlite3.Connection
) -> None:
    await database.migrate()
    other.execute("BEGIN IMMEDIATE")
    await database.migrate()
