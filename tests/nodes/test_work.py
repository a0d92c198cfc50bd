"""Work that is asked for, watched and cancelled through any node; what a dead one was at is told once."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from tests.e2e.support import CONFIG, ELIMINAR, PENDING, ROUTER, SERVICE, Told, do, state, told
from tests.harness import ServerProcess, SseReader, ValkeyServer
from tests.nodes.conftest import LEASE_SECONDS, MakeNodes
from wellnet_sse.simulator import Behaviour, RouterSimulator

pytestmark = pytest.mark.slow

USER = 7
BAJA = "baja-3"
DONE = (200, {"success": True, "message": "Conexión eliminada por completo"})
ALL = [*PENDING, *SERVICE, *ROUTER, *CONFIG]
MARGIN_SECONDS = 2.0
"""Three times a lease a node looks for what the dead were at, and then it is told."""


@asynccontextmanager
async def watched(nodes: Sequence[ServerProcess]) -> AsyncIterator[list[SseReader]]:
    """A reader of the user's operations on each node."""
    async with AsyncExitStack() as stack:
        readers = [SseReader(f"{node.url}/sse/progress?userId={USER}") for node in nodes]
        for reader in readers:
            await stack.enter_async_context(reader)
        for reader in readers:
            await reader.until_live()
        yield readers


async def story(reader: SseReader) -> tuple[list[Told], str]:
    """What a reader is told of the operation next, up to and with its ending."""
    *events, ending = await reader.until(lambda it: it.event == "operation", 20)
    return told(it.json for it in events), ending.json["outcome"]


async def ask(node: ServerProcess) -> httpx.Response:
    """Have the whole of connection 3 removed, and wait for the answer."""
    async with node.http(user=USER, timeout=30) as client:
        return await do(client, ELIMINAR, 3, BAJA)


async def begun(node: ServerProcess) -> None:
    """The same, but do not wait for it."""
    async with node.http(user=USER) as client:
        assert (await do(client, ELIMINAR, 3, BAJA, Prefer="respond-async")).status_code == 202


def answered(response: httpx.Response) -> tuple[int, object]:
    return response.status_code, response.json()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_fifty_equal_requests_over_four_nodes_are_one_execution(
    make_nodes: MakeNodes, simulator: RouterSimulator, database: str
) -> None:
    nodes = await make_nodes(4, database=database)
    async with watched(nodes) as readers:
        answers = await asyncio.gather(*(ask(nodes[number % 4]) for number in range(50)))
        assert [answered(answer) for answer in answers] == [DONE] * 50
        assert [await story(reader) for reader in readers] == [(ALL, "completed")] * 4
        calls = simulator.calls.copy()
        # Any node answers once more, and nothing is done or told.
        again = await ask(nodes[2])
        assert again.headers["Idempotent-Replay"] == "true"
        assert answered(again) == DONE
        assert simulator.calls == calls
        async with nodes[0].http(user=USER) as client:
            assert answered(await do(client, ELIMINAR, 4, "baja-4")) == DONE
        assert simulator.calls == {call: 2 * count for call, count in calls.items()}
        other = [await story(reader) for reader in readers]
    assert other == [(ALL, "completed")] * 4


async def test_cancelling_through_one_node_reaches_the_work_of_another(
    make_nodes: MakeNodes, simulator: RouterSimulator
) -> None:
    here, there = await make_nodes(2)
    simulator.behave(Behaviour("unreachable"))
    async with watched([here, there]) as readers:
        await begun(here)
        async with there.http(user=USER, timeout=30) as client:
            await readers[1].until(lambda it: "Conectando con el router" in it.data)
            joined = asyncio.create_task(do(client, ELIMINAR, 3, BAJA))
            assert (await client.post(f"/api/operaciones/{BAJA}/cancelar", json={})).status_code == 202
            simulator.behave(Behaviour())
            assert (await joined).status_code == 409
        told_here, outcome = await story(readers[0])
        assert (told_here, outcome) == ([*PENDING, *SERVICE, *ROUTER], "cancelled")
        for node in (here, there):
            assert (await ask(node)).status_code == 409


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_what_a_node_was_at_when_it_died_is_told_as_interrupted_once_and_can_be_done_again(
    make_nodes: MakeNodes, simulator: RouterSimulator, database: str
) -> None:
    dead, *others = await make_nodes(4, database=database)
    simulator.behave(Behaviour("unreachable"))
    async with watched(others) as readers:
        await begun(dead)
        for reader in readers:
            await reader.until(lambda it: "Conectando con el router" in it.data)
        await dead.kill()
        died_at = time.monotonic()
        endings = []
        for reader in readers:
            error, ending = await reader.until(lambda it: it.event == "operation", 20)
            assert told([error.json])[0][:3] == ("remove-router", "error", 0)
            endings.append(ending)
        assert time.monotonic() - died_at < LEASE_SECONDS + MARGIN_SECONDS
        assert {ending.json["outcome"] for ending in endings} == {"interrupted"}
        simulator.behave(Behaviour())
        assert answered(await ask(others[0])) == DONE
        # What follows on each node is the new attempt alone: it was told once.
        again = [await story(reader) for reader in readers]
    assert again == [([*ROUTER, *CONFIG], "completed")] * 3


async def test_a_node_that_starts_when_valkey_returns_interrupts_nobody_who_lives(
    make_nodes: MakeNodes, simulator: RouterSimulator, own_valkey: ValkeyServer
) -> None:
    """No lease was renewed while it was away, and who lives has not yet said so when the newcomer looks."""
    here, newcomer = await make_nodes(2, broker=own_valkey)
    assert await newcomer.terminate() == 0
    simulator.behave(Behaviour("unreachable"))
    async with watched([here]) as (reader,):
        await begun(here)
        await reader.until(lambda it: "Conectando con el router" in it.data)
        own_valkey.freeze()
        await asyncio.sleep(LEASE_SECONDS + 1)  # the outage itself
        here.signal(signal.SIGSTOP)
        own_valkey.thaw()
        await newcomer.start()
        here.signal(signal.SIGCONT)
        simulator.behave(Behaviour())
        assert await story(reader) == ([*ROUTER[1:], *CONFIG], "completed")
    async with newcomer.http(user=USER) as client:
        assert (await state(client, BAJA))["outcome"] == "completed"
