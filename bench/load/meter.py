"""What a process costs: CPU time to the nanosecond, memory, and what else ran on its core."""

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Cost(NamedTuple):
    """The readings of one moment."""

    at_ns: int
    cpu_ns: int
    """Of the measured processes, user and system."""
    core_busy_ns: int
    """Of whatever ran on their core, interrupts included; in steps of 10 ms."""
    load_busy_ns: int
    """The same of the load client's core."""
    own_cpu_ns: int
    """Of the load client, and of a publisher that shares its core."""


def cpu_ns(pid: int) -> int:
    """The CPU time of a process, all its threads, living or dead."""
    clock_id = (~pid << 3) | 2  # clock_getcpuclockid(3): CPUCLOCK_SCHED of the process
    return time.clock_gettime_ns(clock_id)


def memory_bytes(pids: Sequence[int]) -> int:
    """The resident memory of some processes; what they share counts once (PSS)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


class Meter:
    """Reads what the server costs, and the client itself."""

    def __init__(self, pids: Sequence[int], *, cores: tuple[int, int], beside: Sequence[int] = ()) -> None:
        self.pids = pids
        self._cores = [f"cpu{core}" for core in cores]
        self._beside = (os.getpid(), *beside)
        self._tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")

    def read(self) -> Cost:
        """Read everything, now."""
        return Cost(
            time.monotonic_ns(),
            sum(map(cpu_ns, self.pids)),
            *self._busy_ns(),
            sum(map(cpu_ns, self._beside)),
        )

    def memory_bytes(self) -> int:
        """The server's memory."""
        return memory_bytes(self.pids)

    def _busy_ns(self) -> tuple[int, int]:
        busy = {}
        for line in Path("/proc/stat").read_text().splitlines():
            name, *ticks = line.split()
            if name in self._cores:
                user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, ticks)
                busy[name] = (user + nice + system + irq + softirq) * self._tick_ns
        return busy[self._cores[0]], busy[self._cores[1]]
