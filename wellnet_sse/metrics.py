"""What is counted: Prometheus metrics, and the source document's four figures."""

import time
from collections import deque
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from wellnet_sse.errors import WellnetError

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

ERRORS_WINDOW_SECONDS = 60


class Metrics:
    """The metrics of one application, in a registry of its own."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "wellnet_http_requests", "HTTP answers", ["method", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "wellnet_http_request_seconds", "Time to the head of an answer", registry=self.registry
        )
        self.refused_messages = Counter(
            "wellnet_refused_messages", "WebSocket messages that were refused", registry=self.registry
        )
        self.limited = Counter(
            "wellnet_limited",
            "Requests and WebSocket messages that a limit of their user refused",
            ["code"],
            registry=self.registry,
        )
        self.failures = Counter(
            "wellnet_errors", "Requests and work that failed on our side", registry=self.registry
        )
        self._clock = clock
        self._deliveries = 0
        self._failed_at: deque[float] = deque(maxlen=100_000)
        self.deliveries_per_second = 0
        """In the last second that was sampled."""

    def expose(
        self, name: str, description: str, value: Callable[[], float], *, counts: bool = False
    ) -> None:
        """Read `value` whenever the metrics are read; `counts`: it only grows."""
        if counts:
            self.registry.register(_ReadCounter(f"wellnet_{name}", description, value))
        else:
            Gauge(f"wellnet_{name}", description, registry=self.registry).set_function(value)

    def refused(self, error: WellnetError) -> None:
        """Count a refusal of a request, where it was a limit's."""
        if error.status == 429:
            self.limited.labels(error.code).inc()

    def refused_message(self, error: WellnetError) -> None:
        """Count a refusal of a WebSocket message."""
        self.refused_messages.inc()
        self.refused(error)

    def error(self) -> None:
        """Count a failure of ours."""
        self.failures.inc()
        self._failed_at.append(self._clock())

    def errors_per_minute(self) -> int:
        """How many there were within the last minute."""
        before = self._clock() - ERRORS_WINDOW_SECONDS
        while self._failed_at and self._failed_at[0] < before:
            self._failed_at.popleft()
        return len(self._failed_at)

    def sample_deliveries(self, total: int) -> None:
        """Note the total of deliveries; to be called about every second."""
        self.deliveries_per_second, self._deliveries = total - self._deliveries, total

    def exposition(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self.registry)


class _ReadCounter(Collector):
    """A counter that somebody else counts; prometheus_client's own can only be incremented."""

    def __init__(self, name: str, description: str, value: Callable[[], float]) -> None:
        self._name = name
        self._description = description
        self._value = value

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Read it now."""
        yield CounterMetricFamily(self._name, self._description, value=self._value())
