"""Which servers there are, and how each is started."""

import os
from dataclasses import dataclass, field
from pathlib import Path

BENCH = Path(__file__).parent.parent
PEERS = BENCH / ".peers"
OUR_PYTHON = PEERS / "python-ours"
PEER_PYTHON = PEERS / "python-peers"
NODE_MODULES = PEERS / "node/node_modules"
NGINX_ROOT = PEERS / "apt/root"
FLOOR = PEERS / "floor"
ROUTER_PASSWORD = "bench"  # noqa: S105 - the account of a router that is not there


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test: its name in the results, its process, and what it speaks, the best first."""

    name: str
    command: tuple[str, ...]
    transports: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    on_load_core: bool = False
    """Whether what is started is a publisher, which itself puts the server on its core."""
    replays: bool = False

    def full_environment(self, **more: str) -> dict[str, str]:
        """The environment of its process: little of ours goes in."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {**kept, "PYTHONUNBUFFERED": "1", **self.environment, **more}


def _python(module: str, *, peer: bool = True) -> tuple[str, ...]:
    return (str((PEER_PYTHON if peer else OUR_PYTHON) / "bin/python"), "-m", f"bench.servers.{module}")


def _node(script: str) -> tuple[str, ...]:
    return ("node", str(BENCH / "servers" / script))


ROUTER = Server("router", _python("fleet", peer=False), (), on_load_core=True)
"""The router that `mixed` works on; not a server under test."""

SERVERS = {
    server.name: server
    for server in (
        Server("wellnet-sse", _python("wellnet", peer=False), ("sse", "ws"), replays=True),
        Server(
            "wellnet-sse-sql",
            _python("wellnet", peer=False),
            ("sse", "ws"),
            {"BENCH_BROKER_URL": "sql://"},
            replays=True,
        ),
        *(
            Server(
                f"wellnet-sse-valkey-{count}",
                _python("several", peer=False),
                ("sse", "ws"),
                {"BENCH_PROCESSES": str(count)},
                replays=True,
            )
            for count in (1, 2)
        ),
        Server("node-ws", _node("node_ws.cjs"), ("ws",), {"NODE_PATH": str(NODE_MODULES)}),
        Server("better-sse", _node("better_sse.cjs"), ("sse",), {"NODE_PATH": str(NODE_MODULES)}),
        Server("sse-starlette", _python("starlette_sse"), ("sse",)),
        Server(
            "nchan",
            _python("nchan", peer=False),
            ("sse",),
            {"BENCH_NGINX_ROOT": str(NGINX_ROOT)},
            on_load_core=True,
        ),
        Server("uws", _python("uws"), ("ws",)),
        Server("floor", (str(FLOOR),), ("sse",)),
        Server("floor-joined", (str(FLOOR), "8"), ("sse",)),
    )
}
