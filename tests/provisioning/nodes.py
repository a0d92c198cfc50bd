"""Several processes' worth of service on one history and one database, in one process."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tests.progress.clock import FakeClock
from tests.provisioning.support import ANA, BAJA, FAST, Gate
from tests.simulated_router import PASSWORD, USERNAME
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.progress.broker import Feed
from wellnet_sse.progress.events import Record, UserId
from wellnet_sse.progress.tracker import Progress
from wellnet_sse.provisioning import Removals, RouterClient
from wellnet_sse.provisioning.cleaner import Cleaner
from wellnet_sse.provisioning.cleanups import Cleanups
from wellnet_sse.provisioning.service import Job, RemovalService, Request
from wellnet_sse.storage.database import Database


class SharedBroker(MemoryBroker):
    """One history that feeds the hub of every node."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(history_ms=86_400_000, history_events=10_000, clock=clock.wall_ms)
        self._feeds: list[Feed] = []
        super().attach(self._feed_all)

    def attach(self, feed: Feed) -> None:
        self._feeds.append(feed)

    def _feed_all(self, user_id: UserId, records: Sequence[Record]) -> None:
        for feed in self._feeds:
            feed(user_id, records)


@dataclass(frozen=True, slots=True)
class Node:
    """What one process would have; its chores are for the tests to do."""

    database: Database
    progress: Progress
    removals: Removals
    service: RemovalService
    cleaner: Cleaner
    gate: Gate
    """The pace of its work."""

    async def begin(self, request: Request, *, user_id: UserId = ANA, ends: bool | None = True) -> Job:
        """Ask this node for the work, under Ana's operation."""
        return await self.service.begin(request, user_id=user_id, operation_id=BAJA, ends=ends)

    async def beat(self) -> None:
        """Say that it lives, and tell what the dead were at."""
        await self.progress.interrupt_orphans()

    async def stop(self) -> None:
        """End it at once, but in order: what it is at is cut off and told as interrupted."""
        await self.progress.supervisor.drain(grace_seconds=0)


@asynccontextmanager
async def running(url: str, clock: FakeClock, *, count: int) -> AsyncIterator[list[Node]]:
    """So many nodes that live, with a database connection and a router client each."""
    broker = SharedBroker(clock)
    async with AsyncExitStack() as stack:
        nodes = []
        for _ in range(count):
            database = Database(url)
            stack.push_async_callback(database.aclose)
            routers = RouterClient(USERNAME, PASSWORD, limits=FAST, verify=False)
            stack.push_async_callback(routers.aclose)
            progress, gate = Progress(broker, clocks=clock.clocks), Gate()
            removals = Removals(database, routers, pace=gate)
            removals.cleanups = Cleanups(database, now_ms=clock.wall_ms)
            service = RemovalService(database, removals, progress, answers_seconds=86_400)
            nodes.append(Node(database, progress, removals, service, Cleaner(removals, progress), gate))
            await nodes[-1].beat()
        yield nodes
        async with asyncio.timeout(10):
            for node in nodes:
                node.gate.open()
                await node.stop()
        assert [node.service._claims._running for node in nodes] == [{}] * count
        assert [node.service._claims._followed for node in nodes] == [{}] * count
