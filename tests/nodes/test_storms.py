"""Several processes under load, and what ends one of them, or Valkey: nothing is lost (protocol §8)."""

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import httpx
import pytest

from tests.chaos.clients import Client
from tests.chaos.storm import CONVERGED_SECONDS, HEARTBEAT_SECONDS, Plan, report, storm
from tests.harness import ServerProcess, ValkeyServer, eventually, free_ports
from tests.nodes.conftest import MakeProcesses

pytestmark = pytest.mark.slow

CALM = Plan(
    seed=5,
    users=6,
    streams=45,
    followers=5,
    sockets=15,
    events_per_second=100,
    kills=0,
    calm_seconds=(4, 4),
)
MANY = replace(
    CALM, users=50, streams=300, followers=50, sockets=100, events_per_second=500, calm_seconds=(20, 20)
)


async def readers_of_each(port: int, count: int) -> list[int]:
    """How many streams and sockets each process has, by the address at which each is watched."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answers = [await client.get(f"http://127.0.0.1:{port + place}/metrics") for place in range(count)]
    return [int(answer.text.partition("\nwellnet_connections ")[2].split(".")[0]) for answer in answers]


class Ends:
    """Brings parts of a server to their end, in turn; each is there again when it returns."""

    def __init__(self, *parts: str, valkey: ValkeyServer, seed: int) -> None:
        self.done: list[str] = []
        self._parts = parts
        self._valkey = valkey
        self._random = Random(seed)  # noqa: S311 - seeded, so that a run can be repeated

    async def __call__(self, server: ServerProcess, _clients: Sequence[Client]) -> None:
        """See `tests.chaos.storm.End`."""
        part = self._parts[len(self.done) % len(self._parts)]
        if part == "valkey":
            await self._valkey.restart()
        elif part == "process":
            await killed(server, self._random.choice(sorted(server.children)))
        else:
            await replaced(server)
        self.done.append(part)


async def killed(server: ServerProcess, pid: int) -> None:
    """Kill one process, and wait until another serves in its place."""
    count = server.log.count("listening")
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: server.log.count("listening") > count, timeout_seconds=20)


async def replaced(server: ServerProcess) -> None:
    """Have all processes replaced, one after another."""
    before, count = server.children, server.log.count("process_replaced")
    server.signal(signal.SIGHUP)
    await eventually(
        lambda: server.log.count("process_replaced") == count + len(before) and not before & server.children,
        timeout_seconds=60,
    )


@pytest.mark.parametrize(
    ("processes", "plan", "share"),
    [
        (2, CALM, 0.8),  # of what is offered: so that it was a storm at all, whatever else the machine does
        pytest.param(2, MANY, 0.99, marks=pytest.mark.chaos),
        pytest.param(4, MANY, 0.99, marks=pytest.mark.chaos),
    ],
)
@pytest.mark.timeout(120)
async def test_every_reader_of_any_process_sees_every_event_once_and_in_order(
    make_processes: MakeProcesses, valkey: ValkeyServer, processes: int, plan: Plan, share: float
) -> None:
    port = free_ports(processes)
    server = await make_processes(
        processes, valkey=valkey, heartbeat_seconds=HEARTBEAT_SECONDS, metrics_bind=f"127.0.0.1:{port}"
    )
    readers: list[int] = []

    async def look() -> None:
        expected = plan.streams + plan.sockets
        readers[:] = await eventually(lambda: _all(port, processes, expected), timeout_seconds=20)

    looking = asyncio.create_task(look())
    weather = await storm(server, plan)
    await looking
    print(weather.figures(), f"readers of each process: {readers}")  # noqa: T201 - the figures of `-s`
    assert not report(weather)
    assert min(readers) > plan.streams / processes / 3, readers
    assert weather.published_per_second >= share * plan.events_per_second, weather.figures()


async def _all(port: int, count: int, expected: int) -> list[int]:
    readers = await readers_of_each(port, count)
    return readers if sum(readers) >= expected else []


@pytest.mark.parametrize(
    ("parts", "plan"),
    [
        (["process", "valkey", "replace"], replace(CALM, kills=3, calm_seconds=(0.3, 1.0))),
        pytest.param(
            ["process", "valkey"],
            replace(MANY, seed=6, kills=40, calm_seconds=(0.5, 2)),
            marks=[pytest.mark.chaos, pytest.mark.timeout(400)],
        ),
        pytest.param(
            ["replace"],
            replace(MANY, seed=7, kills=2, calm_seconds=(2, 3)),
            marks=[pytest.mark.chaos, pytest.mark.timeout(240)],
        ),
    ],
    ids=["each", "kills", "replacements"],
)
async def test_whatever_ends_nothing_that_was_answered_is_lost(
    make_processes: MakeProcesses, own_valkey: ValkeyServer, parts: list[str], plan: Plan
) -> None:
    server = await make_processes(
        2 if plan.streams < 100 else 4, valkey=own_valkey, heartbeat_seconds=HEARTBEAT_SECONDS
    )
    ends = Ends(*parts, valkey=own_valkey, seed=plan.seed)
    weather = await storm(server, plan, end=ends)
    print(weather.figures(), f"ended: {len(ends.done)}")  # noqa: T201 - the figures of `-s`
    assert not report(weather)
    assert len(ends.done) == plan.kills
    assert max(weather.live_seconds) <= CONVERGED_SECONDS, weather.live_seconds
    assert "Traceback" not in server.log, server.log
