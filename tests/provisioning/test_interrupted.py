"""Work on a router that dies at any moment: what is told of it, and what becomes of the router (§6)."""

from collections.abc import Awaitable, Callable

import pytest

from tests.progress.clock import FakeClock
from tests.provisioning.support import ANA, BAJA, Begin, Gate, entries, hold, idle, menus_with, told
from wellnet_sse.progress.broker import LEASE_MS, Broker
from wellnet_sse.progress.events import Event
from wellnet_sse.progress.tracker import Progress
from wellnet_sse.provisioning import Removals, RouterClient, WriteState
from wellnet_sse.provisioning.cleaner import Cleaner, operation_id_of
from wellnet_sse.provisioning.cleanups import Owner, Pending
from wellnet_sse.provisioning.service import Job, RemovalService
from wellnet_sse.simulator import RouterSimulator

ADDRESS = "10.0.0.3"
KNOWN = {
    WriteState.NOT_SENT: "no se había enviado nada al router",
    WriteState.UNKNOWN: "no se sabe si terminó",
    WriteState.CONFIRMED: "el router ya confirmó la eliminación",
}
REPEATED = [
    "remove-router in_progress 20",
    "remove-router in_progress 60",
    "remove-router completed 100",
    "end completed",
]

Die = Callable[[], Awaitable[None]]
Start = Callable[[], Awaitable[Job]]


@pytest.fixture
def successor(broker: Broker, removals: Removals, clock: FakeClock, progress: Progress) -> Cleaner:
    """The process that comes after this one, on the same history."""
    assert progress.holder
    return Cleaner(removals, Progress(broker, clocks=clock.clocks))


@pytest.fixture(params=["stopped", "killed"])
def die(request: pytest.FixtureRequest, progress: Progress, successor: Cleaner, clock: FakeClock) -> Die:
    """End this process: it tells what it has left undone, or is never heard of again and others tell it."""

    async def stopped() -> None:
        await progress.supervisor.drain(grace_seconds=0)

    async def killed() -> None:
        clock.advance(LEASE_MS / 1000 + 1)
        await successor._progress.interrupt_orphans()

    return stopped if request.param == "stopped" else killed


@pytest.fixture
def start(begin: Begin, service: RemovalService, removals: Removals) -> Start:
    """Begin the router step of Ana's operation, or begin it again."""
    return lambda: begin(service.single(removals.router(ADDRESS)))


async def last_message(broker: Broker, operation_id: str) -> str:
    return [it.message for it in await entries(broker, operation_id) if isinstance(it, Event)][-1]


async def pending(removals: Removals) -> list[Pending]:
    return list(await removals.cleanups.of_user(ANA))


async def clean(cleaner: Cleaner) -> None:
    await cleaner.clean_due()
    await idle(cleaner._progress)


@pytest.mark.parametrize("at", list(WriteState))
async def test_what_is_known_of_the_write_is_told_and_the_router_is_cleaned_at_once(
    start: Start,
    routers: RouterClient,
    broker: Broker,
    removals: Removals,
    simulator: RouterSimulator,
    *,
    die: Die,
    successor: Cleaner,
    at: WriteState,
) -> None:
    gate = hold(routers, at)
    await start()
    await gate.reached.wait()
    await die()
    assert (await told(broker, BAJA))[-2:] == ["remove-router error 0", "end interrupted"]
    message = await last_message(broker, BAJA)
    assert message.startswith("Interrumpido en el paso remove-router: ")
    assert KNOWN[at] in message
    assert message.endswith("Puede repetir la operación sin riesgo.")
    records = await pending(removals)
    assert [it.write_state for it in records] == ([] if at is WriteState.NOT_SENT else [at])
    await clean(successor)
    assert await pending(removals) == []
    for one in records:
        assert (await told(broker, operation_id_of(one.cleanup_id)))[-1] == "end completed"
    assert (menus_with(simulator, ADDRESS) == set()) == bool(records)


@pytest.mark.parametrize("at", list(WriteState))
async def test_a_repeat_is_the_next_attempt_and_leaves_nothing_pending(
    start: Start,
    routers: RouterClient,
    progress: Progress,
    removals: Removals,
    simulator: RouterSimulator,
    *,
    at: WriteState,
) -> None:
    gate = hold(routers, at)
    first = await start()
    await gate.reached.wait()
    await progress.supervisor.drain(grace_seconds=0)
    assert (await first.answer).http_status == 503
    again = await start()
    assert (again.fresh, (await again.answer).http_status) == (True, 200)
    await idle(progress)
    assert (await told(progress.broker, BAJA))[-4:] == REPEATED
    assert await pending(removals) == []
    assert menus_with(simulator, ADDRESS) == set()


async def test_one_that_was_taken_for_dead_and_was_not_says_nothing_more(
    start: Start,
    routers: RouterClient,
    broker: Broker,
    removals: Removals,
    successor: Cleaner,
    *,
    clock: FakeClock,
    progress: Progress,
) -> None:
    gate = hold(routers, WriteState.UNKNOWN)
    job = await start()
    await gate.reached.wait()
    clock.advance(LEASE_MS / 1000 + 1)
    await successor._progress.interrupt_orphans()
    await clean(successor)
    before = await told(broker, BAJA)
    gate.open()
    assert (await job.answer).http_status == 409
    await idle(progress)
    assert await told(broker, BAJA) == before
    assert await pending(removals) == []


async def test_a_clean_up_that_dies_is_told_so_and_taken_up_again_under_its_name(
    cleaner: Cleaner,
    routers: RouterClient,
    progress: Progress,
    removals: Removals,
    successor: Cleaner,
    *,
    simulator: RouterSimulator,
    die: Die,
) -> None:
    cleanup_id = await removals.cleanups.begin(Owner(ANA, BAJA), ADDRESS, WriteState.NOT_SENT)
    await removals.cleanups.hurry(cleanup_id)
    operation_id = operation_id_of(cleanup_id)
    await progress.broker.renew(progress.holder)
    gate = hold(routers, WriteState.UNKNOWN)
    await cleaner.clean_due()
    await gate.reached.wait()
    await die()
    assert KNOWN[WriteState.UNKNOWN] in await last_message(progress.broker, operation_id)
    assert (await told(progress.broker, operation_id))[-1] == "end interrupted"
    await clean(successor)
    assert (await told(progress.broker, operation_id))[-4:] == REPEATED
    assert await pending(removals) == []
    assert menus_with(simulator, ADDRESS) == set()


@pytest.mark.parametrize(
    ("pauses", "step", "known"),
    [(0, "remove-service", WriteState.NOT_SENT), (3, "remove-config", WriteState.CONFIRMED)],
)
async def test_another_steps_death_tells_of_the_router_as_well(
    service: RemovalService, gate: Gate, broker: Broker, *, pauses: int, step: str, known: WriteState
) -> None:
    gate.shut(after=pauses)
    await service.begin(service.whole(3), user_id=ANA, operation_id=BAJA, ends=True)
    await gate.reached.wait()
    await service._progress.supervisor.drain(grace_seconds=0)
    message = await last_message(broker, BAJA)
    assert message.startswith(f"Interrumpido en el paso {step}: ")
    assert KNOWN[known] in message
