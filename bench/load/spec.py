"""What the harness asks of the load client, and what comes back: JSON, one line each way."""

from dataclasses import dataclass, field
from typing import Any, Literal

Mode = Literal["broadcast", "idle", "storm", "mixed"]


@dataclass(frozen=True, slots=True)
class Spec:
    """One round of one workload against one server."""

    mode: Mode
    port: int
    pids: list[int]
    """The processes whose cost is the server's."""
    cores: list[int]
    """The server's, and the client's own."""
    readers: int
    users: int
    """User ids from 1; reader n is user n mod users."""
    transports: list[str]
    """`sse`, `ws`, or both in turn."""
    warmup_seconds: float
    window_seconds: float
    rate: float = 0.0
    stalled: int = 0
    replays: bool = False
    """Whether the server tells a reader that it is live, and resumes from a cursor."""
    in_flight: int = 0
    publisher_pid: int | None = None


@dataclass(slots=True)
class Report:
    """What the client saw in a round; times in their units, sizes in bytes."""

    window_seconds: float = 0.0
    deliveries: int = 0
    """Within the window."""
    total: int = 0
    """Since the first event, the drain included."""
    cpu_seconds: float = 0.0
    core_busy_seconds: float = 0.0
    load_busy_seconds: float = 0.0
    client_share: float = 0.0
    """Of its core, in the window: the client's own CPU time and that of a publisher beside it."""
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    samples: int = 0
    open_seconds: float = 0.0
    rss_before: int = 0
    """Before the first reader."""
    rss_start: int = 0
    """At the start of the window."""
    rss_end: int = 0
    rss_peak: int = 0
    ended: list[str] = field(default_factory=list)
    """Why readers ended that should not have; the first few."""
    ended_count: int = 0
    witness: list[dict[str, Any]] = field(default_factory=list)
    extra: dict[str, float] = field(default_factory=dict)
