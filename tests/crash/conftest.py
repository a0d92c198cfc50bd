"""Worlds to crash in."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.crash.world import World, make_template, world


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo's database, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    asyncio.run(make_template(folder))
    return folder


@pytest.fixture
async def house(tmp_path: Path, template: Path) -> AsyncIterator[World]:
    """One world."""
    async with world(tmp_path / "house", template) as one:
        yield one
