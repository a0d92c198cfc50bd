"""Requests whose work was cut off, or whose answer could not be kept: the log says what was done."""

import asyncio

import pytest
from sqlalchemy import select, update

from tests.provisioning.support import ALL_DONE, ANA, BAJA, Gate, answer_of, hold, idle, menus_with, told
from wellnet_sse.errors import UnavailableError
from wellnet_sse.progress.broker import Broker
from wellnet_sse.progress.tracker import Progress
from wellnet_sse.provisioning import Removals, RouterClient, WriteState
from wellnet_sse.provisioning.claims import Answer
from wellnet_sse.provisioning.service import Job, RemovalService, Request
from wellnet_sse.provisioning.tables import Answer as Kept
from wellnet_sse.simulator import RouterSimulator
from wellnet_sse.storage.database import Database

ADDRESS = "10.0.0.3"
DONE = Answer(200, "Conexión eliminada")
STOPPED = Answer(503, "El servidor se detuvo antes de terminar")


@pytest.fixture
def work(service: RemovalService, removals: Removals) -> Request:
    return service.single(removals.router(ADDRESS))


@pytest.fixture
def successor(seeded: Database, removals: Removals, progress: Progress) -> RemovalService:
    """The service of the next process: it knows nothing of what this one was at."""
    return RemovalService(seeded, removals, progress, answers_seconds=86_400)


async def begin(service: RemovalService, request: Request, *, operation_id: str = BAJA) -> Job:
    return await service.begin(request, user_id=ANA, operation_id=operation_id, ends=True)


async def forget_answers(database: Database, *steps: str) -> None:
    """As if the process had died between the last event and keeping the answer."""
    lost = {"status": "running", "http_status": None, "message": None, "finished_at": None}
    async with database.writing() as connection:
        await connection.execute(update(Kept).where(Kept.step.in_(steps)).values(lost))


async def kept(database: Database) -> list[tuple[str, str, int]]:
    async with database.reading() as connection:
        rows = await connection.execute(select(Kept.step, Kept.status, Kept.attempt).order_by(Kept.step))
        return [(row.step, row.status, row.attempt) for row in rows]


async def test_an_answer_that_was_lost_is_found_in_the_log_without_any_work(
    service: RemovalService, work: Request, successor: RemovalService, seeded: Database, *, broker: Broker
) -> None:
    await answer_of(await begin(service, work))
    await idle(service._progress)
    await forget_answers(seeded, "remove-router")
    before = await told(broker, BAJA)
    jobs = await asyncio.gather(*(begin(successor, work) for _ in range(5)))
    assert [await answer_of(job) for job in jobs] == [DONE] * 5
    assert not any(job.fresh for job in jobs)
    await idle(service._progress)
    assert await told(broker, BAJA) == before
    assert await kept(seeded) == [("remove-router", "completed", 2)]
    assert successor._claims._running == {}


async def test_a_whole_removal_whose_answer_was_lost_is_found_too(
    service: RemovalService, successor: RemovalService, seeded: Database, broker: Broker
) -> None:
    await answer_of(await begin(service, service.whole(3)))
    await idle(service._progress)
    await forget_answers(seeded, "eliminar", "remove-config")
    before = await told(broker, BAJA)
    job = await begin(successor, successor.whole(3))
    assert (job.fresh, job.replayed, await answer_of(job)) == (False, True, ALL_DONE)
    assert await told(broker, BAJA) == before


async def test_a_part_whose_answer_was_lost_is_skipped_by_the_whole(
    service: RemovalService, work: Request, successor: RemovalService, seeded: Database, *, broker: Broker
) -> None:
    await answer_of(await begin(service, work))
    await idle(service._progress)
    await forget_answers(seeded, "remove-router")
    assert await answer_of(await begin(successor, successor.whole(3))) == ALL_DONE
    await idle(service._progress)
    assert (await told(broker, BAJA)).count("remove-router completed 100") == 1


async def test_work_that_was_cut_off_is_answered_as_stopped_and_done_anew(
    service: RemovalService, work: Request, routers: RouterClient, seeded: Database, *, broker: Broker
) -> None:
    gate = hold(routers, WriteState.UNKNOWN)
    first = await begin(service, work)
    joined = await begin(service, work)
    await gate.reached.wait()
    await service._progress.supervisor.drain(grace_seconds=0)
    assert (await answer_of(first), await answer_of(joined)) == (STOPPED, STOPPED)
    assert service._claims._running == {}
    again = await begin(service, work)
    assert (again.fresh, await answer_of(again)) == (True, DONE)
    await idle(service._progress)
    assert await kept(seeded) == [("remove-router", "completed", 2)]
    assert (await told(broker, BAJA))[-1] == "end completed"


async def test_a_whole_removal_that_was_cut_off_half_way_is_not_taken_for_done(
    service: RemovalService, gate: Gate, simulator: RouterSimulator, broker: Broker
) -> None:
    gate.shut(after=2)
    await begin(service, service.whole(3))
    await gate.reached.wait()
    await service._progress.supervisor.drain(grace_seconds=0)
    gate.open()
    again = await begin(service, service.whole(3))
    assert (again.fresh, await answer_of(again)) == (True, ALL_DONE)
    assert menus_with(simulator, ADDRESS) == set()
    assert (await told(broker, BAJA)).count("remove-service completed 100") == 1


async def test_work_that_was_cut_off_after_its_completion_is_not_done_again(
    service: RemovalService,
    work: Request,
    removals: Removals,
    simulator: RouterSimulator,
    broker: Broker,
    *,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its record was not yet let go of: that is for the cleaner."""
    settling = Gate()
    settling.shut()

    async def never(_address: str) -> None:
        await settling()

    monkeypatch.setattr(removals.cleanups, "resolve", never)
    first = await begin(service, work)
    await settling.reached.wait()
    await service._progress.supervisor.drain(grace_seconds=0)
    assert await answer_of(first) == STOPPED
    before = await told(broker, BAJA)
    assert before[-2:] == ["remove-router completed 100", "end completed"]
    calls = simulator.calls.total()
    again = await begin(service, work)
    assert (again.fresh, again.replayed, await answer_of(again)) == (False, True, DONE)
    assert await told(broker, BAJA) == before
    assert simulator.calls.total() == calls
    assert [it.write_state for it in await removals.cleanups.of_user(ANA)] == [WriteState.CONFIRMED]


async def test_a_record_that_cannot_be_let_go_of_does_not_make_a_failure_of_done_work(
    service: RemovalService,
    work: Request,
    removals: Removals,
    broker: Broker,
    *,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def away(_address: str) -> None:
        raise UnavailableError("La base de datos no está disponible")

    monkeypatch.setattr(removals.cleanups, "resolve", away)
    assert await answer_of(await begin(service, work)) == DONE
    await idle(service._progress)
    assert (await told(broker, BAJA))[-1] == "end completed"
    assert len(await removals.cleanups.of_user(ANA)) == 1


async def test_an_answer_that_cannot_be_kept_is_given_all_the_same(
    service: RemovalService, work: Request, broker: Broker, *, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_answer: object, **_rest: object) -> bool:
        raise UnavailableError("La base de datos no está disponible")

    with monkeypatch.context() as patched:
        patched.setattr(service._claims._answers, "finish", away)
        assert await answer_of(await begin(service, work)) == DONE
        await idle(service._progress)
    assert service._claims._running == {}
    before = await told(broker, BAJA)
    again = await begin(service, work)
    assert (again.replayed, await answer_of(again)) == (True, DONE)
    assert await told(broker, BAJA) == before


async def test_a_log_that_cannot_be_read_refuses_for_now_and_keeps_nobody_waiting(
    service: RemovalService, work: Request, successor: RemovalService, seeded: Database, *, broker: Broker
) -> None:
    await answer_of(await begin(service, work))
    await idle(service._progress)
    await forget_answers(seeded, "remove-router")
    looked, go_on = asyncio.Event(), asyncio.Event()
    read_log = successor._claims._done

    async def away(*_key: object) -> str | None:
        looked.set()
        await go_on.wait()
        raise UnavailableError("El historial no está disponible")

    successor._claims._done = away
    first = asyncio.ensure_future(begin(successor, work))
    await looked.wait()
    joined = await begin(successor, work)
    go_on.set()
    with pytest.raises(UnavailableError):
        await first
    assert await answer_of(joined) == Answer(503, "El historial no está disponible")
    assert successor._claims._running == {}
    successor._claims._done = read_log
    before = await told(broker, BAJA)
    again = await begin(successor, work)
    assert (again.replayed, await answer_of(again)) == (True, DONE)
    assert await told(broker, BAJA) == before


async def test_a_request_that_is_cut_off_before_it_began_is_told_so(
    service: RemovalService, work: Request, *, monkeypatch: pytest.MonkeyPatch
) -> None:
    claiming = Gate()
    claiming.shut()

    async def never(*_key: object, **_rest: object) -> object:
        await claiming()
        raise AssertionError("it was cut off")

    monkeypatch.setattr(service._claims._answers, "claim", never)
    client = asyncio.ensure_future(begin(service, work))
    await claiming.reached.wait()
    await service._progress.supervisor.drain(grace_seconds=0)
    with pytest.raises(UnavailableError, match="se detuvo"):
        await client
    assert service._claims._running == {}


async def test_old_answers_are_forgotten_and_then_the_work_is_done_again(
    service: RemovalService, work: Request, seeded: Database, broker: Broker
) -> None:
    await answer_of(await begin(service, work))
    await idle(service._progress)
    await service.forget_old_answers()
    assert len(await kept(seeded)) == 1
    async with seeded.writing() as connection:
        a_day_ago = update(Kept).values(finished_at=Kept.finished_at - 86_400_001)
        await connection.execute(a_day_ago)
    await service.forget_old_answers()
    assert await kept(seeded) == []
    again = await begin(service, work)
    assert (again.fresh, await answer_of(again)) == (True, DONE)
    await idle(service._progress)
    assert (await told(broker, BAJA)).count("remove-router completed 100") == 2
