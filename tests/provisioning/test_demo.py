from sqlalchemy import delete, func, select

from wellnet_sse.provisioning.demo import demo_router_entries, seed
from wellnet_sse.provisioning.tables import Assignment, Configuration, Connection, Router, TemporaryFile
from wellnet_sse.storage.database import Database


async def test_the_demo_fills_an_empty_database(database: Database) -> None:
    await seed(database, "http://127.0.0.1:1")
    async with database.session() as session:
        rows = (
            await session.execute(select(Connection.id, Connection.address, Connection.customer_id))
        ).all()
        assert sorted(tuple(row) for row in rows) == [
            (n, f"10.0.0.{n}", (n - 1) % 9 + 1) for n in range(1, 51)
        ]
        for table in (Assignment, Configuration, TemporaryFile):
            assert await session.scalar(select(func.count()).select_from(table)) == 50
        assert list(await session.scalars(select(Router.url))) == ["http://127.0.0.1:1"]


async def test_the_demo_again_only_follows_its_router(database: Database) -> None:
    await seed(database, "http://127.0.0.1:1")
    async with database.session(writes=True) as session:
        await session.execute(delete(Assignment).where(Assignment.connection_id == 1))
    await seed(database, "http://127.0.0.1:2")
    async with database.session() as session:
        assert list(await session.scalars(select(Router.url))) == ["http://127.0.0.1:2"]
        assert await session.scalar(select(func.count()).select_from(Assignment)) == 49


async def test_the_demo_leaves_a_real_database_alone(database: Database) -> None:
    async with database.session(writes=True) as session:
        session.add(Router(name="central", url="https://central.invalid"))
    await seed(database, "http://127.0.0.1:1")
    async with database.session() as session:
        assert list(await session.scalars(select(Router.url))) == ["https://central.invalid"]
        assert await session.scalar(select(func.count()).select_from(Connection)) == 0


def test_the_demos_router_holds_every_address_in_every_menu() -> None:
    for items in demo_router_entries().values():
        text = [" ".join(item.values()) + " " for item in items]
        assert all(f"10.0.0.{n}/32 " in text[n - 1] or f"10.0.0.{n} " in text[n - 1] for n in range(1, 51))
