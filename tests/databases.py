"""Empty databases of both kinds, for whoever asks."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.postgres import Postgres
from wellnet_sse.storage.database import Database


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/wellnet.db"
    server: Postgres = request.getfixturevalue("postgres")
    return await server.empty_database()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with its tables."""
    database = Database(database_url)
    try:
        await database.migrate()
        yield database
    finally:
        await database.aclose()
