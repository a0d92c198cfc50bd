"""All three steps as one operation, and work that nobody is told of (protocol §6)."""

import asyncio

import pytest

from tests.provisioning.support import (
    ALL_DONE,
    ANA,
    BAJA,
    CONFIG,
    DECLARED,
    DONE,
    ROUTER,
    SERVICE,
    Begin,
    Cable,
    Gate,
    answer_of,
    first_step,
    hold,
    idle,
    joining,
    menus_with,
    told,
)
from wellnet_sse.errors import OperationCancelledError
from wellnet_sse.progress.broker import Broker
from wellnet_sse.progress.events import UserId
from wellnet_sse.progress.tracker import Progress
from wellnet_sse.provisioning import Removals, RouterClient, WriteState
from wellnet_sse.provisioning.claims import Answer
from wellnet_sse.provisioning.service import RemovalService
from wellnet_sse.simulator import Behaviour, RouterSimulator


async def test_all_steps_are_one_operation(
    service: RemovalService, begin: Begin, broker: Broker, simulator: RouterSimulator
) -> None:
    assert await answer_of(await begin(service.whole(3))) == ALL_DONE
    await idle(service._progress)
    assert await told(broker, BAJA) == [*DECLARED, *SERVICE, *ROUTER, *CONFIG, "end completed"]
    assert menus_with(simulator, "10.0.0.3") == set()
    again = await begin(service.whole(3))
    assert (again.replayed, await answer_of(again)) == (True, ALL_DONE)


async def test_what_is_completed_is_skipped(
    service: RemovalService, removals: Removals, begin: Begin, broker: Broker, *, cable: Cable
) -> None:
    await cable.pull()
    assert (await answer_of(await begin(service.whole(3)))).http_status == 504
    await idle(service._progress)
    before = await told(broker, BAJA)
    assert before == [*DECLARED, *SERVICE, ROUTER[0], "remove-router error 0", "end failed"]
    await cable.plug()
    assert await answer_of(await begin(service.whole(3))) == ALL_DONE
    await idle(service._progress)
    assert await told(broker, BAJA) == [*before, *ROUTER, *CONFIG, "end completed"]
    assert await removals.cleanups.of_user(ANA) == []


async def test_a_part_that_somebody_is_at_is_waited_for(
    service: RemovalService, removals: Removals, begin: Begin, gate: Gate, *, broker: Broker
) -> None:
    gate.shut()
    part = await begin(first_step(service, removals), ends=False)
    await gate.reached.wait()
    joined = joining(service)
    whole = await begin(service.whole(3))
    await joined.wait()
    gate.open()
    assert (await answer_of(part), await answer_of(whole)) == (DONE, ALL_DONE)
    await idle(service._progress)
    all_told = await told(broker, BAJA)
    assert [it for it in all_told if it.startswith("remove-service")] == SERVICE
    assert all_told[-4:] == [*CONFIG, "end completed"]


async def test_a_part_that_somebody_else_fails_at_fails_the_whole_in_the_same_words(
    service: RemovalService,
    removals: Removals,
    begin: Begin,
    routers: RouterClient,
    simulator: RouterSimulator,
    *,
    broker: Broker,
) -> None:
    simulator.behave(Behaviour(mode="refusing"))
    gate = hold(routers, WriteState.NOT_SENT)
    part = await begin(service.single(removals.router("10.0.0.3")), ends=False)
    await gate.reached.wait()
    joined = joining(service)
    whole = await begin(service.whole(3))
    await joined.wait()
    gate.open()
    answer = await answer_of(part)
    assert answer.http_status == 502
    assert await answer_of(whole) == answer
    await idle(service._progress)
    assert (await told(broker, BAJA)).count("remove-router error 0") == 1


async def test_a_part_that_was_done_with_another_body_is_not_mistaken_for_this_ones(
    service: RemovalService, removals: Removals, begin: Begin, broker: Broker, *, simulator: RouterSimulator
) -> None:
    await answer_of(await begin(service.single(removals.router("10.0.0.4")), ends=False))
    answer = await answer_of(await begin(service.whole(3)))
    assert answer.http_status == 422
    await idle(service._progress)
    assert (await told(broker, BAJA))[-1] == "end failed"
    assert len(menus_with(simulator, "10.0.0.3")) == 5


async def test_an_unknown_connection_fails_in_the_first_step(
    service: RemovalService, begin: Begin, broker: Broker
) -> None:
    assert await answer_of(await begin(service.whole(51))) == Answer(404, "No existe la conexión 51")
    await idle(service._progress)
    assert await told(broker, BAJA) == [*DECLARED, *SERVICE[:2], "remove-service error 0", "end failed"]


async def test_a_cancellation_takes_effect_between_steps(
    service: RemovalService, begin: Begin, gate: Gate, broker: Broker, *, simulator: RouterSimulator
) -> None:
    gate.shut()
    job = await begin(service.whole(3))
    await gate.reached.wait()
    await service._progress.cancel(ANA, BAJA)
    with pytest.raises(OperationCancelledError):
        await begin(service.whole(3))
    gate.open()
    assert (await answer_of(job)).http_status == 409
    await idle(service._progress)
    assert await told(broker, BAJA) == [*DECLARED, *SERVICE, "end cancelled"]
    assert simulator.calls.total() == 0
    with pytest.raises(OperationCancelledError):
        await begin(service.whole(3))


async def test_a_cancellation_that_comes_first_by_a_hair_is_told_to_whoever_asked(
    service: RemovalService,
    removals: Removals,
    begin: Begin,
    broker: Broker,
    *,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await service._progress.name(ANA, BAJA)
    find = broker.operation

    async def find_then_cancel(user_id: UserId, operation_id: str) -> object:
        found = await find(user_id, operation_id)
        monkeypatch.setattr(broker, "operation", find)
        await service._progress.cancel(user_id, operation_id)
        return found

    monkeypatch.setattr(broker, "operation", find_then_cancel)
    with pytest.raises(OperationCancelledError):
        await begin(first_step(service, removals))
    assert await told(broker, BAJA) == ["end cancelled"]


# Work that nobody is told of


async def test_untold_work_is_done_and_nothing_is_told(
    service: RemovalService, progress: Progress, simulator: RouterSimulator
) -> None:
    assert await service.run_untold(service.whole(3)) == ALL_DONE
    assert menus_with(simulator, "10.0.0.3") == set()
    assert progress.broker.active_operations() == 0
    assert await service.run_untold(service.whole(51)) == Answer(404, "No existe la conexión 51")


async def test_untold_work_goes_on_without_its_client(
    service: RemovalService, gate: Gate, simulator: RouterSimulator
) -> None:
    gate.shut()
    client = asyncio.ensure_future(service.run_untold(service.whole(3)))
    await gate.reached.wait()
    client.cancel()
    gate.open()
    await idle(service._progress)
    assert menus_with(simulator, "10.0.0.3") == set()
