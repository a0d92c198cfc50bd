"""Which database this is."""

from pathlib import Path

from wellnet_sse.storage.database import Database
from wellnet_sse.storage.identity import name_of


async def test_a_database_has_one_name_for_good_and_no_other_has_it(tmp_path: Path) -> None:
    names = []
    for file in ("one", "one", "other"):
        database = Database(f"sqlite:///{tmp_path}/{file}.db")
        await database.migrate()
        names.append(await name_of(database))
        await database.aclose()
    one, again, other = names
    assert one == again != other
