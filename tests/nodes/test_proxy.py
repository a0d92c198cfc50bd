"""Nodes behind the proxy of deploy/compose, replaced one after another while people work."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.deploy.proxies import Proxy, compose_nginx
from tests.e2e.support import ELIMINAR, QUITAR_ASIGNACION, begin, do, publish, seq
from tests.harness import EventSourceClient, SseReader, eventually
from tests.nodes.conftest import MakeNodes
from wellnet_sse.simulator import Behaviour, RouterSimulator

USER = 7
WORKERS = 3
SOURCES = 4

pytestmark = pytest.mark.system


class Workers:
    """People who have one connection after another removed, its first step."""

    def __init__(self, proxy: Proxy) -> None:
        self.answers: list[int] = []
        self._proxy = proxy
        self._is_over = False
        self._tasks = [asyncio.create_task(self._work(number)) for number in range(WORKERS)]

    async def more(self, count: int) -> None:
        """Wait until they have had so many more answers."""
        wanted = len(self.answers) + count
        await eventually(lambda: len(self.answers) >= wanted)

    async def end(self) -> None:
        """Let each have the answer that it waits for, and no more."""
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def _work(self, worker: int) -> None:
        number = 0
        async with self._proxy.http(user=USER) as client:
            while not self._is_over:
                operation_id = f"baja-{worker}-{number}"
                answer = await do(client, QUITAR_ASIGNACION, number % 50 + 1, operation_id)
                self.answers.append(answer.status_code)
                number += 1
                await asyncio.sleep(0.02)


async def test_nodes_that_are_replaced_one_after_another_are_never_missed(
    make_nodes: MakeNodes, tmp_path: Path
) -> None:
    nodes = await make_nodes(2, retry_ms=100)
    proxy = compose_nginx(tmp_path / "proxy", *(f"127.0.0.1:{node.port}" for node in nodes))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(proxy)
        sources = [EventSourceClient(f"{proxy.url}/sse/progress?userId={USER}") for _ in range(SOURCES)]
        for source in sources:
            await stack.enter_async_context(source)
            await source.until(lambda it: it.type == "live")
        workers = Workers(proxy)
        for node in nodes:
            assert await node.terminate() == 0
            await node.start()
            await workers.more(10)
        await workers.end()
        assert set(workers.answers) == {200}, proxy.written()[-3000:]
        newest = 4 * len(workers.answers)  # a step has four events
        for source in sources:
            await source.until(lambda it: bool(it.last_event_id) and seq(it.last_event_id) >= newest)
            told = [it for it in source.lines if it.type == "message"]
            # What is told again has been seen already; nothing is left out, and nothing is out of order.
            assert list(dict.fromkeys(seq(it.last_event_id) for it in told)) == list(range(1, newest + 1))
            assert "gap" not in {it.type for it in source.lines}
            assert {it.ready_state for it in source.lines} <= {0, 1}


async def test_what_a_draining_node_refuses_another_one_takes(
    make_nodes: MakeNodes, simulator: RouterSimulator, tmp_path: Path
) -> None:
    """A publisher who sends keys sees nothing of it, nor does who begins and stops operations."""
    nodes = await make_nodes(2)
    simulator.behave(Behaviour("unreachable"))
    proxy = compose_nginx(tmp_path / "proxy", *(f"127.0.0.1:{node.port}" for node in nodes))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(proxy)
        reader = await stack.enter_async_context(SseReader(f"{nodes[0].url}/sse/progress?userId={USER}"))
        await reader.until_live()
        draining = await stack.enter_async_context(nodes[0].http(user=USER))
        assert (await do(draining, ELIMINAR, 3, "baja", Prefer="respond-async")).status_code == 202
        await reader.until(
            lambda it: "Conectando con el router" in it.data
        )  # which keeps it there for a while
        nodes[0].signal(signal.SIGTERM)

        async def refuses() -> bool:
            return (await draining.get("/readyz")).status_code == 503

        await eventually(refuses)
        client = await stack.enter_async_context(proxy.http(user=USER))
        for number in range(6):  # half of which meet it first
            await begin(client, f"import-{number}", "copy")
            answer = await publish(client, f"import-{number}", "copy", key=f"copy-{number}")
            assert answer.status_code == 201
            answer = await client.post(f"/api/operaciones/import-{number}/detener", json={})
            assert answer.status_code == 202
        assert await refuses()
        simulator.behave(Behaviour())
        assert await nodes[0].wait() == 0
