"""The reusable part: `QuartProgress(app)` gives any Quart application operations with live progress."""

from typing import Any

from quart import Quart

from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.progress.broker import Broker
from wellnet_sse.progress.hub import Limits, wall_clock_ms
from wellnet_sse.progress.tracker import Lifetimes, Progress

EXTENSION = "progress"


class QuartProgress:
    """Ties a `Progress` to the life of a Quart application.

    `progress` is there once an application is given. Its configuration is read then:
    `QUART_PROGRESS_HISTORY_SECONDS` (86400), `QUART_PROGRESS_HISTORY_EVENTS` (10000, of each user),
    `QUART_PROGRESS_IDLE_SECONDS` (60), `QUART_PROGRESS_HEARTBEAT_SECONDS` (15) and
    `QUART_PROGRESS_GRACE_SECONDS` (10). `broker`, `limits` and `lifetimes` win over it.
    """

    progress: Progress

    def __init__(
        self,
        app: Quart | None = None,
        *,
        broker: Broker | None = None,
        limits: Limits | None = None,
        lifetimes: Lifetimes | None = None,
    ) -> None:
        self._broker = broker
        self._limits = limits
        self._lifetimes = lifetimes
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Quart) -> None:
        """Start with the application, and end with it."""

        def configured(name: str, default: Any) -> Any:
            return app.config.setdefault(f"QUART_PROGRESS_{name}", default)

        broker = self._broker or MemoryBroker(
            history_ms=int(configured("HISTORY_SECONDS", 86400) * 1000),
            history_events=configured("HISTORY_EVENTS", 10_000),
            clock=wall_clock_ms,
        )
        self.progress = Progress(
            broker,
            limits=self._limits or Limits(heartbeat_seconds=configured("HEARTBEAT_SECONDS", 15)),
            lifetimes=self._lifetimes or Lifetimes(idle_seconds=configured("IDLE_SECONDS", 60)),
        )
        grace_seconds = configured("GRACE_SECONDS", 10)

        async def stop() -> None:
            await self.progress.aclose(grace_seconds=grace_seconds)

        app.extensions[EXTENSION] = self.progress
        app.before_serving(self.progress.start)
        app.after_serving(stop)
