"""A look at the tables of the back office from outside."""

from sqlalchemy import select

from wellnet_sse.provisioning.tables import Router
from wellnet_sse.storage.database import Database


async def known_routers(database: Database) -> list[tuple[str, str]]:
    """Name and URL of each router, where the tables are there. Raises UnavailableError."""
    async with database.session() as session:
        found = await session.execute(select(Router.name, Router.url).order_by(Router.name))
        return [(name, url) for name, url in found]
