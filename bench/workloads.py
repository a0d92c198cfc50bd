"""The workloads, as data. README.md says why each is there, targets.py what must be reached."""

from dataclasses import dataclass
from typing import Literal

Mode = Literal["broadcast", "idle", "storm", "mixed"]


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked of each of `servers` in turn."""

    name: str
    what: str
    servers: tuple[str, ...]
    mode: Mode = "broadcast"
    readers: int = 500
    users: int = 1
    rate: float = 0.0
    """Events offered per second, over all users."""
    transports: tuple[str, ...] | None = None
    """None: the server's own first one; else those of these that the server speaks, in turn."""
    warmup_seconds: float = 3.0
    window_seconds: float = 10.0
    stalled: int = 0
    in_flight: int = 0
    history: int = 0
    """Events of each user that reconnecting readers have missed."""
    pace_seconds: float = 0.0
    measures_client: bool = False
    """Whether it tells of the load client and of no server; it runs only where it is named."""

    @property
    def deliveries_per_event(self) -> float:
        """How many readers each event goes to."""
        return self.readers / self.users

    @property
    def offered_per_second(self) -> float:
        """Deliveries per second, if the server keeps up."""
        return self.rate * self.deliveries_per_event


BROADCASTERS = ("wellnet-sse", "nchan", "node-ws", "better-sse", "sse-starlette")

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            "wide",
            "500 readers of one user, 50 events/s",
            (
                "wellnet-sse",
                "wellnet-sse-sql",
                "nchan",
                "node-ws",
                "better-sse",
                "sse-starlette",
                "uws",
                "floor",
            ),
            rate=50,
        ),
        Workload(
            "wide-max",
            "the same, 1,000 events/s offered",
            (*BROADCASTERS, "uws", "floor"),
            rate=1000,
        ),
        Workload(
            "wide-limit",
            "the same over WebSocket, 4,000 events/s offered",
            ("wellnet-sse", "uws"),
            rate=4000,
            transports=("ws",),
        ),
        Workload(
            "scatter",
            "2,000 users with one reader each, SSE and WebSocket, 100,000 events/s offered",
            ("wellnet-sse", "node-ws"),
            readers=2000,
            users=2000,
            rate=100_000,
            transports=("sse", "ws"),
        ),
        Workload(
            "mixed",
            "500 users with 2 readers each, 200 real operations in flight through HTTP",
            ("wellnet-sse-sql", "wellnet-sse"),
            mode="mixed",
            readers=1000,
            users=500,
            transports=("sse", "ws"),
            warmup_seconds=8,
            window_seconds=15,
            in_flight=200,
            pace_seconds=2,
        ),
        Workload(
            "idle",
            "10,000 idle SSE streams of as many users",
            ("wellnet-sse", "nchan", "better-sse", "sse-starlette"),
            mode="idle",
            readers=10_000,
            users=10_000,
            transports=("sse",),
            window_seconds=31,  # two heartbeats of each stream
        ),
        Workload(
            "storm",
            "5,000 readers of 250 users reconnect at once, 100 events behind each",
            ("wellnet-sse", "sse-starlette"),
            mode="storm",
            readers=5000,
            users=250,
            transports=("sse",),
            history=100,
        ),
        Workload(
            "stalled",
            "`wide` with 100 more readers that stopped reading",
            ("wellnet-sse", "nchan", "node-ws"),
            rate=50,
            stalled=100,
            warmup_seconds=45,  # kernels fill first, and 30 s later readers are evicted
            window_seconds=30,
        ),
        Workload(
            "scale",
            "100 users with 20 readers each, 500 events/s, on one process and on several that share a Valkey",
            ("wellnet-sse", "wellnet-sse-valkey-1", "wellnet-sse-valkey-2"),
            readers=2000,
            users=100,
            rate=500,
            transports=("sse", "ws"),
        ),
        Workload(
            "client",
            "what the load client can take: 2,000,000 events/s, eight in each write",
            ("floor-joined",),
            rate=4000,
            measures_client=True,
        ),
    )
}
