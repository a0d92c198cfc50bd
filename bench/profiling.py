"""Where a server's time goes: py-spy's samples of it, as collapsed stacks and as a list of the dearest."""

import contextlib
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bench.servers.catalogue import PEERS

PY_SPY = PEERS / "venv/bin/py-spy"
TOP = 25
WAITING = ("listen_for_commands", "_connection_worker_thread")
"""Threads that wait in these are taken for busy ones by py-spy."""


@contextlib.contextmanager
def profiled(pid: int, path: Path, *, core: int) -> Iterator[None]:
    """Sample the process while the block runs, and leave collapsed stacks in `path`."""
    how = ["--rate", "200", "--function", "--format", "raw", "--output", str(path)]
    command = [str(PY_SPY), "record", "--pid", str(pid), *how]
    process = subprocess.Popen(  # noqa: S603 - our own command
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - there is one thread
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def dearest(path: Path) -> str:
    """Tell the functions that most samples were in, themselves and with what they call."""
    if not path.exists():
        return "no profile: py-spy knows Python alone"
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in path.read_text().splitlines():
        stack, _, samples = line.rpartition(" ")
        frames = stack.split(";")
        if any(name in frames[-1] for name in WAITING) or "listen_for_commands" in stack:
            continue
        own[frames[-1]] += int(samples)
        for frame in set(frames):
            whole[frame] += int(samples)
    total = max(1, own.total())
    lines = [
        f"{count / total:6.1%} {whole[frame] / total:6.1%}  {frame}" for frame, count in own.most_common(TOP)
    ]
    return "\n".join([f"{'self':>6} {'all':>6}  of {total} samples", *lines])
