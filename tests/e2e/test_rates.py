"""How fast a user may act: over HTTP, over sockets, and at several servers that share a Valkey."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.conftest import MakeServer, demo_settings
from tests.e2e.support import DOCUMENTED, body_of, joined, publish, state
from tests.e2e.test_refusals import assert_refused
from tests.harness import LegacySocket, ServerProcess, SseReader, V2Socket, ValkeyServer

BURST = 5
PER_SECOND = 0.05


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """One where a user has done enough for a while after five."""
    settings = demo_settings({"actions_per_second": PER_SECOND, "actions_burst": BURST})
    directory = tmp_path_factory.mktemp("server")
    async with ServerProcess(directory, arguments=["--demo"], settings=settings) as process:
        yield process


async def spend(client: httpx.AsyncClient) -> str:
    """Do all that the user may; return the cursor. What is repeated counts as well."""
    answers = [await publish(client, "op", "copy", key="the same") for _ in range(BURST)]
    assert {it.status_code for it in answers} == {201}
    (cursor,) = {it.json()["cursor"] for it in answers}
    return str(cursor)


async def limited(client: httpx.AsyncClient) -> float:
    """How many were refused for it, as Prometheus is told."""
    text = (await client.get("/metrics")).text
    found = re.search(r'^wellnet_limited_total{code="too_many_actions"} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_who_acts_too_fast_is_refused_and_nothing_is_done(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    cursor, counted = await spend(mine), await limited(mine)
    doors = [
        ("/api/operaciones", {"operation_id": "other"}),
        *((f"/api/operaciones/op/{verb}", {}) for verb in ("detener", "cancelar")),
        ("/api/operaciones/op/pasos/copy", {"status": "completed", "message": "Hecho"}),
        *((path, body_of(path, 1)) for path in DOCUMENTED),
    ]
    for path, body in doors:
        refused = await mine.post(path, json=body, headers={"X-Operation-ID": "other"})
        assert_refused(refused, 429)
        if path not in DOCUMENTED:
            assert refused.json()["code"] == "too_many_actions"
        assert 0 < int(refused.headers["Retry-After"]) <= 1 / PER_SECOND
    assert await limited(mine) == counted + len(doors)
    found = await state(mine, "op")
    assert (found["cursor"], found["outcome"], found["steps"][0]["status"]) == (cursor, None, "in_progress")
    assert (await mine.get("/api/operaciones/other")).status_code == 404
    connection = (await mine.get("/api/conexiones?limit=1")).json()["conexiones"][0]
    assert (connection["configurada"], len(connection["servicios"])) == (True, 1)

    # To look is not to act, and others may act.
    async with SseReader(f"{server.url}/sse/progress?userId={user}") as stream:
        await stream.until_live()
    async with server.http(user=user + 1_000_000) as other:
        await spend(other)


async def test_work_for_nobody_is_counted_for_nobody(http: httpx.AsyncClient) -> None:
    path = DOCUMENTED[0]
    answers = [await http.post(path, json=body_of(path, 7)) for _ in range(BURST + 1)]
    assert {it.status_code for it in answers} == {200}


async def test_v2_is_told_and_stays_open(server: ServerProcess, mine: httpx.AsyncClient, user: int) -> None:
    await spend(mine)
    async with V2Socket(f"{server.ws_url}/ws/progress?userId={user}") as socket:
        await socket.until_live()
        for kind in ("start", "stop", "cancel"):
            await socket.send({"type": f"{kind}_operation", "operation_id": "op"})
            answer = await socket.next()
            assert (answer.event, answer.data["code"]) == ("error", "too_many_actions")
            assert re.search(r"en \d+ s$", answer.data["detail"])
        await socket.send_raw("{")
        assert (await socket.next()).data["code"] == "bad_request"
    assert (await state(mine, "op"))["outcome"] is None


async def test_the_documented_socket_knows_no_word_for_it_and_is_closed(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    counted = await limited(mine)
    async with LegacySocket(f"{server.ws_url}/ws/progress?userId={user}") as tab:
        await joined(tab, mine)  # which is one
        for number in range(BURST):
            await tab.start(f"op-{number}")
        assert (await tab.closed())[0] == 1008
    assert (await mine.get(f"/api/operaciones/op-{BURST - 2}")).status_code == 200
    assert (await mine.get(f"/api/operaciones/op-{BURST - 1}")).status_code == 404
    assert await limited(mine) == counted + 1


async def test_the_rate_holds_over_all_servers(
    make_server: MakeServer, valkey: ValkeyServer, tmp_path: Path, user: int
) -> None:
    shared = {
        "broker_url": valkey.url,
        "database_url": f"sqlite:///{tmp_path}/both.db",
        "actions_per_second": 1,
        "actions_burst": 6,
    }
    here = await make_server(demo=False, **shared)  # type: ignore[arg-type]
    there = await make_server(demo=False, **shared)  # type: ignore[arg-type]
    async with here.http(user=user) as one, there.http(user=user) as two:
        begun = time.monotonic()
        answers = await asyncio.gather(*(publish((one, two)[n % 2], "op", f"s{n}") for n in range(16)))
        let_in = sum(it.status_code == 201 for it in answers)
        assert 6 <= let_in <= 6 + time.monotonic() - begun
        assert {it.status_code for it in answers} == {201, 429}
        assert len((await state(one, "op"))["steps"]) == let_in

        # Whoever waits for as long as was said is let in, here or there.
        refused = await publish(one, "op", "late")
        assert_refused(refused, 429)
        said_at, wait_seconds = time.monotonic(), int(refused.headers["Retry-After"])
        asked_at, answer = said_at, refused
        while answer.status_code == 429:
            assert asked_at < said_at + wait_seconds
            asked_at, answer = time.monotonic(), await publish(two, "op", "late")
        assert answer.status_code == 201
