"""Each step runs once: repeats join it, are answered again, or are the next attempt (protocol §6)."""

import asyncio

import pytest

from tests.provisioning.support import (
    BAJA,
    DONE,
    ROUTER,
    SERVICE,
    Begin,
    Gate,
    answer_of,
    first_step,
    idle,
    told,
)
from wellnet_sse.errors import BodyMismatchError
from wellnet_sse.progress.broker import Broker
from wellnet_sse.progress.events import UserId
from wellnet_sse.provisioning import AnswerKey, Claim, Removals
from wellnet_sse.provisioning.claims import Answer
from wellnet_sse.provisioning.service import RemovalService


async def test_twenty_equal_requests_are_one_execution_and_twenty_equal_answers(
    service: RemovalService, removals: Removals, begin: Begin, broker: Broker
) -> None:
    jobs = await asyncio.gather(*(begin(first_step(service, removals)) for _ in range(20)))
    assert [await answer_of(job) for job in jobs] == [DONE] * 20
    assert sum(job.fresh for job in jobs) == 1
    await idle(service._progress)
    assert await told(broker, BAJA) == [*SERVICE, "end completed"]


async def test_who_comes_while_it_runs_joins_it_and_who_comes_later_is_answered_again(
    service: RemovalService, removals: Removals, begin: Begin, gate: Gate, *, broker: Broker
) -> None:
    gate.shut()
    first = await begin(first_step(service, removals))
    joined = await begin(first_step(service, removals))
    assert (first.fresh, joined.fresh, joined.replayed) == (True, False, False)
    gate.open()
    assert await answer_of(first) == await answer_of(joined) == DONE
    await idle(service._progress)
    before = await told(broker, BAJA)
    later = await begin(first_step(service, removals))
    assert (later.fresh, later.replayed, await answer_of(later)) == (False, True, DONE)
    await idle(service._progress)
    assert await told(broker, BAJA) == before


async def test_a_request_whose_client_has_left_goes_on(
    service: RemovalService, removals: Removals, begin: Begin, gate: Gate, *, broker: Broker
) -> None:
    gate.shut()
    client = asyncio.ensure_future(begin(first_step(service, removals)))
    await gate.reached.wait()
    client.cancel()
    gate.open()
    await idle(service._progress)
    assert await told(broker, BAJA) == [*SERVICE, "end completed"]


async def test_a_request_whose_client_leaves_before_it_began_begins(
    service: RemovalService, removals: Removals, begin: Begin, broker: Broker
) -> None:
    claiming = Gate()
    claiming.shut()
    claim = service._claims._answers.claim

    async def claim_later(key: AnswerKey, *, body_hash: str, holder: str) -> Claim:
        await claiming()
        return await claim(key, body_hash=body_hash, holder=holder)

    service._claims._answers.claim = claim_later  # type: ignore[method-assign]
    client = asyncio.ensure_future(begin(first_step(service, removals)))
    await claiming.reached.wait()
    client.cancel()
    await asyncio.wait([client])
    claiming.open()
    await idle(service._progress)
    assert await told(broker, BAJA) == [*SERVICE, "end completed"]


async def test_another_user_does_the_same_under_the_same_name_for_himself(
    service: RemovalService, removals: Removals, begin: Begin, broker: Broker
) -> None:
    mine, yours = await asyncio.gather(
        begin(first_step(service, removals)), begin(first_step(service, removals), user_id=UserId(8))
    )
    assert (mine.fresh, yours.fresh) == (True, True)
    await idle(service._progress)
    assert await told(broker, BAJA, UserId(8)) == await told(broker, BAJA)


@pytest.mark.parametrize("running", [True, False])
async def test_another_body_is_refused_and_tells_nothing(
    service: RemovalService, removals: Removals, begin: Begin, gate: Gate, *, broker: Broker, running: bool
) -> None:
    if running:
        gate.shut()
    await begin(first_step(service, removals))
    await (gate.reached.wait() if running else idle(service._progress))
    before = await told(broker, BAJA)
    with pytest.raises(BodyMismatchError):
        await begin(first_step(service, removals, 4))
    assert await told(broker, BAJA) == before


async def test_a_failure_is_answered_and_the_next_attempt_may_have_another_body(
    service: RemovalService, removals: Removals, begin: Begin, broker: Broker
) -> None:
    unknown = await answer_of(await begin(first_step(service, removals, 51)))
    assert unknown == Answer(404, "No existe la conexión 51")
    await idle(service._progress)
    failed = [*SERVICE[:2], "remove-service error 0", "end failed"]
    assert await told(broker, BAJA) == failed
    again = await begin(first_step(service, removals))
    assert (again.fresh, await answer_of(again)) == (True, DONE)
    await idle(service._progress)
    assert await told(broker, BAJA) == [*failed, *SERVICE, "end completed"]


async def test_a_step_that_is_not_the_last_leaves_the_operation_open(
    service: RemovalService, removals: Removals, begin: Begin, broker: Broker
) -> None:
    await answer_of(await begin(first_step(service, removals), ends=False))
    await idle(service._progress)
    assert await told(broker, BAJA) == SERVICE
    await answer_of(await begin(service.single(removals.router("10.0.0.3")), ends=None))
    await idle(service._progress)
    assert await told(broker, BAJA) == [*SERVICE, *ROUTER, "end completed"]


async def test_who_asks_again_for_the_end_gets_it_although_the_first_did_not_ask(
    service: RemovalService, removals: Removals, begin: Begin, broker: Broker
) -> None:
    await answer_of(await begin(first_step(service, removals), ends=False))
    again = await begin(first_step(service, removals), ends=None)
    assert again.replayed
    await idle(service._progress)
    assert await told(broker, BAJA) == [*SERVICE, "end completed"]


async def test_a_mistake_of_ours_is_answered_without_its_text(
    service: RemovalService, removals: Removals, begin: Begin, *, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def mistaken(_id_conexion: int) -> None:
        raise LookupError("s3creto")

    monkeypatch.setattr(removals, "_existing", mistaken)
    answer = await answer_of(await begin(first_step(service, removals)))
    assert answer.http_status == 500
    assert "s3creto" not in answer.message
