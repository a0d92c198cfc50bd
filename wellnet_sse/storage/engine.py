"""A database's URL, as an SQLAlchemy engine; and what its errors mean."""

import sqlite3
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from wellnet_sse.errors import ConfigurationError

Synchronous = Literal["NORMAL", "FULL"]

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
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


def parse(url: str) -> URL:
    """The URL with its asynchronous driver. Raises ConfigurationError, without the password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # `from None`: SQLAlchemy's own error may quote the URL, and with it the password.
        raise ConfigurationError("WELLNET_DATABASE_URL: la URL de la base de datos no se entiende") from None
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None:
        raise ConfigurationError("WELLNET_DATABASE_URL: debe empezar por sqlite:// o postgresql://")
    parsed = parsed.set(drivername=driver)
    if driver == "sqlite+aiosqlite" and not in_memory(parsed):
        folder = Path(str(parsed.database)).parent
        if not folder.is_dir():
            raise ConfigurationError(f"WELLNET_DATABASE_URL: no existe la carpeta {folder}")
    # What libpq calls `sslmode`, asyncpg calls `ssl`, with the same words.
    ssl_mode = parsed.query.get("sslmode")
    if ssl_mode is not None:
        parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": ssl_mode})
    return parsed


def in_memory(url: URL) -> bool:
    """Whether it is SQLite's database without a file."""
    return url.database in {None, "", ":memory:"}


def open_async(url: URL, *, connect_timeout_seconds: float) -> AsyncEngine:
    """An engine for the loop. Raises ConfigurationError where its driver is not installed."""
    options: dict[str, Any] = {"hide_parameters": True}  # what users write is not for logs
    if url.get_backend_name() == "postgresql":
        options["connect_args"] = {"timeout": connect_timeout_seconds, "command_timeout": 30.0}
        options["pool_pre_ping"] = True  # a restart of PostgreSQL must not fail the next request
    elif in_memory(url):
        # One connection is the database. SQLAlchemy's default, StaticPool, would hand it to several sessions
        # at once, and the end of one would commit or roll back the others.
        options.update(poolclass=AsyncAdaptedQueuePool, pool_size=1, max_overflow=0)
    try:
        return create_async_engine(url, **options)
    except ModuleNotFoundError as error:
        raise ConfigurationError("Para usar PostgreSQL hay que instalar wellnet-sse[postgres]") from error


def open_plain(url: URL) -> Engine:
    """An engine for a thread, on an SQLite file."""
    return create_engine(url.set(drivername="sqlite"), pool_size=1, hide_parameters=True)


def set_pragmas(engine: Engine, *, synchronous: Synchronous) -> None:
    """Have every connection that is opened to SQLite behave as this program expects."""
    pragmas = (
        "PRAGMA busy_timeout=5000",  # first: the others may have to wait for another process
        "PRAGMA journal_mode=WAL",
        f"PRAGMA wal_autocheckpoint={WAL_LIMIT_PAGES}",
        f"PRAGMA synchronous={synchronous}",
        "PRAGMA foreign_keys=ON",
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()


def is_away(error: DBAPIError) -> bool:
    """Whether the database cannot serve, as against: was asked for something wrong."""
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state)[:2] in _AWAY_SQLSTATES
    # A driver wraps what the database said: the code is with the innermost.
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _AWAY_SQLITE
