"""The business database: SQLite by default, PostgreSQL by URL."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker

from wellnet_sse.errors import ConfigurationError, UnavailableError
from wellnet_sse.storage import engine, migrations

Batch = Sequence[tuple[str, Sequence[tuple[Any, ...]]]]
"""Statements of the driver, each with its rows."""

_MIGRATION_LOCK = 0x57454C4C  # "WELL": any number will do, so long as all our processes use the same
MIGRATION_WAIT_SECONDS = 30.0
"""How long another process's migrations are waited for: longer than a request may wait for its turn.

On PostgreSQL it is what every statement may take."""
RETRY_AFTER_SECONDS = 5
_AWAY = "La base de datos no está disponible"


class Database:
    """Opens sessions on the database at `url`.

    `sqlite:///path` and `postgresql://user:password@host/name` are enough: the asynchronous driver is
    chosen here.
    `sqlite_synchronous` is SQLite's own pragma: `NORMAL` survives `kill -9`, `FULL` power loss too.
    An in-memory SQLite database has one connection, which its sessions take in turn; it is for tests.

    Raises `ConfigurationError`, without the password, where the URL cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        sqlite_synchronous: engine.Synchronous = "NORMAL",
        connect_timeout_seconds: float = 5.0,
    ) -> None:
        parsed = engine.parse(url)
        self._connect_timeout_seconds = connect_timeout_seconds
        self._engine = engine.open_async(parsed, connect_timeout_seconds=connect_timeout_seconds)
        self._writer, self._next_writer = asyncio.Lock(), asyncio.Lock()
        self._gone_at = 0.0
        self._sqlite_synchronous = sqlite_synchronous
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        self._plain: Engine | None = None
        if self.dialect == "sqlite":
            engine.set_pragmas(self._engine.sync_engine, synchronous=sqlite_synchronous)
        if self.path is not None:
            self._plain = engine.open_plain(parsed)
            engine.set_pragmas(self._plain, synchronous=sqlite_synchronous)
            self._thread = ThreadPoolExecutor(1, "history")

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    @property
    def sql_dialect(self) -> Dialect:
        """What SQLAlchemy compiles statements for."""
        return self._engine.dialect

    @property
    def path(self) -> Path | None:
        """The file of an SQLite database; None for any other."""
        url = self._engine.url
        return None if self.dialect != "sqlite" or engine.in_memory(url) else Path(str(url.database))

    @property
    def in_memory(self) -> bool:
        """Whether it is gone with this process."""
        return self.dialect == "sqlite" and self.path is None

    @property
    def survives_power_loss(self) -> bool:
        """Whether what was committed is still there after the machine lost power."""
        return self.dialect != "sqlite" or self._sqlite_synchronous == "FULL"

    async def migrate(self, *, wait_seconds: float = MIGRATION_WAIT_SECONDS) -> None:
        """Bring the schema to the newest version.

        Two processes may start at once: the second waits, and finds nothing to do. Within one process it is
        called once at a time, because Alembic's context is a global. Raises `ConfigurationError` when the
        schema is newer than this program, `UnavailableError` when the database is away, or somebody else
        writes for longer than `wait_seconds`.
        """
        async with self.writing() as connection:
            await connection.run_sync(_upgrade, wait_ms=round(wait_seconds * 1000))

    @asynccontextmanager
    async def session(self, *, writes: bool = False) -> AsyncIterator[AsyncSession]:
        """Open a transaction, committed when the block ends and rolled back when it raises.

        `writes` must be said of a transaction that does. Keep it short: no router, broker or client is waited
        for inside. Raises `UnavailableError` when the database is away, locked or full.
        """
        async with self._turn(writes=writes), self._sessions.begin() as session:
            await session.connection()
            yield session

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """The same for plain statements that only read."""
        async with self._turn(writes=False), self._engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """The same for plain statements that write."""
        async with self._turn(writes=True), self._engine.begin() as connection:
            yield connection

    async def write_batch(self, batch: Batch) -> None:
        """Execute the driver's own statements, each for all of its rows, in one transaction.

        For whoever writes most: only one at a time, and shielded from cancellation. On SQLite, which has one
        writer at a time, it waits for whoever writes, however many queue: it can have every second turn.
        """
        async with self._turn(writes=True, urgent=True):
            if self._plain is not None:
                # Each step of a transaction is a visit to a thread: here all of them are one.
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._thread, _execute, self._plain, batch)
            else:
                async with self._engine.begin() as connection:
                    for statement, rows in batch:
                        await connection.exec_driver_sql(statement, rows)

    @asynccontextmanager
    async def holding(self) -> AsyncIterator[AsyncConnection]:
        """A connection of its own, outside any transaction, for as long as it is wanted; then closed."""
        async with self._turn(writes=False):
            connection = await self._engine.connect()
            await connection.execution_options(isolation_level="AUTOCOMMIT")
        try:
            yield connection
        finally:
            # Not handed back: what it holds (an advisory lock) ends with it, if it has not ended before.
            with suppress(DBAPIError, OSError):
                await connection.invalidate()
            await connection.close()

    @asynccontextmanager
    async def _turn(self, *, writes: bool, urgent: bool = False) -> AsyncIterator[None]:
        # SQLite has one writer at a time, and lets the others poll: here they queue instead.
        turn = self._queue(urgent=urgent) if writes and self.dialect == "sqlite" else nullcontext()
        try:
            async with turn:
                yield
        except (OSError, PoolTimeoutError) as error:
            raise self._gone() from error
        except DBAPIError as error:
            if not engine.is_away(error):
                raise
            raise self._gone() from error

    @asynccontextmanager
    async def _queue(self, *, urgent: bool) -> AsyncIterator[None]:
        since = time.monotonic()
        async with nullcontext() if urgent else self._next_writer, self._writer:
            # Whoever was ahead may have waited in vain for a lock: then all have who stood behind.
            if since < self._gone_at:
                raise UnavailableError(_AWAY, retry_after_seconds=RETRY_AFTER_SECONDS)
            yield

    def _gone(self) -> UnavailableError:
        self._gone_at = time.monotonic()
        return UnavailableError(_AWAY, retry_after_seconds=RETRY_AFTER_SECONDS)

    async def ping(self) -> None:
        """Return when the database answers; raises `UnavailableError` when it does not in time."""
        try:
            async with asyncio.timeout(self._connect_timeout_seconds), self.reading() as connection:
                await connection.execute(text("SELECT 1"))
        except TimeoutError as error:
            raise UnavailableError(_AWAY, retry_after_seconds=RETRY_AFTER_SECONDS) from error

    async def checkpoint(self) -> None:
        """Move SQLite's log into the database, beside readers and writers; to be called every few seconds."""
        if self.path is not None:
            async with self._turn(writes=False), self._engine.connect() as connection:
                await connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")

    async def aclose(self) -> None:
        """Close every connection."""
        await self._engine.dispose()
        if self._plain is not None:
            self._thread.shutdown()
            self._plain.dispose()


def _execute(plain: Engine, batch: Batch) -> None:
    with plain.begin() as connection:
        for statement, rows in batch:
            connection.exec_driver_sql(statement, rows)


def _upgrade(connection: Connection, *, wait_ms: int) -> None:
    """Run what is missing, alone: both locks are let go at the end of the transaction."""
    if schema_version(connection) == migrations.NEWEST:
        return
    # Only now: it takes as long to load as a server may well be away.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    if connection.dialect.name == "sqlite":
        as_ever = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
        connection.exec_driver_sql(f"PRAGMA busy_timeout={wait_ms}")
        try:
            # Python's sqlite3 opens no transaction before DDL, so that half a migration could remain.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={as_ever}")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    config = Config()
    config.set_main_option("script_location", "wellnet_sse.storage:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigurationError("La base de datos es de una versión más nueva que este programa") from error


def schema_version(connection: Connection) -> str | None:
    """The version of the tables that are there; None where there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return version
