"""Our own server: the real application on the real runner, and publishers inside it.

`memory://` or another broker comes in `BENCH_BROKER_URL`. Every event goes through `Progress.publish`:
operation, broker, hub, outbox and transport are the ones that serve people.
"""

import asyncio
import os
import platform
import socket
from importlib.metadata import version
from pathlib import Path
from typing import Any

from quart import Quart

from bench.servers.common import STEP, Offer, listen_for_commands, message, offer_of, tell
from bench.servers.fleet import seed
from bench.servers.publisher import publish_all
from bench.servers.stamped import Stamps
from wellnet_sse import logs
from wellnet_sse.app import create_app, services
from wellnet_sse.progress.events import Status, UserId
from wellnet_sse.progress.tracker import Progress
from wellnet_sse.server import runner, sockets
from wellnet_sse.settings import Settings

VERSIONS = ("wellnet-sse", "quart", "hypercorn", "uvloop")


class Bench:
    """Does what the harness commands, in the server's own process and loop."""

    def __init__(self, app: Quart) -> None:
        self._app = app
        self._stamps: Stamps | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        place, _, count = os.environ.get("BENCH_PART", "0/1").partition("/")
        self._part = int(place), int(count)

    @property
    def _progress(self) -> Progress:
        return services(self._app).progress

    def obey(self, command: dict[str, Any]) -> None:
        """Begin what a command asks for; the answer is told when it is done."""
        work = {"publish": self._publish, "history": self._history, "updates": self._updates}
        task = asyncio.get_running_loop().create_task(work[command["command"]](command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _publish(self, command: dict[str, Any]) -> None:
        offer = offer_of(command)
        published = await publish_all(offer, lambda number: self._publish_one(offer, number), part=self._part)
        hub = self._progress.hub
        tell(published=published.events, late_ms=published.late_ms, conflated=hub.conflated, readers=len(hub))

    async def _publish_one(self, offer: Offer, number: int) -> None:
        await self._progress.publish(
            UserId(offer.user(number)),
            offer.operation_id(number),
            step=STEP,
            status=Status.IN_PROGRESS,
            message=message(number),
            progress=offer.progress(number),
        )

    async def _history(self, command: dict[str, Any]) -> None:
        """Publish so many events for each user as fast as can be; nobody reads yet."""
        offer = Offer(0, command["each"] * command["users"], 1.0, command["users"])
        events = command["each"] * command["users"]
        for first in range(0, events, command["users"]):
            numbers = range(first, first + command["users"])
            await asyncio.gather(*(self._publish_one(offer, number) for number in numbers))
        tell(published=events)

    async def work_for(self, router_url: str) -> None:
        """Have something to remove, and stamp every update of its removal."""
        self._stamps = Stamps()
        await seed(services(self._app).database, router_url)

    async def _updates(self, _: dict[str, Any]) -> None:
        tell(published=0 if self._stamps is None else self._stamps.updates, late_ms=0.0)


async def main() -> None:
    """Serve until the harness is gone."""
    logs.configure(json_lines=True, level="WARNING")
    folder = Path(os.environ["BENCH_FOLDER"])
    settings = Settings.from_environment(
        {},
        bind="127.0.0.1:0",
        broker_url=os.environ.get("BENCH_BROKER_URL", "memory://"),
        database_url=f"sqlite+aiosqlite:///{folder / 'wellnet.db'}",
        streams_per_user=1_000_000,
        router_password=os.environ.get("BENCH_ROUTER_PASSWORD", ""),
        log_level="WARNING",
    )
    app = create_app(settings, pace_seconds=float(os.environ.get("BENCH_PACE_SECONDS", "0")))
    bench = Bench(app)
    loop = asyncio.get_running_loop()
    inherited = os.environ.get("BENCH_LISTENER")
    listener = socket.socket(fileno=int(inherited)) if inherited else sockets.listen("127.0.0.1", 0)

    @app.before_serving
    async def ready() -> None:
        # The last of its kind, so the application is whole; and the socket listens already.
        if router_url := os.environ.get("BENCH_ROUTER_URL"):
            await bench.work_for(router_url)
        listen_for_commands(
            lambda command: loop.call_soon_threadsafe(bench.obey, command), ended=lambda: os._exit(0)
        )
        versions = {"Python": platform.python_version(), **{name: version(name) for name in VERSIONS}}
        tell(port=listener.getsockname()[1], pids=[os.getpid()], versions=versions)

    await runner.serve(app, listener, stop=asyncio.Event())


if __name__ == "__main__":
    runner.run(main())
