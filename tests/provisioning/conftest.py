"""Databases of both kinds, and a router that is served over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.postgres import Postgres, postgres
from tests.simulated_router import PASSWORD, USERNAME, served
from wellnet_sse.provisioning import Database, RouterClient, RouterLimits
from wellnet_sse.provisioning.demo import demo_router_entries, seed
from wellnet_sse.simulator import RouterSimulator

__all__ = ["postgres"]

FAST = RouterLimits(
    connect_seconds=2,
    read_seconds=0.3,
    call_seconds=5,
    attempts=2,
    wait_seconds=0,
    looks=2,
    response_bytes=100_000,
)


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
    await database.migrate()
    yield database
    await database.aclose()


@pytest.fixture
def simulator() -> RouterSimulator:
    """The demo's router."""
    return RouterSimulator(demo_router_entries(), username=USERNAME, password=PASSWORD)


@pytest.fixture
async def router_url(simulator: RouterSimulator) -> AsyncIterator[str]:
    """Where the demo's router is served."""
    async with served(simulator.app) as url:
        yield url


@pytest.fixture
async def routers() -> AsyncIterator[RouterClient]:
    """A client that does not wait long."""
    client = RouterClient(USERNAME, PASSWORD, limits=FAST)
    yield client
    await client.aclose()


@pytest.fixture
async def seeded(tmp_path: Path, router_url: str) -> AsyncIterator[Database]:
    """The demo's database (SQLite), whose router is the simulator."""
    database = Database(f"sqlite:///{tmp_path}/demo.db")
    await database.migrate()
    await seed(database, router_url)
    yield database
    await database.aclose()
