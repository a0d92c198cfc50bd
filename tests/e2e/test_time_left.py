"""Time left and stuck work: what is said of an operation that goes on, out of what such steps took here."""

import asyncio
from datetime import datetime
from typing import Any

import httpx

from tests.conftest import MakeServer
from tests.e2e.support import ELIMINAR, do
from tests.harness import RouterControl, eventually, free_port

DELAY_SECONDS = 0.05
"""How long the router takes for each answer, of a dozen: long enough to be seen at work."""


async def test_end_is_foreseen_and_stuck_work_is_told(make_server: MakeServer, user: int) -> None:
    port = free_port()
    server = await make_server(demo_router_bind=f"127.0.0.1:{port}")
    router = RouterControl(port)
    await router.behave("slow", delay_seconds=DELAY_SECONDS)
    async with server.http(user=user) as client:
        assert "estimate" not in await _while_at_work(client, 1, "first")
        others = (do(client, ELIMINAR, number, f"op-{number}") for number in range(2, 6))
        assert {answer.status_code for answer in await asyncio.gather(*others)} == {200}
    assert await server.terminate() == 0
    await server.start()
    await router.behave("slow", delay_seconds=DELAY_SECONDS)
    async with server.http(user=user) as client:
        state = await _while_at_work(client, 6, "sixth")
        ends = [datetime.fromisoformat(state["estimate"][name]) for name in ("p50", "p90")]
        finished = datetime.fromisoformat((await _state(client, "sixth"))["finished_at"])
        assert datetime.fromisoformat(state["updated_at"]) < ends[0] <= ends[1]
        assert abs((finished - ends[0]).total_seconds()) < 2

        await router.behave("unreachable")
        working = asyncio.create_task(do(client, ELIMINAR, 7, "stuck"))

        async def is_stalled() -> bool:
            state = await _state(client, "stuck")
            return any(step.get("stalled") for step in state.get("steps", ()))

        await eventually(is_stalled)
        state = await _state(client, "stuck")
        assert [step["step"] for step in state["steps"] if step.get("stalled")] == ["remove-router"]
        assert "estimate" not in state
        await router.behave("normal")
        await working
        assert "stalled" not in str(await _state(client, "stuck"))


async def _state(client: httpx.AsyncClient, operation: str) -> dict[str, Any]:
    state: dict[str, Any] = (await client.get(f"/api/operaciones/{operation}")).json()
    return state


async def _while_at_work(client: httpx.AsyncClient, connection: int, operation: str) -> dict[str, Any]:
    """Remove a connection; return the operation's state while the router is worked on."""
    working = asyncio.create_task(do(client, ELIMINAR, connection, operation))
    seen: dict[str, Any] = {}

    async def at_router() -> bool:
        seen.update(await _state(client, operation))
        return any(it["message"].startswith("Eliminando configuración IP") for it in seen.get("steps", ()))

    await eventually(at_router)
    assert (await working).status_code == 200
    return seen
