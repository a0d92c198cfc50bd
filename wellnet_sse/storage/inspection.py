"""A look at a database from outside: which tables it has, and whether it can be written."""

from contextlib import suppress

from sqlalchemy import text

from wellnet_sse.storage.database import Database, schema_version
from wellnet_sse.storage.migrations import NEWEST

_PROBE = "wellnet_doctor"


async def schema_versions(database: Database) -> tuple[str | None, str]:
    """The version of the tables that are there (None where there are none), and the newest that is known.

    Raises UnavailableError when the database is away.
    """
    async with database.reading() as connection:
        return await connection.run_sync(schema_version), NEWEST


class _TakenBackError(Exception):
    """A transaction ends, and leaves nothing."""


async def check_writes(database: Database) -> None:
    """Write something, and take it back. Raises UnavailableError where that cannot be done."""
    with suppress(_TakenBackError):
        async with database.writing() as connection:
            if database.dialect == "sqlite":
                # Python's sqlite3 opens no transaction before DDL, and there would be nothing to take back.
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
            await connection.execute(text(f"CREATE TABLE {_PROBE} (n INTEGER)"))
            raise _TakenBackError
