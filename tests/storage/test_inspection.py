"""A look from outside, on both databases."""

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from tests.storage.conftest import Open
from wellnet_sse.storage.database import Database
from wellnet_sse.storage.inspection import check_writes, schema_versions
from wellnet_sse.storage.migrations import NEWEST


async def test_version_is_the_newest_once_migrated(open_database: Open, database_url: str) -> None:
    database = open_database(database_url)
    before, newest = await schema_versions(database)
    assert before is None
    await database.migrate()
    assert await schema_versions(database) == (newest, newest)


def test_newest_version_is_the_one_that_no_other_follows() -> None:
    config = Config()
    config.set_main_option("script_location", "wellnet_sse.storage:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [NEWEST]


async def test_what_is_tried_is_taken_back(database: Database) -> None:
    async def tables() -> set[str]:
        async with database.reading() as connection:
            return set(await connection.run_sync(lambda it: inspect(it).get_table_names()))

    before = await tables()
    await check_writes(database)
    await check_writes(database)
    assert await tables() == before
