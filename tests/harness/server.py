"""The real server, in a process and a world of its own."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import httpx

from tests.harness.certificate import Certificate
from tests.harness.processes import tied
from tests.harness.waiting import POLL_SECONDS, eventually

START_SECONDS = 20.0
EXIT_SECONDS = 15.0

SERVE = (sys.executable, "-m", "wellnet_sse", "serve")


def free_port() -> int:
    """Return a TCP port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """`wellnet-sse serve` with its own directory, database and environment.

    `async with` starts it, waits for `/readyz` and at the end kills whatever is left of it. It may be started
    again after it has ended, on the same port and database: that is how restarts are tested. It belongs to no
    event loop, so tests with loops of their own may share one.
    """

    # What is shown beside a test that fails; conftest.py forgets the ended ones before each test.
    known: ClassVar[list["ServerProcess"]] = []

    def __init__(
        self,
        directory: Path,
        *,
        arguments: Sequence[str] = (),
        settings: Mapping[str, object] | None = None,
        port: int | None = None,
        command: Sequence[str] = SERVE,
        certificate: Certificate | None = None,
    ) -> None:
        """`settings` are environment variables by their full names; None as a value removes a default one.

        With a `certificate` it speaks TLS.
        """
        self.directory = directory
        self.port = port or free_port()
        self.certificate = certificate
        secure = "" if certificate is None else "s"
        self.url = f"http{secure}://127.0.0.1:{self.port}"
        self.ws_url = f"ws{secure}://127.0.0.1:{self.port}"
        self.log_path = directory / f"server-{self.port}.log"
        self._command = tied([*command, "--bind", f"127.0.0.1:{self.port}", *arguments])
        temporary = directory / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        # Nothing of this process's environment goes in: a stray WELLNET_* or proxy must not change a test.
        environment: dict[str, object | None] = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": directory,
            "TMPDIR": temporary,
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "WELLNET_DATABASE_URL": f"sqlite+aiosqlite:///{directory / 'wellnet.db'}",
            **({} if certificate is None else certificate.settings),
            **(settings or {}),
        }
        self._environment = {name: str(value) for name, value in environment.items() if value is not None}
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        state = "not started" if self._process is None else f"pid {self.pid}, exit code {self.exit_code}"
        return f"<ServerProcess {self.url} {state}>"

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

    async def start(self, *, ready: bool = True, timeout_seconds: float = START_SECONDS) -> None:
        """Start it, and unless `ready` is False wait until `/readyz` answers 200."""
        self._spawn()
        if not ready:
            return
        try:
            await self.wait_ready(timeout_seconds)
        except BaseException:
            self.sweep()
            raise

    async def wait_ready(self, timeout_seconds: float = START_SECONDS) -> None:
        """Wait until `/readyz` answers 200; a server that ends meanwhile fails at once."""

        async def ready() -> str:
            if self.exit_code is not None:
                return "ended"
            response = await client.get("/readyz")
            return "ready" if response.status_code == 200 else ""

        async with self.http() as client:
            try:
                outcome = await eventually(ready, timeout_seconds)
            except AssertionError as error:
                raise AssertionError(f"{self!r} is not ready: {error}\n{self.tail()}") from error
        assert outcome == "ready", f"{self!r} ended while it started\n{self.tail()}"

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
        """Send a signal to the server's main process; SIGSTOP and SIGCONT freeze and thaw it."""
        self.process.send_signal(number)

    def sweep(self) -> None:
        """Kill what is left of it, its children included; harmless when nothing is."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):  # all of its session has ended
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def http(self, *, user: int | None = None, **options: Any) -> httpx.AsyncClient:
        """Return a new client of this server; close it with `async with`. `user` goes into X-User-ID."""
        headers = {} if user is None else {"X-User-ID": str(user)}
        verify = True if self.certificate is None else self.certificate.trust()
        defaults = {"timeout": 10, "headers": headers, "verify": verify}
        return httpx.AsyncClient(base_url=self.url, trust_env=False, **{**defaults, **options})

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
        if self not in ServerProcess.known:
            ServerProcess.known.append(self)
