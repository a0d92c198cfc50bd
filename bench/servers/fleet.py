"""For `mixed`: a back office with enough connections for a round, and the router that holds them."""

import asyncio
import os

from bench.servers.common import listen_for_commands, tell
from wellnet_sse.provisioning.tables import Assignment, Configuration, Connection, Router, TemporaryFile
from wellnet_sse.server import runner, sockets
from wellnet_sse.simulator import RouterSimulator
from wellnet_sse.storage.database import Database

CONNECTIONS = 3000


def _address(n: int) -> str:
    return f"10.1.{n // 250}.{n % 250 + 1}"


async def seed(database: Database, router_url: str) -> None:
    """Fill the empty database with connections on one router."""
    async with database.session(writes=True) as session:
        router = Router(name="router-bench", url=router_url)
        session.add(router)
        await session.flush()
        numbers = range(1, CONNECTIONS + 1)
        session.add_all(
            Connection(id=n, address=_address(n), customer_id=n, router_id=router.id) for n in numbers
        )
        await session.flush()
        for n in numbers:
            content = f"cliente={n}\ndireccion={_address(n)}\nplan=Fibra 50M\n"
            session.add_all(
                [
                    Assignment(connection_id=n, service="Fibra 50M"),
                    Configuration(connection_id=n, customer_id=n, content=content),
                    TemporaryFile(connection_id=n, name=f"conexion-{n}.rsc", content=content),
                ]
            )


async def main() -> None:
    """Be the router, in a process of its own, until the harness is gone."""
    numbers = range(1, CONNECTIONS + 1)
    entries = {
        "queue/simple": [
            {"name": f"conexion-{n}", "target": f"{_address(n)}/32", "dynamic": "false"} for n in numbers
        ],
        "ppp/secret": [{"name": f"conexion-{n}", "remote-address": _address(n)} for n in numbers],
        "ppp/active": [{"name": f"conexion-{n}", "address": _address(n)} for n in numbers],
        "ip/dhcp-server/lease": [{"address": _address(n), "dynamic": "false"} for n in numbers],
        "ip/firewall/address-list": [
            {"list": "clientes-activos", "address": _address(n), "dynamic": "false"} for n in numbers
        ],
    }
    router = RouterSimulator(entries, username="wellnet", password=os.environ["BENCH_ROUTER_PASSWORD"])
    listener = sockets.listen("127.0.0.1", 0)
    listen_for_commands(lambda _: None, ended=lambda: os._exit(0))
    tell(url=sockets.url_of(listener), pids=[os.getpid()], versions={})
    await runner.serve(router.app, listener, stop=asyncio.Event())


if __name__ == "__main__":
    runner.run(main())
