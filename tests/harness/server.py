"""The real server, in a process and a world of its own."""

import contextlib
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import httpx

from tests.harness.certificate import Certificate
from tests.harness.daemon import Daemon
from tests.harness.waiting import eventually

START_SECONDS = 20.0

SERVE = (sys.executable, "-m", "wellnet_sse", "serve")


def free_port() -> int:
    """Return a TCP port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def free_ports(count: int) -> int:
    """Return the first of so many in a row.

    Linux gives odd ones to who listens and even ones to who connects: the next is often taken.
    """
    while True:
        first = free_port()
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(first, first + count):
                probe = stack.enter_context(socket.socket())
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
            return first


class ServerProcess(Daemon):
    """`wellnet-sse serve` with its own directory, database and environment.

    `async with` starts it and waits for `/readyz`. It may be started again after it has ended, on the same
    port and database: that is how restarts are tested.
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
        self.port = port or free_port()
        self.certificate = certificate
        secure = "" if certificate is None else "s"
        self.url = f"http{secure}://127.0.0.1:{self.port}"
        self.ws_url = f"ws{secure}://127.0.0.1:{self.port}"
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
        super().__init__(
            [*command, "--bind", f"127.0.0.1:{self.port}", *arguments],
            directory,
            directory / f"server-{self.port}.log",
            environment={name: str(value) for name, value in environment.items() if value is not None},
        )

    def __repr__(self) -> str:
        state = "not started" if self._process is None else f"pid {self.pid}, exit code {self.exit_code}"
        return f"<ServerProcess {self.url} {state}>"

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

    def http(self, *, user: int | None = None, **options: Any) -> httpx.AsyncClient:
        """Return a new client of this server; close it with `async with`. `user` goes into X-User-ID."""
        headers = {} if user is None else {"X-User-ID": str(user)}
        verify = True if self.certificate is None else self.certificate.trust()
        defaults = {"timeout": 10, "headers": headers, "verify": verify}
        return httpx.AsyncClient(base_url=self.url, trust_env=False, **{**defaults, **options})

    def _spawn(self) -> None:
        super()._spawn()
        if self not in ServerProcess.known:
            ServerProcess.known.append(self)
