"""Which database this is: a name at random, given to it with its schema and copied with its contents."""

from sqlalchemy import Column, String, Table, select

from wellnet_sse.storage.database import Database
from wellnet_sse.storage.schema import Base

identity = Table(
    "database_identity",
    Base.metadata,
    Column("name", String(32), primary_key=True),
    comment="One row: a name at random, by which processes know that they share this database",
)


async def name_of(database: Database) -> str:
    """The database's name. Raises UnavailableError."""
    async with database.reading() as connection:
        return str((await connection.execute(select(identity.c.name))).scalar_one())
