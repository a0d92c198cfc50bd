"""A restart under many clients loses nothing, tells everybody why, and takes no longer than it may."""

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing

import pytest

from tests.chaos.clients import Client, SocketClient
from tests.chaos.storm import HEARTBEAT_SECONDS, Plan, report, storm
from tests.conftest import MakeServer
from tests.e2e.support import ELIMINAR, do
from tests.harness import RouterControl, ServerProcess, free_port
from tests.server.peer import HANDSHAKE, Peer, request
from tests.server.visits import Publisher

pytestmark = pytest.mark.slow

GRACE_SECONDS = 1
EXIT_SECONDS = GRACE_SECONDS + 1 + (0.5 if "PYTEST_XDIST_WORKER" in os.environ else 0)
"""A second more than the grace; half of one more where other tests want the same cores."""
USERS = 10
STALLED = 99
"""The user whose readers have stopped."""

SOCKET = f"/ws/progress?userId={STALLED}"
LONG = "€" * 1990
"""About 6 KB on the wire."""

FEW = Plan(
    seed=3,
    users=USERS,
    streams=60,
    followers=10,
    sockets=40,
    events_per_second=60,
    kills=2,
    calm_seconds=(0.3, 0.6),
)
MANY = Plan(
    seed=4,
    users=USERS,
    streams=300,
    followers=50,
    sockets=200,
    events_per_second=60,
    kills=20,
    calm_seconds=(0.5, 1.5),
)


def stall(server: ServerProcess, stack: ExitStack) -> None:
    """Readers of each kind that read nothing, and whom nobody will tell that they are to go."""
    for ask in (request(f"/sse/progress?userId={STALLED}"), request(SOCKET, **HANDSHAKE)):
        stack.enter_context(Peer(server.port, receive_buffer_bytes=4096)).send(ask)


def flood(server: ServerProcess) -> None:
    """Publish more than kernel and transport hold for them, and less than makes them slow."""
    with closing(Publisher(server.port)) as publisher:
        for number in range(75):
            status = "error" if number % 2 else "in_progress"
            publisher.publish(STALLED, "op", f"{number} {LONG}", status=status)


class Restarts:
    """Ends a server as systemd does, with stalled readers among its clients, and keeps what it took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.untold: list[str] = []
        """Who had a good connection and was not told `drain`."""

    async def end(self, server: ServerProcess, clients: Sequence[Client]) -> None:
        """See `tests.chaos.storm.End`."""
        with ExitStack() as stack:
            stall(server, stack)
            await asyncio.to_thread(flood, server)
            before = [len(client.reasons) for client in clients]
            begun = time.monotonic()
            assert await server.terminate() == 0, server.tail()
            self.seconds.append(time.monotonic() - begun)
        told = zip(clients, before, strict=True)
        self.untold += [client.log.client for client, count in told if len(client.reasons) == count]


async def restarted(server: ServerProcess, plan: Plan) -> None:
    """Go through the plan, and hold the server to what it promised."""
    restarts = Restarts()
    everybody: list[Client] = []

    async def end(server: ServerProcess, clients: Sequence[Client]) -> None:
        everybody[:] = clients
        await restarts.end(server, clients)

    weather = await storm(server, plan, end=end)
    print(weather.figures(), f"exits: {sorted(restarts.seconds)}")  # noqa: T201 - the figures of `-s`
    assert not report(weather)
    assert len(restarts.seconds) == plan.kills
    assert max(restarts.seconds) <= EXIT_SECONDS
    assert not restarts.untold
    assert {reason for client in everybody for reason in client.reasons} == {"drain"}
    sockets = [client for client in everybody if isinstance(client, SocketClient)]
    # The last code is that of its own leaving.
    assert {code for client in sockets for code in client.codes[:-1]} == {1012}
    assert len(weather.ledger.answered) > 20
    assert "Traceback" not in server.log


async def test_a_restart_under_100_clients_loses_nothing(make_server: MakeServer) -> None:
    await restarted(await _server(make_server), FEW)


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_20_restarts_under_500_clients_lose_nothing(make_server: MakeServer) -> None:
    await restarted(await _server(make_server), MANY)


async def test_work_that_needs_all_of_the_grace_and_stalled_readers_do_not_add_up(
    make_server: MakeServer, user: int
) -> None:
    router_port = free_port()
    server = await make_server(
        grace_seconds=GRACE_SECONDS, router_timeout_seconds=30, demo_router_bind=f"127.0.0.1:{router_port}"
    )
    await RouterControl(router_port).behave("slow", delay_seconds=30)
    with ExitStack() as stack:
        stall(server, stack)
        await asyncio.to_thread(flood, server)
        async with server.http(user=user) as client:
            answer = await do(client, ELIMINAR, 1, "op", Prefer="respond-async")
            assert answer.status_code == 202
        begun = time.monotonic()
        assert await server.terminate() == 0, server.tail()
        seconds = time.monotonic() - begun
    assert GRACE_SECONDS <= seconds <= EXIT_SECONDS
    assert "Traceback" not in server.log


async def _server(make_server: MakeServer) -> ServerProcess:
    return await make_server(
        demo=False, heartbeat_seconds=HEARTBEAT_SECONDS, grace_seconds=GRACE_SECONDS, streams_per_user=1000
    )
