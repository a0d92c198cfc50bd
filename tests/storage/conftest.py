"""Databases that a test opens by itself."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from wellnet_sse.storage.database import Database

Open = Callable[..., Database]


@pytest.fixture
async def open_database() -> AsyncIterator[Open]:
    """Open a database, as `Database(…)` does; it is closed with the test, however that ends."""
    async with AsyncExitStack() as stack:

        def open_one(url: str, **options: object) -> Database:
            database = Database(url, **options)  # type: ignore[arg-type]  # whatever the test wants
            stack.push_async_callback(database.aclose)
            return database

        yield open_one
