"""The connections as the back office lists them: what there is, and what is left of each."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, exists, func, or_, select

from wellnet_sse.provisioning.tables import Assignment, Cleanup, Configuration, Connection, Router
from wellnet_sse.storage.database import Database


class Listed(NamedTuple):
    """A connection in the list."""

    id_conexion: int
    address: str
    customer_id: int
    router: str
    """The router's name; its address is nobody's business."""
    services: Sequence[str]
    """What is assigned to it."""
    has_configuration: bool
    has_cleanup: bool
    """Whether something of it may still stand in its router."""


class Catalogue:
    """Reads the connections, whoever's they are: any employee may act on any of them (protocol §1)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, *, limit: int, after: int = 0, search: str = "") -> Sequence[Listed]:
        """At most `limit` connections by their id, those after `after`.

        `search` is an id, a customer's number, or how an address begins.
        """
        configured = exists().where(Configuration.connection_id == Connection.id)
        pending = exists().where(Cleanup.address == Connection.address)
        wanted = (
            select(Connection, Router.name, configured, pending)
            .join(Router)
            .where(Connection.id > after)
            .order_by(Connection.id)
            .limit(limit)
        )
        if search:
            wanted = wanted.where(_matches(search))
        async with self._database.session() as session:
            rows = (await session.execute(wanted)).all()
            ids = [row[0].id for row in rows]
            assigned = await session.execute(
                select(Assignment.connection_id, Assignment.service)
                .where(Assignment.connection_id.in_(ids))
                .order_by(Assignment.id)
            )
            services: dict[int, list[str]] = {}
            for connection_id, service in assigned:
                services.setdefault(connection_id, []).append(service)
        return [
            Listed(
                connection.id,
                connection.address,
                connection.customer_id,
                router,
                services.get(connection.id, ()),
                is_configured,
                is_pending,
            )
            for connection, router, is_configured, is_pending in rows
        ]


def _matches(search: str) -> ColumnElement[bool]:
    begins = func.lower(Connection.address).startswith(search.lower(), autoescape=True)
    if not (search.isascii() and search.isdigit() and len(search) < 19):
        return begins
    number = int(search)
    return or_(begins, Connection.id == number, Connection.customer_id == number)
