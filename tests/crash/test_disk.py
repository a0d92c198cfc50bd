"""A database that is locked or a disk that is full: said clearly, nothing answered is lost, and it passes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path

import httpx
import pytest

from tests.crash.troubles import Trouble, can_mount, full, limited, locked, small_file_system
from tests.crash.world import HELD, World, endings, pending, whole_log, world
from tests.e2e.support import ELIMINAR, ENDPOINTS, address, do, ended, publish, published, seq, state
from tests.harness import ServerProcess, SseReader, eventually
from tests.harness.sse import Comment
from wellnet_sse.simulator import Behaviour

pytestmark = pytest.mark.slow

USER = 7
CONNECTION = 5
LONG = "x" * 1500
TROUBLES: dict[str, Trouble] = {"locked": locked, "limited": limited, "full": full}

REFUSED_SECONDS = 15.0
"""SQLite waits 5 s for a lock, and who comes second has waited as long for the first."""


@pytest.fixture(params=TROUBLES)
async def trouble(request: pytest.FixtureRequest) -> Trouble:
    return TROUBLES[request.param]


@pytest.fixture
async def house(trouble: Trouble, tmp_path: Path, template: Path) -> AsyncIterator[World]:
    """A world on a small file system of its own where that is to become full."""
    small = trouble is full
    if small and not can_mount(tmp_path / "probe"):
        pytest.skip("only root may mount a file system; `limited` stands for it")
    directory = tmp_path / "house"
    with small_file_system(directory) if small else nullcontext():
        async with world(directory, template) as one:
            yield one


class Ledger:
    """A publisher, and the cursors that it was answered."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.cursors: list[str] = []

    async def publish(self) -> httpx.Response:
        """Publish once; what is answered is written down."""
        answer = await publish(self._http, "ledger", "step", message=LONG)
        if answer.status_code == 201:
            self.cursors.append(answer.json()["cursor"])
        return answer

    async def until_refused(self) -> httpx.Response:
        """Publish on until there is no more room."""
        answer = await eventually(self._refusal, REFUSED_SECONDS)
        assert answer is not None
        return answer

    async def until_taken(self) -> None:
        """Publish on until it is taken again."""

        async def taken() -> bool:
            return (await self.publish()).status_code == 201

        await eventually(taken, REFUSED_SECONDS)

    async def _refusal(self) -> httpx.Response | None:
        answer = await self.publish()
        return None if answer.status_code == 201 else answer


def check_refusal(answer: httpx.Response) -> None:
    """A person and a program both know what to do."""
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    if answer.headers["content-type"] == "application/problem+json":
        assert answer.json()["code"] == "unavailable"
    else:
        assert answer.json() == {"success": False, "message": "La base de datos no está disponible"}


def heartbeats(stream: SseReader) -> int:
    return sum(isinstance(line, Comment) for line in stream.lines)


async def test_publishers_are_told_and_nothing_answered_is_missing(house: World, trouble: Trouble) -> None:
    async with (
        house.server(heartbeat_seconds=1) as server,
        server.http(user=USER, timeout=30) as http,
        SseReader(f"{server.url}/sse/progress?userId={USER}") as stream,
    ):
        ledger = Ledger(http)
        await ledger.publish()
        await stream.until_live()
        with trouble(house, server):
            check_refusal(await ledger.until_refused())
            others = [do(http, ELIMINAR, CONNECTION + n, f"op{n}") for n in range(3)]
            answers = await asyncio.gather(*others, *(ledger.publish() for _ in range(3)))
            for answer in answers[:3]:
                check_refusal(answer)
            assert (await http.get("/healthz")).status_code == 200
            assert (await state(http, "ledger"))["outcome"] is None
            heard = heartbeats(stream)
            await eventually(lambda: heartbeats(stream) > heard)
        await ledger.until_taken()
        assert (await do(http, ELIMINAR, CONNECTION, "after")).status_code == 200
        last = await published(http, "last", "step", "in_progress")
        events = await stream.until(lambda it: it.id == last)
        assert_in_log([it.id for it in events if it.event == "message"], ledger)
        await check_from_the_beginning(server, ledger, last)


async def check_from_the_beginning(server: ServerProcess, ledger: Ledger, last: str) -> None:
    """Somebody who was not there reads the same."""
    first = f"{last.rpartition('-')[0]}-0"
    async with SseReader(f"{server.url}/sse/progress?userId={USER}", last_event_id=first) as stream:
        events = await stream.until_live()
    ids = [it.id for it in events if it.event in {"message", "operation"}]
    assert [seq(it) for it in ids] == list(range(1, seq(ids[-1]) + 1))
    assert_in_log(ids, ledger)


def assert_in_log(ids: list[str | None], ledger: Ledger) -> None:
    missing = set(ledger.cursors) - set(ids) - {ledger.cursors[0]}  # the first came as state, before live
    assert not missing, f"{len(missing)} of {len(ledger.cursors)} that were answered"


async def test_work_in_the_middle_ends_honestly(house: World, trouble: Trouble) -> None:
    """The router is being waited for when it begins; whether its next event found room or not is told."""
    async with house.server() as server, server.http(user=USER, timeout=40) as http:
        ledger = Ledger(http)
        house.simulator.behave(Behaviour(mode="unreachable"))
        work = asyncio.ensure_future(do(http, ELIMINAR, CONNECTION, "op"))
        await eventually(lambda: house.simulator.calls.total() > 0)
        with trouble(house, server):
            house.simulator.behave(Behaviour())
            check_refusal(await ledger.until_refused())
        answer = await work
        found = await ended(http, "op", REFUSED_SECONDS)
        assert (answer.status_code, found["outcome"]) in {(200, "completed"), (503, "failed")}
        if answer.status_code == 503:
            check_refusal(answer)
            told = {it["step"]: (it["status"], it["message"]) for it in found["steps"]}
            assert told["remove-router"] == ("error", "Error: La base de datos no está disponible")
        assert "in_progress" not in {it["status"] for it in found["steps"]}
        assert house.entries(address(CONNECTION)) in {0, HELD} or await pending(http)
        again = await do(http, ELIMINAR, CONNECTION, "op")
        assert again.json() == {"success": True, "message": ENDPOINTS[3].message}
        outcomes = endings(await whole_log(server, http, USER, "op"))
        assert outcomes == [*(["failed"] if found["outcome"] == "failed" else []), "completed"]
    assert house.entries(address(CONNECTION)) == 0
    house.check_others(CONNECTION)


@pytest.mark.chaos
@pytest.mark.timeout(120)
@pytest.mark.parametrize("trouble", ["limited"], indirect=True)
async def test_a_disk_that_is_full_for_longer_than_anybody_waits(house: World, trouble: Trouble) -> None:
    """Whoever asked is answered; the ending is written when there is room, without a restart."""
    async with house.server() as server, server.http(user=USER, timeout=60) as http:
        house.simulator.behave(Behaviour(mode="unreachable"))
        work = asyncio.ensure_future(do(http, ELIMINAR, CONNECTION, "op"))
        await eventually(lambda: house.simulator.calls.total() > 0)
        with trouble(house, server):
            house.simulator.behave(Behaviour())
            check_refusal(await work)
            assert (await state(http, "op"))["outcome"] is None
        found = await ended(http, "op", REFUSED_SECONDS)
        assert found["outcome"] == "failed"
        assert "in_progress" not in {it["status"] for it in found["steps"]}
