"""A storm: clients and publishers at work on servers that are killed, or stopped, again and again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random

from tests.chaos.checker import check, summary
from tests.chaos.clients import Client, Data, Follower, SocketClient, SseClient
from tests.chaos.ledger import Ledger, Log, seq_of
from tests.chaos.proxy import CALM, FaultProxy, Faults
from tests.chaos.publisher import Publisher
from tests.chaos.script import operation_id
from tests.harness import ServerProcess, eventually

LANES = 2
"""How many operations a user has at a time."""

HEARTBEAT_SECONDS = 1
SETTLE_SECONDS = 20.0
CONVERGED_SECONDS = 5.0
"""How soon readers are to be level again, after whatever it was."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How big, how bad and how long a storm is; a seed repeats it."""

    seed: int
    users: int
    streams: int
    followers: int
    """How many of the streams watch one operation after another, each on its own stream."""
    sockets: int
    events_per_second: float
    kills: int
    calm_seconds: tuple[float, float]
    """How long the server is left alone, once all clients are up to date, before the next kill."""
    faults: Faults | None = None


@dataclass(slots=True)
class Weather:
    """What happened."""

    ledger: Ledger = field(default_factory=Ledger)
    logs: list[Log] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    live_seconds: list[float] = field(default_factory=list)
    """Of each client after each restart: from `/readyz` 200 to `live`.

    Where only a part of the server ended: until all clients knew what each user published later.
    """
    up_seconds: float = 0.0
    published: int = 0
    proxied: dict[str, int] = field(default_factory=dict)

    @property
    def live_p99_seconds(self) -> float:
        """The 99th percentile of `live_seconds`."""
        ordered = sorted(self.live_seconds) or [0.0]
        return ordered[int(len(ordered) * 0.99)]

    @property
    def published_per_second(self) -> float:
        """How many were answered a second, between restart and kill."""
        return self.published / self.up_seconds

    def figures(self) -> str:
        """One line of what was measured."""
        delays = sorted(self.live_seconds) or [0.0]
        answered, seen = len(self.ledger.answered), sum(len(log.seen) for log in self.logs)
        return (
            f"{answered} answered, {len(self.ledger.publishes) - answered} never answered; "
            f"while up {self.published_per_second:.0f}/s for {self.up_seconds:.0f} s; "
            f"{seen} events and endings seen in {len(self.logs)} logs; ready to live: "
            f"p50 {delays[len(delays) // 2]:.2f} s, p99 {self.live_p99_seconds:.2f} s, "
            f"max {delays[-1]:.2f} s of {len(delays)}; network: {self.proxied or 'good'}"
        )


End = Callable[[ServerProcess, Sequence[Client]], Awaitable[None]]
"""How the server, or a part of it, comes to its end under its clients; what is a part is there again then."""


async def killed(server: ServerProcess, _clients: Sequence[Client]) -> None:
    """By SIGKILL."""
    await server.kill()


async def storm(
    server: ServerProcess, plan: Plan, *, end: End = killed, others: Sequence[ServerProcess] = ()
) -> Weather:
    """Go through the plan on a server that is ready and empty; at the end everybody is up to date.

    With `others`, which share its history, readers and publishers of each user are spread over all of them.
    """
    async with AsyncExitStack() as stack:
        port, proxy = server.port, None
        if plan.faults is not None:
            proxy = FaultProxy(server.port, seed=plan.seed, faults=plan.faults)
            port = (await stack.enter_async_context(proxy)).port
        crowd = _Crowd(plan, [port, *(other.port for other in others)])
        weather = crowd.weather
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(client.run()) for client in crowd.clients]
            watching += [tasks.create_task(follower.run()) for follower in crowd.followers]
            await eventually(lambda: crowd.all_live_since(0), SETTLE_SECONDS)
            publishing = [tasks.create_task(publisher.run()) for publisher in crowd.publishers]
            await _end_again_and_again(server, plan, crowd, end)
            for publisher in crowd.publishers:
                publisher.finish()
            await asyncio.wait_for(asyncio.gather(*publishing), SETTLE_SECONDS)
            if proxy is not None:
                weather.proxied = dict(proxy.counts)
                proxy.faults = CALM
            await _settle(server, plan, crowd)
            for task in watching:
                task.cancel()
        weather.logs = [client.log for client in crowd.everybody()]
        weather.failures = [failure for client in crowd.everybody() for failure in client.failures]
        return weather


async def _end_again_and_again(server: ServerProcess, plan: Plan, crowd: "_Crowd", end: End) -> None:
    random = Random(plan.seed)  # noqa: S311 - seeded, so that a run can be repeated
    loop = asyncio.get_running_loop()
    weather = crowd.weather
    for number in range(plan.kills + 1):
        begun, before = loop.time(), len(weather.ledger.answered)
        await asyncio.sleep(random.uniform(*plan.calm_seconds))
        weather.up_seconds += loop.time() - begun
        weather.published += len(weather.ledger.answered) - before
        if number == plan.kills:
            return
        await end(server, crowd.clients)
        ended_at = loop.time()
        if server.exit_code is None:
            later = len(weather.ledger.publishes)
            await eventually(partial(crowd.all_know_what_came_after, later), SETTLE_SECONDS)
            weather.live_seconds.append(loop.time() - ended_at)
            continue
        await server.start()
        ready_at = loop.time()
        # Also a client that was back before `/readyz` was asked is counted: it waited for nothing.
        await eventually(partial(crowd.all_live_since, ended_at), SETTLE_SECONDS)
        lives = [client.live_since(ended_at) for client in crowd.clients]
        weather.live_seconds += [max(0.0, live.told_at - ready_at) for live in lives if live is not None]


async def _settle(server: ServerProcess, plan: Plan, crowd: "_Crowd") -> None:
    """Let everybody come to the end of history; who does not is the checker's to tell."""
    probes = {
        user: SseClient(f"probe-{user}", server.port, user, seed=plan.seed, data=Data())
        for user in range(1, plan.users + 1)
    }
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(probe.run()) for probe in probes.values()]
        await eventually(lambda: all(probe.lives for probe in probes.values()), SETTLE_SECONDS)
        for task in running:
            task.cancel()
    with suppress(AssertionError):
        await eventually(lambda: crowd.all_know(probes), SETTLE_SECONDS)
    for client in crowd.left_behind():
        client.failures.append(f"{client.log.client}: still watches what has ended")


class _Crowd:
    """Everybody who takes part."""

    def __init__(self, plan: Plan, ports: Sequence[int]) -> None:
        self.weather = Weather()
        self.clients: list[Client] = []
        self.followers: list[Follower] = []
        data, users = Data(), range(1, plan.users + 1)
        for number in range(plan.streams - plan.followers):
            user, port = users[number % plan.users], ports[number // plan.users % len(ports)]
            self.clients.append(SseClient(f"sse-{number}", port, user, seed=plan.seed, data=data))
        for number in range(plan.sockets):
            user, port = users[number % plan.users], ports[number // plan.users % len(ports)]
            self.clients.append(SocketClient(f"ws-{number}", port, user, seed=plan.seed, data=data))
        for number in range(plan.followers):
            user, port = users[number % plan.users], ports[number // plan.users % len(ports)]
            follower = Follower(
                f"one-{number}",
                port,
                user,
                partial(operation_id, user, number // plan.users % LANES),
                seed=plan.seed,
                data=data,
            )
            self.followers.append(follower)
        self.publishers = [
            Publisher(
                ports[(user + lane) % len(ports)],
                user,
                lane,
                seed=plan.seed,
                ledger=self.weather.ledger,
                interval_seconds=plan.users * LANES / plan.events_per_second,
            )
            for user in users
            for lane in range(LANES)
        ]

    def everybody(self) -> Iterator[Client]:
        """Every client that there was."""
        yield from self.clients
        for follower in self.followers:
            yield from follower.clients

    def all_live_since(self, seconds: float) -> bool:
        """Whether each client was up to date at some time after then."""
        return all(client.live_since(seconds) is not None for client in self.clients)

    def all_know_what_came_after(self, place: int) -> bool:
        """Whether each user was answered after this place in the ledger, and all their clients know of it."""
        later: dict[int, int] = {}
        for publish in self.weather.ledger.publishes[place:]:
            if publish.cursor is not None:
                later.setdefault(publish.user, seq_of(publish.cursor))
        return all(client.position >= later.get(client.log.user, 2**63) for client in self.clients)

    def all_know(self, probes: Mapping[int, Client]) -> bool:
        """Whether everybody has come as far as a newcomer is told."""
        behind = any(client.position < probes[client.log.user].position for client in self.clients)
        return not behind and not self.left_behind()

    def left_behind(self) -> list[Client]:
        """Who watches an operation that has ended."""
        ended = self.weather.ledger.endings
        watching = [follower.clients[-1] for follower in self.followers]
        return [client for client in watching if (client.log.user, client.log.operation_id) in ended]


def report(weather: Weather) -> str:
    """All that is wrong; empty where the promise was kept."""
    findings = check(weather.ledger, weather.logs)
    wrong = [summary(findings)] if findings else []
    return "\n".join([*wrong, *weather.ledger.faults[:20], *weather.failures[:20]])
