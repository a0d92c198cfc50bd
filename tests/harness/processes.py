"""Client processes whose output is read line by line."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

Line = TypeVar("Line")

CLIENTS = Path(__file__).parent.parent / "clients"
WAIT_SECONDS = 10.0
LINE_LIMIT_BYTES = 4 * 1024 * 1024


class StreamEndedError(AssertionError):
    """The other side ended before what the test waits for came."""


def tied(command: Sequence[str]) -> list[str]:
    """Let the kernel end the command with this process, so that a killed test run leaves nothing behind."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--", *command] if setpriv else list(command)


def installed(name: str) -> str:
    """Return where a program of the system is; /usr/sbin is not on everybody's path."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin")
    assert found is not None, f"{name} is not installed: run `make test`, or tests/deploy/install"
    return found


def node(script: str, *arguments: str) -> list[str]:
    """Return the command line of one of the clients in tests/clients."""
    if not (CLIENTS / "node_modules").is_dir():
        raise AssertionError("tests/clients is not installed: run `make test`, or tests/clients/install")
    return ["node", str(CLIENTS / script), *arguments]


class LineProcess(Generic[Line]):
    """A process whose lines are collected as they come; `take` hands them out in order.

    Lines wait in `lines` and are never dropped; a test reads on from where it was. `pause` stops the process
    as a whole (SIGSTOP): a reader that no longer reads its socket.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tied(command)
        self._taken = 0
        self._ended = False
        self._errors = bytearray()
        self._news = asyncio.Condition()
        self._readers: list[asyncio.Task[None]] = []
        self._process: asyncio.subprocess.Process | None = None
        self.lines: list[Line] = []

    def parse(self, line: bytes) -> Line:
        """Make a typed value of one line of stdout."""
        raise NotImplementedError

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The running process."""
        assert self._process is not None, "used before `async with`"
        return self._process

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, stderr=pipe, limit=LINE_LIMIT_BYTES
        )
        self._readers = [asyncio.create_task(self._collect()), asyncio.create_task(self._collect_errors())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the process, as a closed tab would; harmless when it has ended."""
        if self.process.returncode is None:
            self.process.kill()
        if self.process.stdin:
            self.process.stdin.close()
        await self.process.wait()
        await asyncio.gather(*self._readers)

    def pause(self) -> None:
        """Stop reading, as a suspended laptop does; the connection stays."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on reading."""
        self.process.send_signal(signal.SIGCONT)

    async def take(
        self, wanted: Callable[[Line], bool] = lambda _: True, timeout_seconds: float = WAIT_SECONDS
    ) -> Line:
        """Return the next line that is wanted; the ones before it are passed over."""
        try:
            async with asyncio.timeout(timeout_seconds), self._news:
                while True:
                    while self._taken < len(self.lines):
                        line = self.lines[self._taken]
                        self._taken += 1
                        if wanted(line):
                            return line
                    if self._ended:
                        raise StreamEndedError(f"ended; {self._seen()}")
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"not within {timeout_seconds} s; {self._seen()}") from None

    async def exhausted(self, timeout_seconds: float = WAIT_SECONDS) -> None:
        """Return when the process has ended and all it said has been collected."""
        try:
            async with asyncio.timeout(timeout_seconds), self._news:
                await self._news.wait_for(lambda: self._ended)
        except TimeoutError:
            raise AssertionError(f"still open after {timeout_seconds} s; {self._seen()}") from None

    async def values(self) -> AsyncIterator[Line]:
        """Yield the lines from here on, to the end; each within the usual deadline."""
        while True:
            try:
                line = await self.take()
            except StreamEndedError:
                return
            yield line

    def _seen(self) -> str:
        tail = "\n  ".join(repr(line) for line in self.lines[-30:])
        errors = self._errors.decode(errors="replace").strip()
        return f"{len(self.lines)} seen, the last ones:\n  {tail}" + (f"\nstderr: {errors}" if errors else "")

    async def _collect(self) -> None:
        assert self.process.stdout
        try:
            async for line in self.process.stdout:
                async with self._news:
                    self.lines.append(self.parse(line))
                    self._news.notify_all()
        finally:
            async with self._news:
                self._ended = True
                self._news.notify_all()

    async def _collect_errors(self) -> None:
        assert self.process.stderr
        async for line in self.process.stderr:
            self._errors += line


def parsed(line: bytes) -> dict[str, Any]:
    """Return the object of a JSON line."""
    value: dict[str, Any] = json.loads(line)
    return value
