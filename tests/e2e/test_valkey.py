"""Servers whose history is in Valkey."""

from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.conftest import MakeServer
from tests.harness import ServerProcess, SseReader, ValkeyServer, eventually

UPDATE = {"status": "in_progress", "message": "Copiando...", "progress": 40}


async def _is_up(client: httpx.AsyncClient) -> bool:
    return "wellnet_broker_up 1.0" in (await client.get("/metrics")).text


async def _is_down(client: httpx.AsyncClient) -> bool:
    return "wellnet_broker_up 0.0" in (await client.get("/metrics")).text


async def _publish(client: httpx.AsyncClient, operation_id: str) -> httpx.Response:
    return await client.post(f"/api/operaciones/{operation_id}/pasos/copy", json=UPDATE)


async def test_what_one_server_is_told_is_streamed_by_another(
    make_server: MakeServer, valkey: ValkeyServer, tmp_path: Path
) -> None:
    database_url = f"sqlite+aiosqlite:///{tmp_path}/both.db"
    here = await make_server(demo=False, broker_url=valkey.url, database_url=database_url)
    there = await make_server(demo=False, broker_url=valkey.url, database_url=database_url)
    async with (
        here.http(user=7) as client,
        there.http(user=7) as other,
        SseReader(f"{there.url}/sse/progress?userId=7") as reader,
    ):
        await reader.until_live()
        answer = await _publish(client, "import-1")
        assert answer.status_code == 201
        event = await reader.next()
        assert event.id == answer.json()["cursor"]
        assert (await other.get("/api/operaciones/import-1")).json()["cursor"] == event.id


async def test_a_server_with_a_database_of_its_own_does_not_start(
    make_server: MakeServer, valkey: ValkeyServer
) -> None:
    """A request that is repeated there would be work done twice."""
    await make_server(demo=False, broker_url=valkey.url)
    with pytest.raises(AssertionError, match="ended while it started") as caught:
        await make_server(demo=False, broker_url=valkey.url)
    assert "WELLNET_DATABASE_URL" in str(caught.value)
    assert "Traceback" not in str(caught.value)


async def test_the_cap_of_streams_holds_over_all_servers(
    make_server: MakeServer, own_valkey: ValkeyServer, tmp_path: Path
) -> None:
    database_url = f"sqlite:///{tmp_path}/both.db"
    shared = {"broker_url": own_valkey.url, "database_url": database_url, "streams_per_user": 3}
    here = await make_server(demo=False, **shared)  # type: ignore[arg-type]
    there = await make_server(demo=False, lease_seconds=3, **shared)  # type: ignore[arg-type]

    async def status(server: ServerProcess) -> int:
        async with (
            server.http(user=7) as client,
            client.stream("GET", "/sse/progress") as answer,
        ):
            return answer.status_code

    url = "/sse/progress?userId=7"
    async with AsyncExitStack() as stack:
        for server in (here, here, there):
            reader = await stack.enter_async_context(SseReader(server.url + url))
            assert (await reader.opened()).status == 200
        assert [await status(server) for server in (here, there)] == [429, 429]
        await there.kill()
        assert await status(here) == 429
        # Those of a dead server count no more as soon as its lease is over.
        assert await eventually(lambda: _is(status(here), 200), timeout_seconds=10)
        await there.start()
        assert await eventually(lambda: _is(status(there), 200), timeout_seconds=3)
        await own_valkey.kill()
        assert await status(there) == 200, "each server knows of its own alone"


async def _is(status: Awaitable[int], wanted: int) -> bool:
    return await status == wanted


async def test_while_valkey_is_away_publishers_hear_so_and_streams_stay_open(
    make_server: MakeServer, own_valkey: ValkeyServer
) -> None:
    server = await make_server(
        demo=False, broker_url=own_valkey.url, broker_wait_seconds=0.3, heartbeat_seconds=0.5
    )
    async with server.http(user=7) as client, SseReader(f"{server.url}/sse/progress?userId=7") as reader:
        await reader.until_live()
        assert await eventually(lambda: _is_up(client))
        assert (await _publish(client, "over")).status_code == 201
        ended = await client.post("/api/operaciones/over/detener", json={})
        await reader.until(lambda event: event.event == "operation")
        await own_valkey.kill()
        refused = await _publish(client, "import-1")
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        assert (await client.get("/readyz")).status_code == 503
        await eventually(lambda: _is_down(client))
        over = f"{server.url}/sse/operations/over?userId=7"
        async with (
            SseReader(f"{server.url}/sse/operations/import-1?userId=7") as late,
            SseReader(over, last_event_id=ended.json()["cursor"]) as last,
        ):
            assert (await late.opened()).status == 200
            assert (await last.opened()).status == 200, "nobody knows whether it was re-opened"
            await own_valkey.start()
            await eventually(lambda: _is_up(client))
            answer = await _publish(client, "import-1")
            assert answer.status_code == 201
            for one in (reader, late):
                event = await one.until(lambda event: event.event == "message")
                assert event[-1].id == answer.json()["cursor"]
            assert await last.rest() == []
        async with SseReader(over, last_event_id=ended.json()["cursor"]) as last:
            assert (await last.opened()).status == 204
