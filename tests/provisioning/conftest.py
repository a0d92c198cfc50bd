"""The demo's database and router, which is served over HTTP; the work on them, told over two brokers."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.progress.clock import FakeClock
from tests.provisioning.support import ANA, BAJA, FAST, Begin, Cable, Gate
from tests.simulated_router import PASSWORD, USERNAME, served
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.brokers.sql import SqlBroker
from wellnet_sse.progress.broker import Broker
from wellnet_sse.progress.events import UserId
from wellnet_sse.progress.tracker import Progress
from wellnet_sse.provisioning import Removals, RouterClient
from wellnet_sse.provisioning.cleaner import Cleaner
from wellnet_sse.provisioning.cleanups import Cleanups
from wellnet_sse.provisioning.demo import demo_router_entries, seed
from wellnet_sse.provisioning.service import Job, RemovalService, Request
from wellnet_sse.simulator import RouterSimulator
from wellnet_sse.storage.database import Database


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
    client = RouterClient(USERNAME, PASSWORD, limits=FAST, verify=False)  # reading certificates takes a while
    yield client
    await client.aclose()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def demo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's database, to be copied: making it anew takes ten times as long."""
    path = tmp_path_factory.mktemp("demo") / "demo.db"
    database = Database(f"sqlite:///{path}")
    try:
        await database.migrate()
        await seed(database, "http://router.invalid")
    finally:
        await database.aclose()
    return path


@pytest.fixture
async def seeded(tmp_path: Path, demo_file: Path, router_url: str) -> AsyncIterator[Database]:
    """The demo's database (SQLite), whose router is the simulator."""
    database = Database(f"sqlite:///{shutil.copy(demo_file, tmp_path)}")
    try:
        await seed(database, router_url)
        yield database
    finally:
        await database.aclose()


@pytest.fixture
def cable(seeded: Database, router_url: str) -> Cable:
    """What leads to the demo's router."""
    return Cable(seeded, router_url)


@pytest.fixture
def clock() -> FakeClock:
    """What the broker and the clean-ups go by."""
    return FakeClock()


@pytest.fixture
def gate() -> Gate:
    """The work's pace: it goes on at once unless a test shuts it."""
    return Gate()


@pytest.fixture
def removals(seeded: Database, routers: RouterClient, gate: Gate, clock: FakeClock) -> Removals:
    """The removals of the demo's connections."""
    removals = Removals(seeded, routers, pace=gate)
    removals.cleanups = Cleanups(seeded, now_ms=clock.wall_ms)
    return removals


@pytest.fixture(params=["memory", "sql"])
def broker(request: pytest.FixtureRequest, clock: FakeClock) -> Broker:
    """Each broker in turn; `progress` starts it."""
    if request.param == "memory":
        return MemoryBroker(history_ms=86_400_000, history_events=10_000, clock=clock.wall_ms)
    return SqlBroker(
        request.getfixturevalue("seeded"),
        history_ms=86_400_000,
        history_events=10_000,
        lock_wait_seconds=2,
        clock=clock.wall_ms,
    )


@pytest.fixture
async def progress(broker: Broker, clock: FakeClock, seeded: Database) -> AsyncIterator[Progress]:
    """This process. It lives, and does nothing by itself: its chores are for the tests to do."""
    assert seeded.path  # its work is over before the database is closed, which is therefore asked for here
    progress = Progress(broker, clocks=clock.clocks)
    await broker.start()
    try:
        await broker.renew(progress.holder)
        yield progress
    finally:
        async with asyncio.timeout(10):
            await progress.aclose()


@pytest.fixture
def cleaner(removals: Removals, progress: Progress) -> Cleaner:
    """The cleaner of this process."""
    return Cleaner(removals, progress)


@pytest.fixture
async def service(
    seeded: Database, removals: Removals, progress: Progress, cleaner: Cleaner
) -> AsyncIterator[RemovalService]:
    """The service of this process; whatever a test does to it, no claim stays behind."""
    assert cleaner is not None
    service = RemovalService(seeded, removals, progress, answers_seconds=86_400)
    yield service
    async with asyncio.timeout(10):
        await progress.supervisor.drain(grace_seconds=0)
    assert service._claims._running == {}


@pytest.fixture
def begin(service: RemovalService) -> Begin:
    """See `Begin`."""

    async def begin_one(request: Request, *, user_id: UserId = ANA, ends: bool | None = True) -> Job:
        return await service.begin(request, user_id=user_id, operation_id=BAJA, ends=ends)

    return begin_one
