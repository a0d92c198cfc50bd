"""One process at a time: who holds the lock writes history, and whoever else comes waits for its end."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from wellnet_sse.errors import ConfigurationError
from wellnet_sse.storage.database import Database

POLL_SECONDS = 0.05
NOTE_BYTES = 64
_ADVISORY_LOCK = 0x48495354  # "HIST": any number will do, so long as all our processes use the same


class ProcessLock:
    """An exclusive hold on the history in `database`, which the system lets go of when the process dies.

    A lock on a file beside an SQLite database; an advisory lock on PostgreSQL, as long as its connection
    lives. An in-memory database is this process's own. The file, where there is one, also takes a note that
    outlives the process.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stack = AsyncExitStack()
        self._descriptor: int | None = None
        self._connection: AsyncConnection | None = None

    async def acquire(self, *, wait_seconds: float) -> None:
        """Take the lock. Raises ConfigurationError where another process keeps it for `wait_seconds`."""
        attempt = await self._prepare()
        try:
            async with asyncio.timeout(wait_seconds):
                # Polled, because neither lock can be waited for and given up again.
                while not await attempt():  # noqa: ASYNC110 - nothing in this process could set an event
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            await self.release()
            raise ConfigurationError(
                "Otro proceso usa esta base de datos; con sql:// solo puede haber uno a la vez"
            ) from error

    async def release(self) -> None:
        """Let go of it."""
        self._connection = self._descriptor = None
        await self._stack.aclose()

    async def is_held(self) -> bool:
        """Whether it is still ours: PostgreSQL lets go of it with the connection that took it."""
        if self._connection is None:
            return True
        try:
            await self._connection.execute(text("SELECT 1"))
        except (DBAPIError, OSError):
            return False
        return True

    def noted(self) -> str:
        """What the last holder noted; empty where there is no note."""
        return "" if self._descriptor is None else os.pread(self._descriptor, NOTE_BYTES, 0).decode()

    def note(self, text: str) -> None:
        """Leave a note of always the same length, at most `NOTE_BYTES`; `kill -9` does not undo it."""
        if self._descriptor is not None:
            # An older note claims less than there was, which nobody is refused for.
            with contextlib.suppress(OSError):
                os.pwrite(self._descriptor, text.encode(), 0)

    async def _prepare(self) -> Callable[[], Awaitable[bool]]:
        if self._database.dialect == "sqlite":
            path = self._database.path
            return _free if path is None else self._file(path.with_name(f"{path.name}.lock"))
        connection = await self._stack.enter_async_context(self._database.holding())
        self._connection = connection
        return lambda: _try_advisory(connection)

    def _file(self, path: Path) -> Callable[[], Awaitable[bool]]:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._stack.callback(os.close, descriptor)

        async def attempt() -> bool:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self._descriptor = descriptor
            return True

        return attempt


async def _free() -> bool:
    return True


async def _try_advisory(connection: AsyncConnection) -> bool:
    result = await connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _ADVISORY_LOCK})
    return bool(result.scalar_one())
