"""Several processes with a small application: `several.py --bind HOST:PORT --processes N [--grace SECONDS]`.

`/pid` tells which one answers, `/stream` stays open until it drains. Where a file `broken` is in the working
directory, a process does not come to serve.
"""

import argparse
import os
import sys
from typing import Any

from tests.server.tiny import Receive, Send, Tiny
from wellnet_sse import logs
from wellnet_sse.server import runner, sockets
from wellnet_sse.server.place import Place
from wellnet_sse.server.processes import keep_serving
from wellnet_sse.settings import split_bind


class Several(Tiny):
    """The application of each."""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one scope."""
        match scope["type"], scope.get("path"):
            case "http", "/pid":
                pid = str(os.getpid()).encode()
                headers = [(b"content-length", b"%d" % len(pid))]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": pid})
            case _:
                await super().__call__(scope, receive, send)


async def _serve(options: argparse.Namespace) -> int:
    if options.inherited is None:
        listeners = sockets.listen_together(*split_bind(options.bind), options.processes)
        return await keep_serving(
            [[it] for it in listeners],
            grace_seconds=options.grace,
            stop=runner.stop_requested(),
            restart=runner.restart_requested(),
        )
    if os.path.exists("broken"):  # noqa: ASYNC240, PTH110 - once, at the start
        return 3
    stop = runner.stop_requested()
    app: Any = Several()
    await Place.inherited(options.inherited).serve(app, stop=stop, drain=app.drain)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bind", required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--grace", type=float, default=2.0)
    parser.add_argument("--inherited")
    logs.configure(json_lines=False, level="INFO")
    sys.exit(runner.run(_serve(parser.parse_args())))
