"""A look at a database from outside: which tables it has, and whether it can be written."""

from contextlib import suppress

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from wellnet_sse.storage.database import Database

_PROBE = "wellnet_doctor"


async def schema_versions(database: Database) -> tuple[str | None, str]:
    """The version of the tables that are there (None where there are none), and the newest that is known.

    Raises UnavailableError when the database is away.
    """
    config = Config()
    config.set_main_option("script_location", "wellnet_sse.storage:migrations")
    newest = ScriptDirectory.from_config(config).get_current_head()
    async with database.reading() as connection:
        current = await connection.run_sync(lambda it: MigrationContext.configure(it).get_current_revision())
    return current, newest or ""


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
