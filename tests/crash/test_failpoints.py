"""The server dies at every boundary of every operation, and what it had begun is told and ended honestly.

For each boundary: it is killed there in the middle of a POST, another takes over the database, and then the
same POST comes again. The normal run takes a seeded sample of the boundaries, `make chaos` all of them.
"""

import asyncio
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.crash.world import (
    ENDING_SECONDS,
    HELD,
    Left,
    World,
    at_rest,
    completions,
    endings,
    open_records,
    pending,
    told_of,
    whole_log,
    world,
)
from tests.e2e.support import (
    ELIMINAR,
    ENDPOINTS,
    QUITAR_CONEXION,
    Endpoint,
    Told,
    address,
    do,
    ended,
    seq,
    told,
)
from tests.harness import ServerProcess, SseEvent, eventually

pytestmark = pytest.mark.slow

USER = 7
CONNECTION = 3
OPERATION = "op"
SEED = 20250717
SAMPLE = 6
AT_ONCE = 4

NOTHING_SENT = "no se había enviado nada al router"
NOT_KNOWN = "no se sabe si terminó"
CONFIRMED = "el router ya confirmó la eliminación"


@dataclass(frozen=True, slots=True)
class Death:
    """Where the server dies: at the last of the boundaries that it reaches."""

    endpoint: Endpoint
    reached: Sequence[str]

    def __str__(self) -> str:
        return f"{self.endpoint.path}, boundary {len(self.reached)}: {self.reached[-1]}"

    @property
    def begun(self) -> bool:
        """Whether the operation was named: the first commit does it."""
        return any(it.startswith("after commit") for it in self.reached)

    @property
    def left_to_do(self) -> list[str]:
        """The steps whose completion is not in the log, in order."""
        steps = dict.fromkeys(it.step for it in self.endpoint.events)
        return [step for step in steps if f"after commit [{step} completed 100]" not in self.reached]

    @property
    def knowledge(self) -> str:
        """What can be said of the router: only what was written down before."""
        if "after clean-up confirm" in self.reached:
            return CONFIRMED
        return NOT_KNOWN if "after clean-up begin" in self.reached else NOTHING_SENT

    @property
    def endings(self) -> list[str]:
        """The outcomes that are told: one for each opening."""
        return ["interrupted", "completed"] if self.begun and self.left_to_do else ["completed"]


async def all_deaths(directory: Path, template: Path, *endpoints: Endpoint) -> list[list[Death]]:
    """A death at each boundary of an undisturbed run, for each endpoint."""
    deaths, before = [], 0
    async with (
        world(directory, template) as one,
        one.dying_server() as server,
        server.http(user=USER) as http,
    ):
        for number, endpoint in enumerate(endpoints):
            answer = await do(http, endpoint.path, CONNECTION + number, f"{OPERATION}{number}")
            assert answer.json() == {"success": True, "message": endpoint.message}
            reached = one.boundaries()[before:]
            deaths.append([Death(endpoint, reached[: n + 1]) for n in range(len(reached))])
            before += len(reached)
    return deaths


async def die(one: World, death: Death) -> list[Told]:
    """Let a server die; return what its log tells, after a look at what it left."""
    server = one.dying_server(dies_at=len(death.reached))
    try:
        await server.start()
        async with server.http(user=USER) as http:
            with pytest.raises(httpx.TransportError):
                await do(http, death.endpoint.path, CONNECTION, OPERATION)
        assert await server.wait() == -9
    finally:
        server.sweep()
    assert one.boundaries() == death.reached, "every run goes through the same boundaries"
    check_record(one, pending=bool(open_records(one, address(CONNECTION))))
    return told_of(one, OPERATION)


def check_record(one: World, *, pending: bool) -> None:
    """Completion and the router agree, or there is a record of it; `pending` was looked up first."""
    completed, entries = completions(one), one.entries(address(CONNECTION))
    assert pending or not (completed and entries), "completed, entries remain, and nobody will look"
    assert pending or completed or entries == HELD, "removed, not completed, and nobody will look"


def check_log(events: Sequence[SseEvent], death: Death, before: Sequence[Told]) -> None:
    """What a client reads from the beginning: in order, nothing lost, one ending for each opening."""
    ids = [seq(it.id) for it in events]
    assert ids == sorted(set(ids))
    steps = told(it.json for it in events if it.event == "message")
    assert steps[: len(before)] == list(before), "what was committed before the death is still told"
    assert endings(events) == death.endings
    assert events[-1].event == "end"
    for one, following in itertools.pairwise(events):
        assert one.event == "message" or following.event == "message", "an ending of no opening"
    if death.endings[0] == "interrupted":
        at = next(n for n, it in enumerate(events) if it.event == "operation")
        check_interruption(told([events[at - 1].json])[0], death)
    assert steps[-1] == death.endpoint.events[-1]


def check_interruption(last: Told, death: Death) -> None:
    """The interrupted step says where it was, and what is known of the router."""
    step = death.left_to_do[0]
    assert last[:3] == (step, "error", 0)
    assert last.message.startswith(f"Interrumpido en el paso {step}: ")
    assert [it for it in (NOTHING_SENT, NOT_KNOWN, CONFIRMED) if it in last.message] == [death.knowledge]


async def survive(one: World, death: Death) -> None:
    """Die, recover, repeat."""
    before = await die(one, death)
    sent = one.removals_sent()
    assert sent == 0 or death.knowledge != NOTHING_SENT
    assert one.entries(address(CONNECTION)) == 0 or death.knowledge != CONFIRMED
    async with one.server() as server, server.http(user=USER) as http:
        if death.begun:
            state = await ended(http, OPERATION, ENDING_SECONDS)
            assert state["outcome"] == death.endings[0]
        else:
            assert (await http.get(f"/api/operaciones/{OPERATION}")).status_code == 404
        check_record(one, pending=bool(await pending(http)))
        await repeat(server, http, death)
        check_log(await whole_log(server, http, USER, OPERATION), death, before)
        await eventually(lambda: nothing_pending(http, death), ENDING_SECONDS)
        await at_rest(http)
        await check_cleanups(http)
    check_rest(one, death.endpoint)


async def repeat(server: ServerProcess, http: httpx.AsyncClient, death: Death) -> None:
    """The same POST again is answered as if nothing had happened."""
    answer = await do(http, death.endpoint.path, CONNECTION, OPERATION)
    assert (answer.status_code, answer.json()) == (200, {"success": True, "message": death.endpoint.message})
    assert ("idempotent-replay" in answer.headers) == (not death.left_to_do)
    assert (await ended(http, OPERATION, ENDING_SECONDS))["outcome"] == "completed"
    assert "Traceback" not in server.log, server.tail()


async def nothing_pending(http: httpx.AsyncClient, death: Death) -> bool:
    """Whether everything is tidied up; what is certain may be so at leisure."""
    certain = "after commit [remove-router completed 100]" in death.reached
    return all(certain and it["escritura"] == "confirmed" for it in await pending(http))


async def check_cleanups(http: httpx.AsyncClient) -> None:
    """A clean-up is told as an operation of its own, which ends as well."""
    found = (await http.get("/api/operaciones")).json()["operations"]
    for operation_id in [it["operation_id"] for it in found if it["operation_id"] != OPERATION]:
        assert operation_id.startswith("limpieza-")
        assert (await ended(http, operation_id, ENDING_SECONDS))["outcome"] == "completed"


def check_rest(one: World, endpoint: Endpoint) -> None:
    """Nothing is left of what the endpoint removes, and all is left of everything else."""
    whole = endpoint.path == ELIMINAR
    rows = {
        "assignments": int(not (whole or endpoint is ENDPOINTS[0])),
        "configurations": int(not (whole or endpoint is ENDPOINTS[2])),
        "temporary_files": int(not (whole or endpoint is ENDPOINTS[2])),
    }
    entries = 0 if whole or endpoint.path == QUITAR_CONEXION else HELD
    assert one.left(CONNECTION) == Left(entries, rows)
    one.check_others(CONNECTION)


async def survive_all(directory: Path, template: Path, deaths: Sequence[Death]) -> None:
    """Each in a world of its own, some at a time; every failure is told, each with where it was."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, death: Death) -> None:
        async with slots:
            try:
                async with world(directory / f"world-{number}", template) as house:
                    await survive(house, death)
            except Exception as error:
                error.add_note(f"died at {death}")
                raise

    outcomes = await asyncio.gather(*(one(*it) for it in enumerate(deaths)), return_exceptions=True)
    failures = [it for it in outcomes if isinstance(it, Exception)]
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(deaths)} deaths", failures)


@pytest.mark.timeout(180)
async def test_a_sample_of_deaths_is_survived(tmp_path: Path, template: Path) -> None:
    """The boundary between the last event and the stored answer is always among them."""
    whole, router = await all_deaths(tmp_path / "undisturbed", template, ENDPOINTS[3], ENDPOINTS[1])
    removing = next(it for it in router if it.reached[-1] == "after router DELETE ppp/secret")
    unanswered = [whole[-2], router[-2]]
    assert [it.reached[-1] for it in unanswered] == ["before answer eliminar", "before answer remove-router"]
    chosen = random.Random(SEED).sample(whole[:-2], SAMPLE)  # noqa: S311 - seeded
    await survive_all(tmp_path, template, [*chosen, *unanswered, removing])


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda it: it.path)
async def test_every_death_is_survived(tmp_path: Path, template: Path, endpoint: Endpoint) -> None:
    (deaths,) = await all_deaths(tmp_path / "undisturbed", template, endpoint)
    await survive_all(tmp_path, template, deaths)
