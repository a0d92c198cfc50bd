"""A Valkey that answers nothing for a while, to any node or to one of them alone (protocol §3, §8)."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.clients import Client, SseClient
from tests.chaos.proxy import CALM, FaultProxy
from tests.chaos.storm import CONVERGED_SECONDS, HEARTBEAT_SECONDS, Plan, report, storm
from tests.conftest import MakeServer
from tests.harness import ServerProcess, ValkeyServer

pytestmark = pytest.mark.slow

GROWTH_BYTES = 20 * 1024 * 1024
READER_BYTES = 256 * 1024
"""How much a node may grow, and for each of its readers, from before until all have caught up (protocol §8).

It keeps nothing for what is away; but when that is back, all who read there catch up at the same time.
"""

SHORT = Plan(
    seed=8,
    users=5,
    streams=20,
    followers=10,
    sockets=10,
    events_per_second=100,
    kills=1,
    calm_seconds=(0.5, 1),
)
LONG = replace(
    SHORT, users=20, streams=180, followers=60, sockets=60, events_per_second=200, calm_seconds=(2, 3)
)


class Away:
    """Takes Valkey away for so long: `frozen` (SIGSTOP) for all, `cut` by the proxy for the first node."""

    def __init__(
        self,
        how: str,
        seconds: float,
        valkey: ValkeyServer,
        proxy: FaultProxy,
        nodes: Sequence[ServerProcess],
    ) -> None:
        self._how = how
        self._seconds = seconds
        self._valkey = valkey
        self._proxy = proxy
        self._nodes = nodes
        self._before: list[int] = []
        self.published = 0
        """How much further those were in the end who watch at a node that was not cut off, all together."""

    def grown(self) -> list[int]:
        """By how many bytes each node is larger than before."""
        return [node.memory_bytes - before for node, before in zip(self._nodes, self._before, strict=True)]

    async def __call__(self, server: ServerProcess, clients: Sequence[Client]) -> None:
        """See `tests.chaos.storm.End`."""
        begun, connections = asyncio.get_running_loop().time(), _connections(clients)
        self._before = [node.memory_bytes for node in self._nodes]
        places = {client: client.position for client in clients}
        with self._proxy.cut_off() if self._how == "cut" else self._frozen():
            await asyncio.sleep(self._seconds)  # so long it is away; nothing is waited for
            for node in self._nodes:
                async with node.http() as client:
                    is_away = self._how == "frozen" or node is server
                    assert (await client.get("/readyz")).status_code == (503 if is_away else 200)
            # Whoever reads at one that is cut off is told nothing but that it is still connected.
            assert _connections(clients) == connections
            for reader in clients:
                if isinstance(reader, SseClient):
                    assert reader.stream is not None
                    assert reader.stream.heard_at > begun + HEARTBEAT_SECONDS / 2
                if self._how == "cut" and reader.port != server.port:
                    assert reader.position > places[reader], "the others go on, for users of both"
                    self.published += reader.position - places[reader]

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        self._valkey.freeze()
        try:
            yield
        finally:
            self._valkey.thaw()


def _connections(clients: Sequence[Client]) -> int:
    return sum(len(client.log.asked) for client in clients)


@pytest.mark.parametrize("how", ["frozen", "cut"])
@pytest.mark.parametrize(
    ("count", "seconds", "plan"),
    [(2, 2.0, SHORT), pytest.param(3, 30.0, LONG, marks=[pytest.mark.chaos, pytest.mark.timeout(150)])],
)
async def test_while_it_is_away_nothing_false_is_answered_and_then_nothing_is_missing(
    make_server: MakeServer,
    own_valkey: ValkeyServer,
    tmp_path: Path,
    *,
    how: str,
    count: int,
    seconds: float,
    plan: Plan,
) -> None:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(FaultProxy(own_valkey.port, seed=plan.seed, faults=CALM))
        nodes = [
            await make_server(
                demo=False,
                broker_url=f"redis://127.0.0.1:{port}",
                database_url=f"sqlite:///{tmp_path}/shared.db",
                broker_wait_seconds=1,
                heartbeat_seconds=HEARTBEAT_SECONDS,
            )
            for port in [proxy.port, *[own_valkey.port] * (count - 1)]
        ]
        away = Away(how, seconds, own_valkey, proxy, nodes)
        weather = await storm(nodes[0], plan, end=away, others=nodes[1:])
        grown = away.grown()
        print(  # noqa: T201 - the figures of `-s`
            f"{weather.figures()}; {how}: meanwhile the others' readers saw {away.published}; "
            f"nodes grew by {[f'{size / 1e6:.1f} MB' for size in grown]}"
        )
        assert not report(weather)
        assert max(weather.live_seconds) <= CONVERGED_SECONDS, weather.live_seconds
        assert max(grown) < GROWTH_BYTES + READER_BYTES * (plan.streams + plan.sockets) / count
        for node in nodes:
            assert "Traceback" not in node.log, node.log
