"""The business database: SQLite by default, PostgreSQL by URL."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Literal

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Dialect, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from wellnet_sse.errors import ConfigurationError, UnavailableError

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
_MIGRATION_LOCK = 0x57454C4C  # "WELL": any number will do, so long as all our processes use the same
RETRY_AFTER_SECONDS = 5
WAL_LIMIT_PAGES = 16384
"""64 MiB: past it a commit moves SQLite's log into the database itself, and waits for the disk.

Before that `Database.checkpoint` does, which makes nobody wait."""
# Connection, authorization, catalog, resources (a full disk), operator's intervention, system.
_AWAY_SQLSTATES = frozenset({"08", "28", "3D", "53", "57", "58"})
_AWAY_SQLITE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
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
        sqlite_synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
        connect_timeout_seconds: float = 5.0,
    ) -> None:
        parsed = _parse(url)
        self._connect_timeout_seconds = connect_timeout_seconds
        self._engine = _open(parsed, connect_timeout_seconds=connect_timeout_seconds)
        self._writer, self._next_writer = asyncio.Lock(), asyncio.Lock()
        self._gone_at = 0.0
        self._sqlite_synchronous = sqlite_synchronous
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        if parsed.get_backend_name() == "sqlite":
            pragmas = (
                "PRAGMA busy_timeout=5000",  # first: the others may have to wait for another process
                "PRAGMA journal_mode=WAL",
                f"PRAGMA wal_autocheckpoint={WAL_LIMIT_PAGES}",
                f"PRAGMA synchronous={sqlite_synchronous}",
                "PRAGMA foreign_keys=ON",
            )

            @event.listens_for(self._engine.sync_engine, "connect")
            def set_pragmas(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
                cursor = connection.cursor()
                for pragma in pragmas:
                    cursor.execute(pragma)
                cursor.close()

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
        return None if self.dialect != "sqlite" or _in_memory(url) else Path(str(url.database))

    @property
    def survives_power_loss(self) -> bool:
        """Whether what was committed is still there after the machine lost power."""
        return self.dialect != "sqlite" or self._sqlite_synchronous == "FULL"

    async def migrate(self) -> None:
        """Bring the schema to the newest version.

        Two processes may start at once: the second waits, and finds nothing to do. Within one process it is
        called once at a time, because Alembic's context is a global. Raises `ConfigurationError` when the
        schema is newer than this program, `UnavailableError` when the database is away.
        """
        async with self.writing() as connection:
            await connection.run_sync(_upgrade)

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
    async def writing(self, *, urgent: bool = False) -> AsyncIterator[AsyncConnection]:
        """The same for plain statements that write.

        On SQLite, which has one writer at a time, an `urgent` one waits for whoever writes, however many
        queue. There is to be one of its kind at a time: it can have every second turn.
        """
        async with self._turn(writes=True, urgent=urgent), self._engine.begin() as connection:
            yield connection

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
            if not _is_away(error):
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


def _is_away(error: DBAPIError) -> bool:
    """Whether the database cannot serve, as against: was asked for something wrong."""
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state)[:2] in _AWAY_SQLSTATES
    # A driver wraps what the database said: the code is with the innermost.
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _AWAY_SQLITE


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # `from None`: SQLAlchemy's own error may quote the URL, and with it the password.
        raise ConfigurationError("WELLNET_DATABASE_URL: la URL de la base de datos no se entiende") from None
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None:
        raise ConfigurationError("WELLNET_DATABASE_URL: debe empezar por sqlite:// o postgresql://")
    parsed = parsed.set(drivername=driver)
    if driver == "sqlite+aiosqlite" and not _in_memory(parsed):
        folder = Path(str(parsed.database)).parent
        if not folder.is_dir():
            raise ConfigurationError(f"WELLNET_DATABASE_URL: no existe la carpeta {folder}")
    # What libpq calls `sslmode`, asyncpg calls `ssl`, with the same words.
    ssl_mode = parsed.query.get("sslmode")
    if ssl_mode is not None:
        parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": ssl_mode})
    return parsed


def _in_memory(url: URL) -> bool:
    return url.database in {None, "", ":memory:"}


def _open(url: URL, *, connect_timeout_seconds: float) -> AsyncEngine:
    options: dict[str, Any] = {"hide_parameters": True}  # what users write is not for logs
    if url.get_backend_name() == "postgresql":
        options["connect_args"] = {"timeout": connect_timeout_seconds, "command_timeout": 30.0}
        options["pool_pre_ping"] = True  # a restart of PostgreSQL must not fail the next request
    elif _in_memory(url):
        # One connection is the database. SQLAlchemy's default, StaticPool, would hand it to several sessions
        # at once, and the end of one would commit or roll back the others.
        options.update(poolclass=AsyncAdaptedQueuePool, pool_size=1, max_overflow=0)
    try:
        return create_async_engine(url, **options)
    except ModuleNotFoundError as error:
        raise ConfigurationError("Para usar PostgreSQL hay que instalar wellnet-sse[postgres]") from error


def _upgrade(connection: Connection) -> None:
    """Run what is missing, alone: both locks are let go at the end of the transaction."""
    if connection.dialect.name == "sqlite":
        # Python's sqlite3 opens no transaction before DDL, so that half a migration could remain.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    config = Config()
    config.set_main_option("script_location", "wellnet_sse.storage:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigurationError("La base de datos es de una versión más nueva que este programa") from error
