"""Databases of both kinds, for whoever asks."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.postgres import Postgres
from wellnet_sse.brokers.sql import tables as history
from wellnet_sse.identity import tickets
from wellnet_sse.provisioning import tables as office
from wellnet_sse.storage.database import Database
from wellnet_sse.storage.schema import Base

DECLARED = (history, office, tickets)  # importing them is what puts their tables into `Base.metadata`


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/wellnet.db"
    server: Postgres = request.getfixturevalue("postgres")
    return await server.empty_database()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with its tables, to be copied: migrating takes ten times as long."""
    path = tmp_path_factory.mktemp("migrated") / "wellnet.db"
    asyncio.run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
async def migrated_url(request: pytest.FixtureRequest, tmp_path: Path, migrated_file: Path) -> str:
    """The URL of a database with its tables and nothing in them, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{shutil.copy(migrated_file, tmp_path)}"
    server: Postgres = request.getfixturevalue("postgres")
    return await _emptied(server)


@pytest.fixture
async def database(migrated_url: str) -> AsyncIterator[Database]:
    """The same, opened."""
    database = Database(migrated_url)
    yield database
    await database.aclose()


async def _migrate(url: str) -> None:
    database = Database(url)
    try:
        await database.migrate()
    finally:
        await database.aclose()


async def _emptied(server: Postgres) -> str:
    if "migrated" not in server.made:
        url = await server.empty_database("migrated")
        await _migrate(url)
        return url
    database = Database(server.url("migrated"))
    try:
        async with database.writing() as connection:
            for table in reversed(Base.metadata.sorted_tables):
                await connection.execute(table.delete())
    finally:
        await database.aclose()
    return server.url("migrated")
