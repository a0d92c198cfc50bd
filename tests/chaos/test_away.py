"""A Valkey that answers nothing for a while, to anybody or to this server alone (protocol §3, §8)."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.clients import Client
from tests.chaos.proxy import CALM, FaultProxy
from tests.chaos.storm import HEARTBEAT_SECONDS, Plan, report, storm
from tests.conftest import MakeServer
from tests.harness import ServerProcess, ValkeyServer

pytestmark = pytest.mark.slow

CONVERGED_SECONDS = 5.0
GROWTH_MB = 40.0

# Nobody follows one operation: whoever comes back meanwhile to one that has ended gets a stream, and no 204.
SHORT = Plan(
    seed=8, users=5, streams=15, followers=0, sockets=5, events_per_second=100, kills=1, calm_seconds=(0.5, 1)
)
LONG = replace(SHORT, users=20, streams=150, sockets=50, events_per_second=300)


def memory_mb(server: ServerProcess) -> float:
    """What the server has in memory."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


class Away:
    """Takes Valkey away for so long: `frozen` (SIGSTOP) for all, `cut` by the proxy for one server."""

    def __init__(self, how: str, seconds: float, valkey: ValkeyServer, proxy: FaultProxy) -> None:
        self.grown_mb = 0.0
        self._seconds = seconds
        self._how = how
        self._valkey = valkey
        self._proxy = proxy

    async def __call__(self, server: ServerProcess, _clients: Sequence[Client]) -> None:
        """See `tests.chaos.storm.End`."""
        before = memory_mb(server)
        with self._proxy.cut_off() if self._how == "cut" else self._frozen():
            await asyncio.sleep(self._seconds)  # so long it is away; nothing is waited for
            async with server.http() as client:
                assert (await client.get("/readyz")).status_code == 503
            self.grown_mb = memory_mb(server) - before

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        self._valkey.freeze()
        try:
            yield
        finally:
            self._valkey.thaw()


@pytest.mark.parametrize("how", ["frozen", "cut"])
@pytest.mark.parametrize(
    ("seconds", "plan"),
    [(2.0, SHORT), pytest.param(30.0, LONG, marks=[pytest.mark.chaos, pytest.mark.timeout(150)])],
)
async def test_while_it_is_away_nothing_false_is_answered_and_then_nothing_is_missing(
    make_server: MakeServer, own_valkey: ValkeyServer, how: str, seconds: float, plan: Plan
) -> None:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(FaultProxy(own_valkey.port, seed=plan.seed, faults=CALM))
        server = await make_server(
            demo=False,
            broker_url=f"redis://127.0.0.1:{proxy.port}",
            broker_wait_seconds=1,
            heartbeat_seconds=HEARTBEAT_SECONDS,
        )
        away = Away(how, seconds, own_valkey, proxy)
        weather = await storm(server, plan, end=away)
        print(weather.figures(), f"grown by {away.grown_mb:.1f} MB")  # noqa: T201 - the figures of `-s`
        assert not report(weather)
        assert max(weather.live_seconds) <= CONVERGED_SECONDS, weather.live_seconds
        assert away.grown_mb < GROWTH_MB
        assert "Traceback" not in server.log, server.log
