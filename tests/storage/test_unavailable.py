"""A database that is locked, full or read-only says so, keeps what it has, and serves again by itself."""

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event, insert, select, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from tests.postgres import Postgres
from tests.storage.conftest import Open
from wellnet_sse.errors import UnavailableError
from wellnet_sse.provisioning.tables import Router
from wellnet_sse.storage.database import RETRY_AFTER_SECONDS, Database

Write = Callable[[Database, str], Awaitable[None]]


class Pragmas:
    """What every connection of the database is told before it is used; changed at any time."""

    def __init__(self, database: Database) -> None:
        self.told: dict[str, int] = {"busy_timeout": 20}  # nobody here waits five seconds for a lock

        @event.listens_for(database._engine.sync_engine, "checkout")
        def tell(connection: DBAPIConnection, _record: object, _proxy: object) -> None:
            cursor = connection.cursor()
            for name, value in self.told.items():
                cursor.execute(f"PRAGMA {name}={value}")
            cursor.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wellnet.db"


@pytest.fixture
async def file_database(open_database: Open, path: Path) -> Database:
    """An SQLite database in a file, with a router in it."""
    database = open_database(f"sqlite:///{path}")
    await database.migrate()
    await write_plainly(database, "first")
    return database


@pytest.fixture
def pragmas(file_database: Database) -> Pragmas:
    return Pragmas(file_database)


@pytest.fixture
def other(path: Path, file_database: Database) -> Iterator[sqlite3.Connection]:
    """Another process, as far as SQLite is concerned."""
    assert file_database.path == path
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


async def write_plainly(database: Database, name: str, url: str = "http://a") -> None:
    async with database.writing() as connection:
        await connection.execute(insert(Router).values(name=name, url=url))


async def write_in_a_session(database: Database, name: str) -> None:
    async with database.session(writes=True) as session:
        session.add(Router(name=name, url="http://a"))


BOTH_WAYS = pytest.mark.parametrize("write", [write_plainly, write_in_a_session])


async def names(database: Database) -> list[str]:
    async with database.reading() as connection:
        return list((await connection.execute(select(Router.name).order_by(Router.id))).scalars())


@BOTH_WAYS
async def test_a_locked_database_refuses_to_write_and_serves_again_once_it_is_free(
    file_database: Database, pragmas: Pragmas, other: sqlite3.Connection, write: Write
) -> None:
    assert pragmas.told["busy_timeout"] < 1000
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError) as caught:
        await write(file_database, "second")
    assert caught.value.retry_after_seconds == RETRY_AFTER_SECONDS
    assert await names(file_database) == ["first"]  # readers are not in its way
    other.execute("ROLLBACK")
    await write(file_database, "third")
    assert await names(file_database) == ["first", "third"]


async def test_writers_of_one_process_queue_instead_of_finding_each_other_in_the_way(
    file_database: Database, pragmas: Pragmas
) -> None:
    pragmas.told["busy_timeout"] = 0
    await asyncio.gather(*(write_plainly(file_database, f"router-{n}") for n in range(20)))
    assert len(await names(file_database)) == 21


@BOTH_WAYS
async def test_a_full_disk_refuses_to_write_and_what_is_there_stays(
    file_database: Database, pragmas: Pragmas, write: Write
) -> None:
    pragmas.told["max_page_count"] = 1  # SQLite takes it for: not one page more than there are
    with pytest.raises(UnavailableError) as caught:
        await write(file_database, "x" * 100_000)
    assert caught.value.retry_after_seconds == RETRY_AFTER_SECONDS
    assert await names(file_database) == ["first"]
    pragmas.told["max_page_count"] = 1_000_000
    await write(file_database, "second")
    assert await names(file_database) == ["first", "second"]


async def test_a_disk_that_fills_in_the_middle_leaves_nothing_of_the_transaction(
    file_database: Database, pragmas: Pragmas
) -> None:
    pragmas.told["max_page_count"] = 1

    async def write_two() -> None:
        async with file_database.writing() as connection:
            await connection.execute(insert(Router).values(name="small", url="http://a"))
            await connection.execute(insert(Router).values(name="x" * 100_000, url="http://a"))

    with pytest.raises(UnavailableError):
        await write_two()
    assert await names(file_database) == ["first"]


@BOTH_WAYS
async def test_a_read_only_database_can_be_read(
    file_database: Database, pragmas: Pragmas, write: Write
) -> None:
    pragmas.told["query_only"] = 1
    with pytest.raises(UnavailableError):
        await write(file_database, "second")
    assert await names(file_database) == ["first"]
    pragmas.told["query_only"] = 0
    await write(file_database, "second")
    assert await names(file_database) == ["first", "second"]


async def test_a_folder_that_is_gone_is_unavailable_until_it_is_back(
    open_database: Open, tmp_path: Path
) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    database = open_database(f"sqlite:///{folder}/wellnet.db")
    folder.rmdir()
    with pytest.raises(UnavailableError):
        await database.migrate()
    with pytest.raises(UnavailableError):
        await database.ping()
    folder.mkdir()
    await database.migrate()
    assert await names(database) == []


async def test_a_database_that_does_not_answer_in_time_is_unavailable(open_database: Open) -> None:
    """One that is in memory has one connection, so whoever holds it keeps the others waiting."""
    database = open_database("sqlite://", connect_timeout_seconds=0.05)
    async with database.reading():
        with pytest.raises(UnavailableError):
            await database.ping()
    await database.ping()


async def test_a_connection_that_postgresql_ends_in_the_middle_is_unavailable(
    open_database: Open, postgres: Postgres
) -> None:
    database, other = open_database(await postgres.empty_database()), open_database(postgres.url())
    await database.migrate()

    async def write() -> None:
        async with database.writing() as connection:
            pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            async with other.reading() as killer:
                await killer.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            await connection.execute(insert(Router).values(name="first", url="http://a"))

    with pytest.raises(UnavailableError):
        await write()
    await write_plainly(database, "second")
    assert await names(database) == ["second"]


async def test_a_wrong_statement_is_a_mistake_and_no_unavailability(database: Database) -> None:
    async def ask() -> None:
        async with database.reading() as connection:
            await connection.execute(text("SELECT nothing FROM nowhere"))

    with pytest.raises(DBAPIError, match="nowhere"):
        await ask()


async def test_what_is_done_while_holding_is_seen_at_once_and_the_next_transaction_is_one_again(
    database: Database,
) -> None:
    async with database.holding() as connection:
        await connection.execute(insert(Router).values(name="at once", url="http://a"))
        assert await names(database) == ["at once"]

    async def fail() -> None:
        async with database.writing() as connection:
            await connection.execute(insert(Router).values(name="never", url="http://a"))
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await names(database) == ["at once"]


async def test_a_checkpoint_moves_the_log_into_the_database_beside_a_writer(
    file_database: Database, other: sqlite3.Connection, path: Path, tmp_path: Path
) -> None:
    def in_the_file_itself() -> int:
        """How many routers the database's file has without its log."""
        copy = shutil.copy(path, tmp_path / "copy.db")
        with closing(sqlite3.connect(copy)) as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'routers'")
            if tables.fetchone() == (0,):
                return 0
            return int(connection.execute("SELECT count(*) FROM routers").fetchone()[0])

    assert in_the_file_itself() == 0
    other.execute("BEGIN IMMEDIATE")
    await file_database.checkpoint()
    other.execute("ROLLBACK")
    assert in_the_file_itself() == 1


async def test_a_database_without_a_log_has_no_checkpoint(open_database: Open) -> None:
    database = open_database("sqlite://")
    async with database.reading(), asyncio.timeout(1):  # its only connection is taken
        await database.checkpoint()


# aiosqlite forgets what it opens for somebody who is cancelled: Python closes it, and says so from 3.13 on.
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_connection_whose_user_was_cancelled_serves_the_next(
    open_database: Open, request: pytest.FixtureRequest, kind: str
) -> None:
    """Of the one in memory there is no other: lost, nobody would ever get in again."""
    url = "sqlite://"
    if kind == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = await server.empty_database()
    database = open_database(url)

    async def use() -> None:
        async with database.session() as session:
            await session.execute(text("SELECT 1"))

    for turns in range(40):
        task = asyncio.ensure_future(use())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    async with asyncio.timeout(5):
        await use()
    pool = database._engine.pool
    assert isinstance(pool, QueuePool)
    assert pool.checkedout() == 0


async def test_those_behind_a_writer_that_waited_in_vain_do_not_wait_once_more(
    file_database: Database, pragmas: Pragmas, other: sqlite3.Connection
) -> None:
    tried: list[str] = []

    @event.listens_for(file_database._engine.sync_engine, "before_cursor_execute")
    def note(*execution: object) -> None:
        tried.append(str(execution[2]))

    other.execute("BEGIN IMMEDIATE")
    pragmas.told["busy_timeout"] = 50
    writes = [write_plainly(file_database, f"router-{n}") for n in range(10)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert {type(result) for result in results} == {UnavailableError}
    assert len(tried) == 1
    other.execute("ROLLBACK")
    await write_plainly(file_database, "second")
    assert await names(file_database) == ["first", "second"]
