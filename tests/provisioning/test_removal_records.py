"""When the router step writes its record, and when it lets go of it (protocol §6)."""

import pytest
from quart import request

from tests.progress.clock import FakeClock
from tests.provisioning.support import ANA, Cable, menus_with
from wellnet_sse.errors import NotFoundError, RouterRefusedError, RouterUnreachableError, UnavailableError
from wellnet_sse.provisioning import Removals, WriteState
from wellnet_sse.provisioning.cleanups import FIRST_WAIT_MS, Cleanups, Owner, Pending
from wellnet_sse.provisioning.removal import Untold
from wellnet_sse.simulator import Behaviour, RouterSimulator

ADDRESS = "10.0.0.3"
HERS = Owner(ANA, "baja-3")


class Wire:
    """What leads to the router, where a test looks what is recorded whenever something is asked of it."""

    def __init__(self, simulator: RouterSimulator) -> None:
        self.cleanups: Cleanups | None = None
        self.recorded: list[tuple[str, list[WriteState]]] = []
        self.cut_after_deletes: int | None = None
        self._simulator = simulator
        simulator.app.before_request(self._look)

    async def _look(self) -> None:
        if self.cleanups is not None:
            states = [it.write_state for it in await self.cleanups.of_user(ANA)]
            self.recorded.append((request.method, states))
            deletes = [method for method, _ in self.recorded if method == "DELETE"]
            is_cut = self.cut_after_deletes is not None and len(deletes) > self.cut_after_deletes
            self._simulator.behave(Behaviour(mode="unreachable" if is_cut else "normal"))


@pytest.fixture
def wire(simulator: RouterSimulator) -> Wire:
    return Wire(simulator)


@pytest.fixture
def watched(removals: Removals, wire: Wire) -> Removals:
    wire.cleanups = removals.cleanups
    return removals


async def pending(removals: Removals) -> list[Pending]:
    return list(await removals.cleanups.of_user(ANA))


async def test_the_record_is_there_before_the_first_removal_is_sent(watched: Removals, wire: Wire) -> None:
    await watched.router(ADDRESS).run(Untold(), HERS)
    first = next(n for n, (method, _) in enumerate(wire.recorded) if method == "DELETE")
    assert [states for _, states in wire.recorded[:first]] == [[]] * first
    assert {tuple(states) for _, states in wire.recorded[first:]} == {(WriteState.UNKNOWN,)}


async def test_the_record_stays_confirmed_until_the_completion_is_told(removals: Removals) -> None:
    work = removals.router(ADDRESS)
    await work.run(Untold(), HERS)
    assert [it.write_state for it in await pending(removals)] == [WriteState.CONFIRMED]
    await work.settle()
    assert await pending(removals) == []


async def test_a_router_that_holds_nothing_of_the_address_leaves_no_record(
    removals: Removals, simulator: RouterSimulator
) -> None:
    await removals.router(ADDRESS).run(Untold(), Owner())
    await removals.cleanups.resolve(ADDRESS)
    await removals.router(ADDRESS).run(Untold(), HERS)
    assert await pending(removals) == []
    assert menus_with(simulator, ADDRESS) == set()


async def test_an_unreachable_router_is_recorded_as_untouched(
    removals: Removals, cable: Cable, clock: FakeClock
) -> None:
    await cable.pull()
    with pytest.raises(RouterUnreachableError):
        await removals.router(ADDRESS).run(Untold(), HERS)
    (one,) = await pending(removals)
    assert (one.owner, one.address, one.write_state) == (HERS, ADDRESS, WriteState.NOT_SENT)
    assert one.next_ms == clock.wall_ms() + FIRST_WAIT_MS


async def test_a_refusal_half_way_keeps_the_record_and_has_it_tried_soon(
    removals: Removals, simulator: RouterSimulator, clock: FakeClock
) -> None:
    simulator.behave(Behaviour(mode="refusing"))
    with pytest.raises(RouterRefusedError):
        await removals.router(ADDRESS).run(Untold(), HERS)
    (one,) = await pending(removals)
    assert (one.write_state, one.next_ms) == (WriteState.UNKNOWN, clock.wall_ms() + FIRST_WAIT_MS)


async def test_a_router_that_refuses_before_anything_is_sent_leaves_no_record(
    removals: Removals, simulator: RouterSimulator
) -> None:
    """It answered, and was not asked to remove anything: whoever asked was told all there is."""
    simulator.behave(Behaviour(mode="refusing", refuses_all=True))
    with pytest.raises(RouterRefusedError):
        await removals.router(ADDRESS).run(Untold(), HERS)
    assert await pending(removals) == []


async def test_a_router_lost_half_way_stays_unknown_however_often_it_is_not_reached(
    watched: Removals, wire: Wire, simulator: RouterSimulator
) -> None:
    wire.cut_after_deletes = 2
    work = watched.router(ADDRESS)
    for _ in range(2):
        with pytest.raises(RouterUnreachableError):
            await work.run(Untold(), HERS)
    assert menus_with(simulator, ADDRESS) == {
        "ppp/active",
        "ip/dhcp-server/lease",
        "ip/firewall/address-list",
    }
    assert [it.write_state for it in await pending(watched)] == [WriteState.UNKNOWN]
    wire.cut_after_deletes = None
    await work.run(Untold(), HERS)
    await work.settle()
    assert menus_with(simulator, ADDRESS) == set()
    assert await pending(watched) == []


async def test_nothing_is_sent_where_no_record_can_be_written(
    removals: Removals, simulator: RouterSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_known: object) -> int:
        raise UnavailableError("La base de datos no está disponible")

    monkeypatch.setattr(removals.cleanups, "begin", full)
    with pytest.raises(UnavailableError):
        await removals.router(ADDRESS).run(Untold(), HERS)
    assert not any(call.startswith("DELETE") for call in simulator.calls)


async def test_an_address_that_no_connection_has_leaves_no_record(removals: Removals) -> None:
    with pytest.raises(NotFoundError):
        await removals.router("10.0.0.51").run(Untold(), HERS)
    assert await pending(removals) == []
