"""One round: a server on one core, the load client on another, and what they tell."""

import contextlib
import json
import os
import resource
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from bench.load.spec import Spec
from bench.profiling import profiled
from bench.servers.catalogue import BENCH, ROUTER, ROUTER_PASSWORD, Server
from bench.workloads import Workload

ANSWER_SECONDS = 180.0
START_DELAY_NS = 1_000_000_000
SETTLE_SECONDS = 3.0
LAST_UPDATES_SECONDS = 1.0


class FailedError(Exception):
    """A round that gave no numbers, with the reason."""


class Talker:
    """A process that speaks in lines of JSON, on one core, and is gone with all its children at the end."""

    def __init__(
        self, command: tuple[str, ...], *, core: int, environment: dict[str, str], log: IO[bytes]
    ) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command,
            cwd=BENCH.parent,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - there is one thread
        )
        self._name = command[-1]
        self._rest = b""

    def say(self, **fields: object) -> None:
        """Tell it something."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(fields, separators=(",", ":")).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise FailedError(f"{self._name} ended") from None

    def hear(self, key: str, timeout_seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """The next line that has `key`; whatever else it prints is passed over."""
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout_seconds
        while True:
            while b"\n" in self._rest:
                line, _, self._rest = self._rest.partition(b"\n")
                if line.startswith(b"{") and key in (answer := json.loads(line)):
                    return dict(answer)
            if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise FailedError(f"{self._name} said no {key!r} in {timeout_seconds:.0f} s")
            data = os.read(fd, 65536)
            if not data:
                raise FailedError(f"{self._name} ended before it said {key!r}")
            self._rest += data

    def end(self) -> None:
        """End it, and its children."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(3.0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def run_round(
    workload: Workload, server: Server, *, cores: tuple[int, int], profile: Path | None = None
) -> dict[str, Any]:
    """One round, as it goes into the raw file. Raises FailedError.

    `profile`: where py-spy writes where the server's time went in the window; it slows what it looks at.
    """
    allow_many_descriptors()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        log = stack.enter_context((folder / "log").open("wb"))
        try:
            return _round(workload, server, stack, cores=cores, folder=folder, log=log, profile=profile)
        except FailedError as error:
            tail = (folder / "log").read_text(errors="replace").strip().splitlines()[-3:]
            raise FailedError(f"{error} {' | '.join(tail)}".strip()) from error


def _round(
    workload: Workload,
    server: Server,
    stack: contextlib.ExitStack,
    *,
    cores: tuple[int, int],
    folder: Path,
    log: IO[bytes],
    profile: Path | None,
) -> dict[str, Any]:
    server_core, load_core = cores
    more = {
        "BENCH_FOLDER": str(folder),
        "BENCH_PORT": str(_free_port()),
        "BENCH_SERVER_CORE": str(server_core),
        "BENCH_PACE_SECONDS": str(workload.pace_seconds),
        "BENCH_ROUTER_PASSWORD": ROUTER_PASSWORD,
    }
    if workload.mode == "mixed":
        router = stack.enter_context(_talker(ROUTER, load_core, log, more))
        more["BENCH_ROUTER_URL"] = router.hear("url")["url"]
    process = stack.enter_context(
        _talker(server, load_core if server.on_load_core else server_core, log, more)
    )
    ready = process.hear("port")
    spec = Spec(
        mode=workload.mode,
        port=ready["port"],
        pids=ready["pids"],
        cores=list(cores),
        readers=workload.readers,
        users=workload.users,
        transports=_transports(workload, server),
        warmup_seconds=workload.warmup_seconds,
        window_seconds=workload.window_seconds,
        rate=workload.rate,
        stalled=workload.stalled,
        replays=server.replays,
        in_flight=workload.in_flight,
        publisher_pid=ready.get("publisher_pid"),
    )
    load_server = Server("load", (ROUTER.command[0], "-m", "bench.load"), ())
    load = stack.enter_context(_talker(load_server, load_core, log, {}))
    load.say(**asdict(spec))
    if workload.mode != "idle":
        load.hear("connected")
    if profile is not None:
        stack.enter_context(profiled(ready["pids"][-1], profile, core=load_core))
    told = _conduct(workload, server, process, load)
    report = load.hear("report", ANSWER_SECONDS + workload.window_seconds)["report"]
    return {
        "workload": workload.name,
        "server": server.name,
        "published": told,
        "report": report,
        "ready": ready,
    }


def _conduct(workload: Workload, server: Server, process: Talker, load: Talker) -> dict[str, Any]:
    """Say to both when to do what; what the server published."""
    if workload.mode == "idle":
        return {}
    if workload.mode == "storm":
        time.sleep(SETTLE_SECONDS)  # what the closed streams leave behind is not what is measured
        told: dict[str, Any] = {"published": 0}
        if server.replays:
            process.say(command="history", each=workload.history, users=workload.users)
            told = process.hear("published")
        load.say(expected=int(told["published"] * workload.deliveries_per_event))
        return told
    start_ns = time.monotonic_ns() + START_DELAY_NS
    seconds = workload.warmup_seconds + workload.window_seconds
    if workload.mode == "broadcast":
        process.say(
            command="publish", start_ns=start_ns, rate=workload.rate, seconds=seconds, users=workload.users
        )
    load.say(start_ns=start_ns)
    load.hear("measured", ANSWER_SECONDS + seconds)
    if workload.mode == "mixed":
        time.sleep(LAST_UPDATES_SECONDS)
        process.say(command="updates")
    told = process.hear("published", ANSWER_SECONDS + seconds)
    load.say(expected=int(told["published"] * workload.deliveries_per_event))
    return told


@contextlib.contextmanager
def _talker(server: Server, core: int, log: IO[bytes], more: dict[str, str]) -> Iterator[Talker]:
    talker = Talker(server.command, core=core, environment=server.full_environment(**more), log=log)
    try:
        yield talker
    finally:
        talker.end()


def _transports(workload: Workload, server: Server) -> list[str]:
    if workload.transports is None:
        return [server.transports[0]]
    return [way for way in workload.transports if way in server.transports] or list(server.transports)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def allow_many_descriptors() -> None:
    """Raise the limit as far as this process may; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
