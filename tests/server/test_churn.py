"""Connects and disconnects in every phase leave no task, descriptor, subscription, slot or channel behind."""

import gc
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import MakeServer
from tests.harness import ServerProcess, eventually
from tests.server.inside import application
from tests.server.visits import BUSY, QUIET, churn, news
from wellnet_sse.app import services
from wellnet_sse.progress.subscription import Subscription
from wellnet_sse.provisioning.rest import RouterLimits
from wellnet_sse.server.connection import Connection
from wellnet_sse.server.websocket import Socket

WARM_UP = 60
LISTEN = "0A"
ROUTER_POOL = 2 * RouterLimits().connections
"""Both ends of the connections to the simulated router: so many at most are kept for the next visit."""
GAUGES = ("wellnet_connections", "wellnet_running_work")


def kept() -> Counter[str]:
    """What is left of connections in this process."""
    gc.collect()
    kinds = (Connection, Socket, Subscription)
    return Counter(type(it).__name__ for it in gc.get_objects() if type(it) in kinds)


def descriptors(process: int | str) -> int:
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def test_visits_leave_nothing_inside(caplog: pytest.LogCaptureFixture) -> None:
    with application() as (server, app):
        parts = services(app)
        hub = parts.progress.hub
        idle = server.tasks()
        with news(server.port):
            churn(server.port, WARM_UP, seed=1)
        assert not caplog.records, "which would keep what it tells of"
        server.wait(lambda: not kept(), kept)
        server.wait_for_tasks(idle)
        files = descriptors("self")
        with news(server.port):
            churn(server.port, 1000, seed=2)
        assert not caplog.records
        server.wait(lambda: not kept(), kept)
        server.wait_for_tasks(idle)
        assert descriptors("self") <= files
        assert (len(hub), len(hub._channels), len(hub._due)) == (0, 0, 0)
        assert hub.emptied.is_set()
        assert (len(parts.slots), parts.slots._open) == (0, {})
        assert len(parts.progress.supervisor) == 0
    assert not caplog.records


def connections(server: ServerProcess) -> list[str]:
    """What the kernel knows of connections that the server has not let go of."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    mine = [row for row in rows if int(row[1].rpartition(":")[2], 16) == server.port]
    return [" ".join(row[:4]) for row in mine if row[3] != LISTEN and row[9] != "0"]


def all_ended(server: ServerProcess) -> bool:
    held = connections(server)
    assert not held, held
    return True


async def left_over(server: ServerProcess) -> dict[str, float]:
    async with server.http() as client:
        text = (await client.get("/metrics")).text
        metrics = (await client.get("/api/metricas")).json()
    found = {name: float(re.findall(rf"^{name} (.+)$", text, re.MULTILINE)[0]) for name in GAUGES}
    return {**found, "activeConnections": metrics["activeConnections"]}


SETTLED_SECONDS = 50.0
"""Longer than a peer that vanished is waited for (`sockets.USER_TIMEOUT_MS`)."""


async def leaves_nothing(server: ServerProcess, visits: int) -> None:
    async def quiet() -> bool:
        return not any((await left_over(server)).values())

    with news(server.port):
        churn(server.port, WARM_UP, seed=1)
    await eventually(quiet, SETTLED_SECONDS)
    await eventually(lambda: all_ended(server), SETTLED_SECONDS)
    files = descriptors(server.pid)
    begun = time.monotonic()
    with news(server.port):
        churn(server.port, visits, seed=3)
    print(f"{visits} visits in {time.monotonic() - begun:.1f} s")  # noqa: T201 - shown by -s
    await eventually(quiet, SETTLED_SECONDS)
    await eventually(lambda: all_ended(server), SETTLED_SECONDS)
    await eventually(lambda: descriptors(server.pid) <= files + ROUTER_POOL, SETTLED_SECONDS)
    async with server.http(user=QUIET) as client:
        assert (await client.get("/api/operaciones/op")).status_code == 200
    async with server.http(user=BUSY) as client:
        assert (await client.get("/readyz")).status_code == 200
    assert await server.terminate() == 0
    assert "Traceback" not in server.log
    assert "ERROR" not in server.log.upper().replace("ERROR_", "")


@pytest.mark.chaos
@pytest.mark.timeout(240)
async def test_visits_leave_nothing_outside(make_server: MakeServer) -> None:
    await leaves_nothing(await make_server(), 500)


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_20_000_visits_leave_nothing(make_server: MakeServer) -> None:
    await leaves_nothing(await make_server(), 20_000)
