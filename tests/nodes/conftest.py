"""What nodes share, and nodes: processes behind one address, or servers with an address each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.harness import ServerProcess, ValkeyServer, eventually
from tests.postgres import Postgres
from tests.simulated_router import PASSWORD, USERNAME, served
from wellnet_sse.provisioning.demo import demo_router_entries, seed
from wellnet_sse.simulator import RouterSimulator
from wellnet_sse.storage.database import Database

LEASE_SECONDS = 3


class MakeNodes(Protocol):
    """Starts servers with an address each, on one history and one database; they end with the test."""

    async def __call__(
        self,
        count: int,
        *,
        broker: ValkeyServer = ...,
        database: str = "sqlite",
        **settings: object,
    ) -> list[ServerProcess]:
        """Start so many; `database`: `sqlite` or `postgresql`; settings as in `heartbeat_seconds=1`.

        Without a `broker` it is the session's Valkey, which must be left alone.
        """
        ...


class MakeProcesses(Protocol):
    """Starts one server of several processes; it ends with the test."""

    async def __call__(self, count: int, *, valkey: ValkeyServer, **settings: object) -> ServerProcess:
        """Start so many, and wait until all serve."""
        ...


@pytest.fixture
async def own_valkey(tmp_path: Path) -> AsyncIterator[ValkeyServer]:
    """One that may be killed or frozen; what it answers for is on the disk."""
    async with ValkeyServer(tmp_path / "valkey") as valkey:
        yield valkey


@pytest.fixture
async def make_processes(tmp_path: Path, postgres: Postgres) -> AsyncIterator[MakeProcesses]:
    """See `MakeProcesses`; its database is PostgreSQL."""
    async with AsyncExitStack() as stack:

        async def make(count: int, *, valkey: ValkeyServer, **settings: object) -> ServerProcess:
            server = ServerProcess(
                tmp_path / "server",
                arguments=["--processes", str(count)],
                settings={
                    "WELLNET_BROKER_URL": valkey.url,
                    "WELLNET_DATABASE_URL": await postgres.empty_database(),
                    **{f"WELLNET_{name.upper()}": value for name, value in settings.items()},
                },
            )
            await stack.enter_async_context(server)
            await eventually(lambda: "processes_ready" in server.log, timeout_seconds=20)
            return server

        yield make


@pytest.fixture
def simulator() -> RouterSimulator:
    """The router of the demo's connections."""
    return RouterSimulator(demo_router_entries(), username=USERNAME, password=PASSWORD)


@pytest.fixture
async def make_nodes(
    request: pytest.FixtureRequest, tmp_path: Path, valkey: ValkeyServer, simulator: RouterSimulator
) -> AsyncIterator[MakeNodes]:
    """See `MakeNodes`; their database has the demo's connections."""
    async with AsyncExitStack() as stack:

        async def make(
            count: int,
            *,
            broker: ValkeyServer = valkey,
            database: str = "sqlite",
            **settings: object,
        ) -> list[ServerProcess]:
            url = f"sqlite:///{tmp_path}/wellnet.db"
            if database == "postgresql":
                url = await request.getfixturevalue("postgres").empty_database()
            await _seed(url, await stack.enter_async_context(served(simulator.app)))
            shared = {
                "WELLNET_BROKER_URL": broker.url,
                "WELLNET_DATABASE_URL": url,
                "WELLNET_LEASE_SECONDS": LEASE_SECONDS,
                "WELLNET_ROUTER_USERNAME": USERNAME,
                "WELLNET_ROUTER_PASSWORD": PASSWORD,
                "WELLNET_ROUTER_TIMEOUT_SECONDS": 60,  # a test lets it answer when it is time
                **{f"WELLNET_{name.upper()}": value for name, value in settings.items()},
            }
            nodes = [ServerProcess(tmp_path, settings=shared) for _ in range(count)]
            await asyncio.gather(*map(stack.enter_async_context, nodes))
            return nodes

        yield make


async def _seed(url: str, router_url: str) -> None:
    database = Database(url)
    try:
        await database.migrate()
        await seed(database, router_url)
    finally:
        await database.aclose()
