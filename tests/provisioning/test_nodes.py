"""Two processes and more: each step runs once among them, and all are told the same (protocol §6)."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.progress.clock import FakeClock
from tests.provisioning.nodes import Node, running
from tests.provisioning.support import (
    ALL_DONE,
    ANA,
    BAJA,
    CONFIG,
    DECLARED,
    DONE,
    ROUTER,
    SERVICE,
    answer_of,
    idle,
    menus_with,
    told,
)
from wellnet_sse.errors import BodyMismatchError, UnavailableError
from wellnet_sse.progress.broker import LEASE_MS
from wellnet_sse.provisioning import WriteState, claims
from wellnet_sse.provisioning.claims import STOPPED, Answer
from wellnet_sse.provisioning.cleaner import operation_id_of
from wellnet_sse.provisioning.cleanups import WORK_MS, Owner
from wellnet_sse.provisioning.demo import seed
from wellnet_sse.provisioning.service import Job
from wellnet_sse.simulator import RouterSimulator
from wellnet_sse.storage.database import Database

CUT = [*SERVICE[:1], "remove-service error 0", "end interrupted"]
"""What is told of the first step when whoever was at it dies at its first pace."""


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "LOOK_SECONDS", 0.005)


@pytest.fixture
async def url(tmp_path: Path, demo_file: Path, router_url: str) -> str:
    """The demo's database, whose router is the simulator."""
    url = f"sqlite:///{shutil.copy(demo_file, tmp_path)}"
    database = Database(url)
    await seed(database, router_url)
    await database.aclose()
    return url


@pytest.fixture
async def nodes(url: str, clock: FakeClock) -> AsyncIterator[list[Node]]:
    """Three of them."""
    async with running(url, clock, count=3) as nodes:
        yield nodes


async def begin_service(node: Node, id_conexion: int = 3, *, ends: bool | None = True) -> Job:
    """Ask a node for the first step."""
    return await node.begin(node.service.single(node.removals.service(id_conexion)), ends=ends)


async def held_at(node: Node) -> Job:
    """The first step, begun on the node and held up there."""
    node.gate.shut()
    job = await begin_service(node)
    await node.gate.reached.wait()
    return job


async def all_told(nodes: list[Node]) -> list[str]:
    """All that was told of Ana's operation, once nobody has anything in hand."""
    for node in nodes:
        await idle(node.progress)
    return await told(nodes[0].progress.broker, BAJA)


async def let_die(clock: FakeClock, survivors: list[Node]) -> None:
    """Time in which only the survivors are heard of."""
    for _ in range(4):
        clock.advance(LEASE_MS / 3000)
        await asyncio.gather(*(node.beat() for node in survivors))


async def test_who_asks_another_node_joins_the_work_and_gets_its_answer(nodes: list[Node]) -> None:
    here, there, _ = nodes
    first = await held_at(here)
    joined = [await begin_service(there) for _ in range(3)]
    assert [(job.fresh, job.replayed) for job in joined] == [(False, False)] * 3
    assert len(there.service._claims._followed) == 1  # one looks for all who wait
    here.gate.open()
    assert [await answer_of(job) for job in (first, *joined)] == [DONE] * 4
    assert await all_told(nodes) == [*SERVICE, "end completed"]


async def test_fifty_equal_requests_over_all_nodes_are_one_execution(
    nodes: list[Node], simulator: RouterSimulator
) -> None:
    jobs = await asyncio.gather(*(nodes[n % 3].begin(nodes[n % 3].service.whole(3)) for n in range(50)))
    assert [await answer_of(job) for job in jobs] == [ALL_DONE] * 50
    assert sum(job.fresh for job in jobs) == 1
    assert await all_told(nodes) == [*DECLARED, *SERVICE, *ROUTER, *CONFIG, "end completed"]
    assert menus_with(simulator, "10.0.0.3") == set()


async def test_who_comes_later_is_answered_again_by_any_node(nodes: list[Node]) -> None:
    await answer_of(await begin_service(nodes[0]))
    before = await all_told(nodes)
    later = await begin_service(nodes[1])
    assert (later.fresh, later.replayed, await answer_of(later)) == (False, True, DONE)
    assert await all_told(nodes) == before


async def test_a_failure_is_told_to_who_joined_from_another_node(nodes: list[Node]) -> None:
    here, there, _ = nodes
    here.gate.shut()
    first = await begin_service(here, 51)
    joined = await begin_service(there, 51)
    here.gate.open()
    unknown = Answer(404, "No existe la conexión 51")
    assert (await answer_of(first), await answer_of(joined)) == (unknown, unknown)
    assert await all_told(nodes) == [*SERVICE[:2], "remove-service error 0", "end failed"]


async def test_another_body_is_refused_on_another_node(nodes: list[Node]) -> None:
    await held_at(nodes[0])
    with pytest.raises(BodyMismatchError):
        await begin_service(nodes[1], 4)


async def test_who_joins_from_another_node_and_watches_has_the_operation_end(nodes: list[Node]) -> None:
    nodes[0].gate.shut()
    await begin_service(nodes[0], ends=False)
    joined = await begin_service(nodes[1], ends=None)
    nodes[0].gate.open()
    assert await answer_of(joined) == DONE
    assert await all_told(nodes) == [*SERVICE, "end completed"]


async def test_a_part_that_another_node_is_at_is_waited_for(nodes: list[Node]) -> None:
    here, there, _ = nodes
    await held_at(here)
    whole = await there.begin(there.service.whole(3))
    here.gate.open()
    assert await answer_of(whole) == ALL_DONE
    steps = await all_told(nodes)
    assert (steps.count("remove-service completed 100"), steps[-1]) == (1, "end completed")


async def test_cancelling_on_one_node_stops_the_work_of_another_between_steps(nodes: list[Node]) -> None:
    here, there, _ = nodes
    here.gate.shut()
    job = await here.begin(here.service.whole(3))
    await here.gate.reached.wait()
    joined = await there.begin(there.service.whole(3))
    await there.progress.cancel(ANA, BAJA)
    here.gate.open()
    cancelled = Answer(409, "La operación fue cancelada; use un identificador nuevo")
    assert (await answer_of(job), await answer_of(joined)) == (cancelled, cancelled)
    assert await all_told(nodes) == [*DECLARED, *SERVICE, "end cancelled"]


async def test_the_work_of_a_node_that_died_is_taken_over_by_one_of_those_who_wait(
    nodes: list[Node], clock: FakeClock
) -> None:
    dead, *survivors = nodes
    lost = await held_at(dead)
    joined = [await begin_service(node) for node in survivors]
    await let_die(clock, survivors)
    assert [await answer_of(job) for job in joined] == [DONE, DONE]
    told_by_now = [*CUT, *SERVICE, "end completed"]
    assert await all_told(survivors) == told_by_now
    dead.gate.open()  # it was only asleep: what it says now changes nothing
    assert (await answer_of(lost)).http_status == 409
    assert await all_told(nodes) == told_by_now
    assert await answer_of(await begin_service(dead)) == DONE


async def test_the_work_of_a_node_that_died_is_told_as_interrupted_once(
    nodes: list[Node], clock: FakeClock
) -> None:
    dead, *survivors = nodes
    await held_at(dead)
    await let_die(clock, survivors * 3)
    assert await all_told(survivors) == CUT


async def test_nobody_is_taken_for_dead_because_the_broker_was_away_for_all(
    nodes: list[Node], clock: FakeClock
) -> None:
    here, there, _ = nodes
    job = await held_at(here)
    clock.advance(2 * LEASE_MS / 1000)
    joined = await begin_service(there)
    await there.beat()
    assert await told(there.progress.broker, BAJA) == SERVICE[:1]
    await here.beat()
    here.gate.open()
    assert (await answer_of(job), await answer_of(joined)) == (DONE, DONE)
    assert await all_told(nodes) == [*SERVICE, "end completed"]


async def test_what_a_node_leaves_undone_when_it_stops_is_taken_over_without_waiting_for_its_lease(
    nodes: list[Node],
) -> None:
    here, there, _ = nodes
    first = await held_at(here)
    joined = await begin_service(there)
    await here.stop()
    assert await answer_of(first) == STOPPED
    assert await answer_of(joined) == DONE
    assert await all_told(nodes) == [*CUT, *SERVICE, "end completed"]


async def test_an_answer_that_could_not_be_kept_at_once_reaches_other_nodes_later(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there, _ = nodes
    finish, is_away = here.service._claims._answers.finish, True

    async def finish_unless_away(*claim: Any, **answer: Any) -> bool:
        if is_away:
            raise UnavailableError("La base de datos no está disponible")
        return await finish(*claim, **answer)

    monkeypatch.setattr(here.service._claims._answers, "finish", finish_unless_away)
    first = await held_at(here)
    joined = await begin_service(there)
    here.gate.open()
    assert await answer_of(first) == DONE
    await here.progress.settle()
    assert not joined.answer.done()
    is_away = False
    await here.progress.settle()
    assert await answer_of(joined) == DONE
    assert await all_told(nodes) == [*SERVICE, "end completed"]


async def test_who_waits_while_nobody_can_tell_who_lives_is_asked_to_come_again(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there, _ = nodes
    await held_at(here)
    joined = await begin_service(there)

    async def away(_holder: str) -> bool:
        raise UnavailableError("El historial no está disponible")

    with monkeypatch.context() as patched:
        patched.setattr(there.progress.broker, "alive", away)
        assert await answer_of(joined) == Answer(503, "El historial no está disponible")
    again = await begin_service(there)
    here.gate.open()
    assert (again.fresh, await answer_of(again)) == (False, DONE)


async def test_who_waits_on_a_node_that_stops_is_told_so(nodes: list[Node]) -> None:
    await held_at(nodes[0])
    joined = await begin_service(nodes[1])
    await nodes[1].stop()
    assert await answer_of(joined) == STOPPED


async def test_a_clean_up_that_is_due_is_done_by_one_node(
    nodes: list[Node], clock: FakeClock, simulator: RouterSimulator
) -> None:
    cleanups = nodes[0].removals.cleanups
    ids = [
        await cleanups.begin(Owner(ANA, BAJA), address, WriteState.UNKNOWN)
        for address in ("10.0.0.3", "10.0.0.4")
    ]
    clock.advance(WORK_MS / 1000)
    for node in nodes:
        await node.beat()
    await asyncio.gather(*(node.cleaner.clean_due() for node in nodes * 2))
    await all_told(nodes)
    for cleanup_id in ids:
        steps = await told(nodes[0].progress.broker, operation_id_of(cleanup_id))
        assert steps == ["remove-router pending 0", *ROUTER, "end completed"]
    assert menus_with(simulator, "10.0.0.3") == set()


async def test_answers_that_are_old_are_forgotten_but_not_those_that_another_node_is_at(
    nodes: list[Node],
) -> None:
    first = await held_at(nodes[0])
    joined = await begin_service(nodes[1])
    await nodes[1].service._claims.forget(2**53)
    nodes[0].gate.open()
    assert (await answer_of(first), await answer_of(joined)) == (DONE, DONE)
    await all_told(nodes)
    await nodes[1].service._claims.forget(2**53)
    assert (await begin_service(nodes[1])).fresh
