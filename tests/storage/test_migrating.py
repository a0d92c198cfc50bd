"""Another process holds the database while a server starts."""

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
        await database.migrate()
    other.execute("ROLLBACK")
    await database.migrate()


async def test_where_nothing_is_to_migrate_no_lock_is_waited_for(
    database: Database, other: sqlite3.Connection
) -> None:
    await database.migrate()
    other.execute("BEGIN IMMEDIATE")
    await database.migrate()
