"""However often, across any restart: the same (user, operation, step) is one execution (protocol §6)."""

import asyncio
from collections.abc import Sequence

import httpx
import pytest

from tests.crash.world import ENDING_SECONDS, HELD, World, at_rest, endings, pending, whole_log
from tests.e2e.support import (
    ELIMINAR,
    ENDPOINTS,
    QUITAR_CONEXION,
    ROUTER,
    Endpoint,
    address,
    do,
    ended,
    told,
)
from tests.harness import ServerProcess, eventually
from wellnet_sse.simulator import Behaviour

pytestmark = pytest.mark.slow

USER = 7
CONNECTION = 4
OPERATION = "op"
POSTS = 50

EACH = pytest.mark.parametrize("endpoint", [ENDPOINTS[1], ENDPOINTS[3]], ids=lambda it: it.path)


async def post_all(server: ServerProcess, endpoint: Endpoint) -> list[httpx.Response | httpx.TransportError]:
    """Fifty at once, each over a connection of its own; a connection that broke is an answer too."""

    async def one() -> httpx.Response | httpx.TransportError:
        try:
            return await do(http, endpoint.path, CONNECTION, OPERATION)
        except httpx.TransportError as error:
            return error

    limits = httpx.Limits(max_connections=POSTS)
    async with server.http(user=USER, limits=limits, timeout=30) as http:
        return await asyncio.gather(*(one() for _ in range(POSTS)))


def replays(answers: Sequence[httpx.Response | httpx.TransportError], endpoint: Endpoint) -> int:
    """See that all are the documented answer; how many of them were replayed."""
    assert len(answers) == POSTS
    for answer in answers:
        assert isinstance(answer, httpx.Response), answer
        assert answer.status_code == 200
        assert answer.json() == {"success": True, "message": endpoint.message}
    return sum("idempotent-replay" in it.headers for it in answers if isinstance(it, httpx.Response))


async def executions(server: ServerProcess) -> tuple[int, list[str]]:
    """How often the router's step was begun and completed under the operation, and its endings."""
    async with server.http(user=USER) as http:
        await ended(http, OPERATION, ENDING_SECONDS)
        events = await whole_log(server, http, USER, OPERATION)
    steps = told(it.json for it in events if it.event == "message")
    assert steps.count(ROUTER[2]) == 1
    return steps.count(ROUTER[0]), endings(events)


async def calls_of_one(house: World, server: ServerProcess, endpoint: Endpoint) -> int:
    """How often the router is called for one execution: that of another connection."""
    before = house.simulator.calls.total()
    async with server.http(user=USER) as http:
        assert (await do(http, endpoint.path, CONNECTION + 1, "another")).status_code == 200
    return house.simulator.calls.total() - before


@EACH
async def test_fifty_at_once_are_one_execution(house: World, endpoint: Endpoint) -> None:
    async with house.server(idle_seconds=1) as server:
        alone = await calls_of_one(house, server, endpoint)
        before = house.simulator.calls.total()
        house.simulator.behave(Behaviour(mode="unreachable"))
        posts = asyncio.ensure_future(post_all(server, endpoint))
        await eventually(lambda: house.simulator.calls.total() > before)
        house.simulator.behave(Behaviour())
        replays(await posts, endpoint)
        assert house.simulator.calls.total() - before == alone
        assert await executions(server) == (1, ["completed"])
    assert house.entries(address(CONNECTION)) == 0


@EACH
async def test_fifty_before_and_fifty_after_a_death_in_the_middle_are_one_execution(
    house: World, endpoint: Endpoint
) -> None:
    """It dies with half of the router's entries removed; nothing is asked to be removed twice."""
    async with house.dying_server(idle_seconds=1, dies_at="after router DELETE ppp/active") as server:
        broken = await post_all(server, endpoint)
        assert all(isinstance(it, httpx.TransportError) for it in broken), "nobody was told what was not so"
        assert await server.wait() == -9
    assert house.removals_sent() == 3
    async with house.server(idle_seconds=1) as server:
        replays(await post_all(server, endpoint), endpoint)
        begun, outcomes = await executions(server)
        assert (begun, outcomes) == (2, ["interrupted", "completed"])
        async with server.http(user=USER) as http:
            await eventually(lambda: nothing_pending(http), ENDING_SECONDS)
            await at_rest(http)
        # The clean-up looks as well, and may come first, or at the same time, to the two that were left.
        assert house.removals_sent() in {HELD, HELD + 1, HELD + 2}
        assert house.entries(address(CONNECTION)) == 0
        calls = house.simulator.calls.total()
        assert replays(await post_all(server, endpoint), endpoint) == POSTS
        assert house.simulator.calls.total() == calls


async def nothing_pending(http: httpx.AsyncClient) -> bool:
    return await pending(http) == []


@pytest.mark.parametrize("path", [QUITAR_CONEXION, ELIMINAR])
async def test_after_a_death_at_the_end_all_are_replays(house: World, path: str) -> None:
    endpoint = next(it for it in ENDPOINTS if it.path == path)
    async with house.server(idle_seconds=1) as server:
        replays(await post_all(server, endpoint), endpoint)
        await server.kill()
    calls = house.simulator.calls.total()
    async with house.server(idle_seconds=1) as server:
        assert replays(await post_all(server, endpoint), endpoint) == POSTS
        assert house.simulator.calls.total() == calls
        assert await executions(server) == (1, ["completed"])
        assert house.simulator.calls.total() == calls
