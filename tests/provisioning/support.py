"""What the tests of work hold it up with, and how they read what was told of it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from wellnet_sse.progress.broker import Broker, Page
from wellnet_sse.progress.events import Cursor, Ending, UserId
from wellnet_sse.progress.operation import Entry
from wellnet_sse.progress.tracker import Progress
from wellnet_sse.provisioning import (
    AnswerKey,
    Claim,
    Removals,
    RouterClient,
    RouterLimits,
    Running,
    WriteState,
)
from wellnet_sse.provisioning.claims import Answer
from wellnet_sse.provisioning.demo import seed
from wellnet_sse.provisioning.router import OnWrite, Router
from wellnet_sse.provisioning.service import Job, RemovalService, Request
from wellnet_sse.simulator import RouterSimulator
from wellnet_sse.storage.database import Database

ANA = UserId(7)
BAJA = "baja-3"
DONE = Answer(200, "Asignación eliminada")
ALL_DONE = Answer(200, "Conexión eliminada por completo")
SERVICE = [
    "remove-service in_progress 10",
    "remove-service in_progress 30",
    "remove-service in_progress 80",
    "remove-service completed 100",
]
ROUTER = ["remove-router in_progress 20", "remove-router in_progress 60", "remove-router completed 100"]
CONFIG = ["remove-config in_progress 25", "remove-config in_progress 70", "remove-config completed 100"]
DECLARED = ["remove-service pending 0", "remove-router pending 0", "remove-config pending 0"]
MENUS = ("queue/simple", "ppp/secret", "ppp/active", "ip/dhcp-server/lease", "ip/firewall/address-list")

FAST = RouterLimits(
    connect_seconds=2,
    read_seconds=0.3,
    call_seconds=5,
    attempts=2,
    wait_seconds=0,
    looks=2,
    response_bytes=100_000,
)


Begin = Callable[..., Awaitable[Job]]
"""Ana asks for this under her operation: `begin(request, *, user_id, ends)`."""


class Gate:
    """Where work waits, while it is shut, until a test lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()
        self._passes = 0

    def shut(self, *, after: int = 0) -> None:
        """Let `after` more pass, and nobody behind them."""
        self._open.clear()
        self.reached.clear()
        self._passes = after

    def open(self) -> None:
        self._open.set()

    async def __call__(self) -> None:
        if self._passes > 0:
            self._passes -= 1
            return
        self.reached.set()
        await self._open.wait()


class Cable:
    """What leads to the demo's router: pulled, nobody answers at its address."""

    def __init__(self, database: Database, router_url: str) -> None:
        self._database = database
        self._router_url = router_url

    async def pull(self) -> None:
        await seed(self._database, "http://127.0.0.1:1")

    async def plug(self) -> None:
        await seed(self._database, self._router_url)


class WriteStates:
    """What a router's client said of its write, in order."""

    def __init__(self) -> None:
        self.noted: list[WriteState] = []

    async def note(self, state: WriteState) -> None:
        self.noted.append(state)


class HeldRouter(Router):
    """A router whose first work waits, once this much is known of its write, at the gate: to be killed."""

    def __init__(self, router: Router, at: WriteState, gate: Gate) -> None:
        super().__init__(router._send, router._limits)
        self.at = at
        self.gate = gate

    async def remove_address(self, address: str, *, on_write: OnWrite | None = None) -> None:
        async def held(state: WriteState) -> None:
            if on_write is not None:
                await on_write(state)
            if state is self.at and not self.gate.reached.is_set():
                await self.gate()

        await super().remove_address(address, on_write=held)


def hold(client: RouterClient, at: WriteState) -> Gate:
    """Hold the client's next removal where so much is known of its write; gives the gate, which is shut."""
    gate = Gate()
    gate.shut()
    made = client.router
    client.router = lambda url: HeldRouter(made(url), at, gate)  # type: ignore[method-assign]
    return gate


async def idle(progress: Progress) -> None:
    """Return when this process has nothing in hand."""
    async with asyncio.timeout(10):
        while tasks := progress.supervisor._tasks:
            await asyncio.wait(tasks)


async def entries(broker: Broker, operation_id: str, user_id: UserId = ANA) -> Sequence[Entry]:
    """All that was ever told of an operation."""
    found = await broker.operation(user_id, operation_id)
    if found is None:
        return []
    page = await broker.since(user_id, Cursor(found[1].epoch, 0), operation_id=operation_id)
    assert isinstance(page, Page)
    return [record.event for record in page.records]


async def told(broker: Broker, operation_id: str, user_id: UserId = ANA) -> list[str]:
    """The same in short: `remove-router in_progress 20`, `end completed`."""
    return [
        f"end {it.outcome}" if isinstance(it, Ending) else f"{it.step} {it.status} {it.progress}"
        for it in await entries(broker, operation_id, user_id)
    ]


def menus_with(simulator: RouterSimulator, address: str) -> set[str]:
    """Where the router still holds something of the address."""
    return {
        menu
        for menu in MENUS
        if any({address, f"{address}/32"} & set(item.values()) for item in simulator.entries(menu))
    }


async def answer_of(job: Job) -> Answer:
    async with asyncio.timeout(10):
        return await asyncio.shield(job.answer)


def first_step(service: RemovalService, removals: Removals, id_conexion: int = 3) -> Request:
    return service.single(removals.service(id_conexion))


def joining(service: RemovalService) -> asyncio.Event:
    """Set when somebody finds that a step is running."""
    joined = asyncio.Event()
    claim = service._claims._answers.claim

    async def watched(key: AnswerKey, *, body_hash: str, holder: str) -> Claim:
        given = await claim(key, body_hash=body_hash, holder=holder)
        if isinstance(given, Running):
            joined.set()
        return given

    service._claims._answers.claim = watched  # type: ignore[method-assign]
    return joined
