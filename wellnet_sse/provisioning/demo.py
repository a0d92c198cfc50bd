"""What the demo begins with: fifty connections, and what their router holds of them."""

from collections.abc import Mapping, Sequence

from sqlalchemy import select, update

from wellnet_sse.provisioning.tables import Assignment, Configuration, Connection, Router, TemporaryFile
from wellnet_sse.storage.database import Database

ROUTER_NAME = "router-demo"
CONNECTIONS = 50


async def seed(database: Database, router_url: str) -> None:
    """Fill an empty database; in one that the demo filled before, only tell where its router is now.

    Connection n of 1 to 50 has the address 10.0.0.n and the customer ((n - 1) mod 9) + 1. Any other
    database is left as it is.
    """
    async with database.session(writes=True) as session:
        await session.execute(update(Router).where(Router.name == ROUTER_NAME).values(url=router_url))
        if await session.scalar(select(Router.id).limit(1)) is not None:
            return
        router = Router(name=ROUTER_NAME, url=router_url)
        session.add(router)
        await session.flush()
        numbers = range(1, CONNECTIONS + 1)
        session.add_all(
            Connection(id=n, address=_address(n), customer_id=_customer(n), router_id=router.id)
            for n in numbers
        )
        await session.flush()
        for n in numbers:
            content = f"cliente={_customer(n)}\ndireccion={_address(n)}\nplan=Fibra 50M\n"
            session.add_all(
                [
                    Assignment(connection_id=n, service="Fibra 50M"),
                    Configuration(connection_id=n, customer_id=_customer(n), content=content),
                    TemporaryFile(connection_id=n, name=f"conexion-{n}.rsc", content=content),
                ]
            )


def demo_router_entries() -> Mapping[str, Sequence[Mapping[str, str]]]:
    """Give what the demo's router holds at first, by menu."""
    numbers = range(1, CONNECTIONS + 1)
    return {
        "queue/simple": [
            {
                "name": f"conexion-{n}",
                "target": f"{_address(n)}/32",
                "max-limit": "10M/50M",
                "dynamic": "false",
            }
            for n in numbers
        ],
        "ppp/secret": [
            {"name": f"conexion-{n}", "service": "pppoe", "profile": "default", "remote-address": _address(n)}
            for n in numbers
        ],
        "ppp/active": [
            {"name": f"conexion-{n}", "service": "pppoe", "address": _address(n), "caller-id": _mac(n)}
            for n in numbers
        ],
        "ip/dhcp-server/lease": [
            {"address": _address(n), "mac-address": _mac(n), "server": "dhcp1", "dynamic": "false"}
            for n in numbers
        ],
        "ip/firewall/address-list": [
            {"list": "clientes-activos", "address": _address(n), "dynamic": "false"} for n in numbers
        ],
    }


def _address(n: int) -> str:
    return f"10.0.0.{n}"


def _customer(n: int) -> int:
    return (n - 1) % 9 + 1


def _mac(n: int) -> str:
    return f"02:00:00:00:00:{n:02X}"
