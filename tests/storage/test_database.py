import asyncio
import logging
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, func, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

import wellnet_sse.app  # noqa: F401 - declares every table
from tests.postgres import Postgres
from tests.storage.conftest import Open
from wellnet_sse.errors import ConfigurationError, UnavailableError
from wellnet_sse.provisioning.tables import Assignment, Router
from wellnet_sse.storage.database import Database
from wellnet_sse.storage.schema import Base


async def test_migrations_make_exactly_the_models_schema(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, Base.metadata))

    async with database.session() as session:
        connection = await session.connection()
        assert await connection.run_sync(differences) == []


async def test_migrations_write_the_same_sql_as_the_models(open_database: Open, tmp_path: Path) -> None:
    """Names, checks and defaults too, which Alembic's comparison passes over."""
    statement = text("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name <> 'alembic_version'")
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        Base.metadata.create_all(connection)
        of_the_models = set(connection.execute(statement).scalars())
    engine.dispose()
    database = open_database(f"sqlite:///{tmp_path}/wellnet.db")
    await database.migrate()
    async with database.session() as session:
        assert set((await session.execute(statement)).scalars()) == of_the_models


async def test_migrating_again_keeps_what_is_there(database: Database) -> None:
    async with database.session(writes=True) as session:
        session.add(Router(name="a", url="http://a"))
    await database.migrate()
    async with database.session() as session:
        assert await session.scalar(select(Router.name)) == "a"


async def test_migrating_leaves_the_applications_logging_alone(
    open_database: Open, database_url: str
) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("wellnet_sse").disabled)
    database = open_database(database_url)
    await database.migrate()
    assert (root.level, list(root.handlers), logging.getLogger("wellnet_sse").disabled) == before


async def test_processes_that_start_at_once_all_find_the_schema(database_url: str) -> None:
    program = (
        "import asyncio, sys\n"
        "from wellnet_sse.storage.database import Database\n"
        "async def main():\n"
        "    database = Database(sys.argv[1])\n"
        "    sys.stdin.readline()\n"
        "    await database.migrate()\n"
        "    await database.aclose()\n"
        "asyncio.run(main())\n"
    )
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            database_url,
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(2)
    ]
    outputs = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [process.returncode for process in processes] == [0, 0], outputs


async def test_a_migration_that_fails_leaves_nothing_half_made(
    open_database: Open, database_url: str
) -> None:
    database = open_database(database_url)
    async with database.session(writes=True) as session:
        await session.execute(text("CREATE TABLE answers (in_the_way INTEGER)"))
    with pytest.raises(DBAPIError):
        await database.migrate()
    async with database.session() as session:
        connection = await session.connection()
        assert await connection.run_sync(lambda it: inspect(it).get_table_names()) == ["answers"]


async def test_a_schema_from_the_future_is_refused(open_database: Open, database_url: str) -> None:
    database = open_database(database_url)
    await database.migrate()
    async with database.session(writes=True) as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="más nueva"):
        await database.migrate()


async def test_a_session_that_raises_leaves_nothing(database: Database) -> None:
    async def fail() -> None:
        async with database.session(writes=True) as session:
            session.add(Router(name="a", url="http://a"))
            await session.flush()
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    async with database.session() as session:
        assert await session.scalar(select(func.count()).select_from(Router)) == 0


async def test_foreign_keys_are_enforced(database: Database) -> None:
    async def add() -> None:
        async with database.session(writes=True) as session:
            session.add(Assignment(connection_id=999, service="x"))

    with pytest.raises(IntegrityError):
        await add()


@pytest.mark.parametrize(("synchronous", "level"), [("NORMAL", 1), ("FULL", 2)])
async def test_sqlite_is_opened_for_many_readers(
    open_database: Open, tmp_path: Path, synchronous: str, level: int
) -> None:
    database = open_database(f"sqlite+aiosqlite:///{tmp_path}/wellnet.db", sqlite_synchronous=synchronous)
    await database.migrate()
    async with database.session() as session:
        values = [
            await session.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
        ]
    assert values == ["wal", 1, 5000, level]


async def test_sessions_in_memory_do_not_end_each_others_work(open_database: Open) -> None:
    database = open_database("sqlite://")
    await database.migrate()
    entered = asyncio.Event()

    async def roll_back() -> None:
        async with database.session(writes=True) as session:
            session.add(Router(name="no", url="http://no"))
            await session.flush()
            entered.set()
            await asyncio.sleep(0)
            raise LookupError

    async def commit() -> None:
        await entered.wait()
        async with database.session(writes=True) as session:
            session.add(Router(name="yes", url="http://yes"))

    results = await asyncio.gather(roll_back(), commit(), return_exceptions=True)
    assert [type(result) for result in results] == [LookupError, type(None)]
    async with database.session() as session:
        assert list(await session.scalars(select(Router.name))) == ["yes"]


def add_router(database: Database) -> str:
    return str(insert(Router).compile(dialect=database.sql_dialect, column_keys=["name", "url"]))


async def test_a_batch_waits_for_whoever_writes_and_for_nobody_else(
    open_database: Open, tmp_path: Path
) -> None:
    database = open_database(f"sqlite:///{tmp_path}/wellnet.db")
    await database.migrate()
    order: list[str] = []

    async def write(name: str) -> None:
        async with database.writing():
            order.append(name)
            await asyncio.sleep(0)

    async def write_batch() -> None:
        await database.write_batch([(add_router(database), [("a", "http://a"), ("b", "http://b")])])
        order.append("batch")

    async with asyncio.TaskGroup() as tasks:
        for n in range(5):
            tasks.create_task(write(str(n)))
        tasks.create_task(write_batch())
    assert order.index("batch") == 1
    async with database.session() as session:
        assert list(await session.scalars(select(Router.name))) == ["a", "b"]


async def test_a_batch_that_fails_leaves_nothing_of_itself(database: Database) -> None:
    with pytest.raises(IntegrityError):
        await database.write_batch([(add_router(database), [("a", "http://a"), ("a", "http://b")])])
    async with database.session() as session:
        assert await session.scalar(select(func.count()).select_from(Router)) == 0


async def test_ping_returns_when_the_database_answers(database: Database) -> None:
    await database.ping()


async def test_a_postgresql_that_is_away_is_unavailable(open_database: Open, tmp_path: Path) -> None:
    database = open_database(f"postgresql://user:s3creto@/wellnet?host={tmp_path}")
    with pytest.raises(UnavailableError) as caught:
        await database.ping()
    assert "s3creto" not in str(caught.value)
    with pytest.raises(UnavailableError):
        await database.migrate()


async def test_an_unknown_postgresql_database_is_unavailable(open_database: Open, postgres: Postgres) -> None:
    database = open_database(postgres.url("nobody_made_me"))
    with pytest.raises(UnavailableError):
        await database.ping()


async def test_a_lost_postgresql_connection_is_replaced(open_database: Open, postgres: Postgres) -> None:
    database = open_database(await postgres.empty_database())
    other = open_database(postgres.url())
    await database.ping()
    async with other.session() as session:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
        name = database._engine.url.database
        assert (await session.execute(text(ended), {"name": name})).scalar_one() is True
    await database.ping()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "wellnet.db",
        "mysql://user:s3creto@host/name",
        "postgresql+psycopg2://user:s3creto@host/name",
        "postgresql://user:s3creto@host:puerto/name",
        "postgresql//user:s3creto@host",
    ],
)
def test_a_bad_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Database(url)
    assert "s3creto" not in caught.value.detail
    assert caught.value.__cause__ is None


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=str(tmp_path / "no")):
        Database(f"sqlite:///{tmp_path}/no/wellnet.db")


def test_libpqs_sslmode_is_understood(open_database: Open) -> None:
    database = open_database("postgresql://user@host/name?sslmode=require")
    assert dict(database._engine.url.query) == {"ssl": "require"}


async def test_a_pool_that_is_used_up_is_unavailable_for_now(
    open_database: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database("sqlite://")
    monkeypatch.setattr(database._engine.pool, "_timeout", 0.05)
    async with database.reading():
        with pytest.raises(UnavailableError):
            async with database.reading():
                pytest.fail("there is only one connection")
    await database.ping()


async def test_what_was_held_is_not_handed_to_the_next(open_database: Open, postgres: Postgres) -> None:
    """An advisory lock belongs to its connection, and would outlive its holder in the pool."""
    database = open_database(await postgres.empty_database())
    other = open_database(postgres.url("wellnet"))
    lock = text("SELECT pg_try_advisory_lock(1)")
    async with database.holding() as connection:
        assert (await connection.execute(lock)).scalar_one() is True
        async with other.holding() as second:
            assert (await second.execute(lock)).scalar_one() is False
    async with asyncio.timeout(5), other.holding() as second:
        await second.execute(text("SELECT pg_advisory_lock(1)"))  # waits until PostgreSQL has noticed
