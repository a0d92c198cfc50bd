"""A server program in a process of its own, which may be started again after it has ended."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.harness.processes import tied
from tests.harness.waiting import POLL_SECONDS

EXIT_SECONDS = 15.0


class Daemon:
    """`async with` starts it, and at the end kills whatever is left of it, its children included.

    All its starts share a directory and a log. It belongs to no event loop, so tests with loops of their own
    may share one.
    """

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        log_path: Path,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Without an `environment` it has this process's."""
        self.directory = directory
        self.log_path = log_path
        self._command = tied(command)
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process itself."""
        assert self._process is not None, "not started"
        return self._process

    @property
    def pid(self) -> int:
        """Its id."""
        return self.process.pid

    @property
    def children(self) -> set[int]:
        """The processes that it has started and that run."""
        return set(map(int, Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()))

    @property
    def memory_bytes(self) -> int:
        """What the main process has in memory (VmRSS)."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None, f"{self!r} has ended"
        return int(found[1]) * 1024

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative after a signal."""
        return self.process.poll()

    @property
    def log(self) -> str:
        """All it wrote on stdout and stderr, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sweep()

    async def start(self) -> None:
        """Start it, and wait until it can be used."""
        raise NotImplementedError

    async def wait(self, timeout_seconds: float = EXIT_SECONDS) -> int:
        """Wait until it ends by itself; return the exit code."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while (code := self.exit_code) is None:  # noqa: ASYNC110 - a Popen has no event to wait for
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{self!r} still runs after {timeout_seconds} s\n{self.tail()}") from None
        return code

    async def terminate(self, timeout_seconds: float = EXIT_SECONDS) -> int:
        """Ask it to end (SIGTERM), wait, and return the exit code."""
        self.signal(signal.SIGTERM)
        return await self.wait(timeout_seconds)

    async def kill(self) -> int:
        """End it at once (SIGKILL), as a power cut does for a process."""
        self.signal(signal.SIGKILL)
        return await self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the main process; SIGSTOP and SIGCONT freeze and thaw it."""
        self.process.send_signal(number)

    def sweep(self) -> None:
        """Kill what is left of it, its children included; harmless when nothing is."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):  # all of its session has ended
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def tail(self, *, lines: int = 80) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.log.splitlines()[-lines:])

    def _spawn(self) -> None:
        assert self._process is None or self._process.poll() is not None, "it still runs"
        self.sweep()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                self._command,
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that `sweep` finds its children
            )
