"""µWebSockets (C++) through socketify: one `publish` to a topic per event.

Its libuv loop runs bare: socketify's own `run` alternates with asyncio and spins, which costs a core.
"""

import os
import time
from importlib.metadata import version
from typing import Any

from socketify import (  # type: ignore[import-not-found]  # a peer: it lives in an environment of its own
    App,
    AppListenOptions,
    CompressOptions,
    OpCode,
)

from bench.servers.common import Offer, dumps, event, listen_for_commands, offer_of, tell

TICK_MS = 1
MAX_BACKPRESSURE_BYTES = 64 * 1024 * 1024


class Publisher:
    """Publishes the due events on each tick of the server's own loop."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._offer: Offer | None = None
        self._published = 0
        self._late_ns = 0

    def begin(self, command: dict[str, Any]) -> None:
        """Take an offer; called in the thread that listens for commands."""
        self._published = self._late_ns = 0
        self._offer = offer_of(command)

    def tick(self, _: object) -> None:
        """Publish what is due."""
        offer = self._offer
        if offer is None:
            return
        now_ns = time.monotonic_ns()
        if now_ns >= offer.end_ns:
            self._offer = None
            tell(published=self._published, late_ms=self._late_ns / 1e6)
            return
        for _ in range(min(offer.due(now_ns) - self._published, max(offer.turn, 1))):
            self._late_ns = max(self._late_ns, now_ns - offer.due_ns(self._published))
            text = dumps(event(offer, self._published))
            self._app.publish(str(offer.user(self._published)), text, OpCode.TEXT)
            self._published += 1


def upgrade(res: Any, req: Any, context: Any) -> None:
    """Keep the user with the socket."""
    user = req.get_query("userId")
    res.upgrade(
        req.get_header("sec-websocket-key"),
        req.get_header("sec-websocket-protocol"),
        req.get_header("sec-websocket-extensions"),
        context,
        user,
    )


def main() -> None:
    """Serve until the harness is gone."""
    app = App()
    app.ws(
        "/ws/progress",
        {
            "compression": CompressOptions.DISABLED,
            "idle_timeout": 120,
            "max_backpressure": MAX_BACKPRESSURE_BYTES,
            "upgrade": upgrade,
            "open": lambda ws: ws.subscribe(ws.get_user_data()),
        },
    )
    publisher = Publisher(app)
    loop = app.loop.uv_loop
    timer = loop.create_timer(TICK_MS, TICK_MS, publisher.tick, None)
    port = int(os.environ["BENCH_PORT"])

    def listening(_: object) -> None:
        tell(port=port, pids=[os.getpid()], versions={"socketify": version("socketify")})

    app.listen(AppListenOptions(port=port, host="127.0.0.1"), listening)
    listen_for_commands(publisher.begin, ended=lambda: os._exit(0))
    loop.run()
    timer.stop()


if __name__ == "__main__":
    main()
