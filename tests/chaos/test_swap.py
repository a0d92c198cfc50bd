"""Another database, or an older copy of it, is put in the place of the server's own while it is down."""

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.ledger import Seen, split_cursor
from tests.chaos.resuming import Watch, Way, resume
from tests.chaos.world import USER, World, resume_everywhere, world
from tests.conftest import MakeServer
from tests.harness import ServerProcess

pytestmark = pytest.mark.slow

Put = Callable[[Path, Path], object]


def renamed(source: Path, place: Path) -> None:
    """Another file takes the name."""
    source.rename(place)


def overwritten(source: Path, place: Path) -> None:
    """The same file gets another content, as `cp` does it."""
    shutil.copyfile(source, place)


def database(server: ServerProcess) -> Path:
    return server.directory / "wellnet.db"


def backup(server: ServerProcess, place: Path) -> None:
    """Copy the database while the server uses it."""
    with closing(sqlite3.connect(database(server))) as source, closing(sqlite3.connect(place)) as copy:
        source.backup(copy)


def swap(server: ServerProcess, source: Path | None, put: Put = renamed) -> None:
    """Put `source`, or nothing, in the place of the database of a server that is down."""
    for suffix in ("-wal", "-shm"):
        Path(f"{database(server)}{suffix}").unlink(missing_ok=True)
    if source is None:
        database(server).unlink()
    else:
        put(source, database(server))


async def hold(server: ServerProcess, old: list[Seen], now: list[Seen], *, more: int) -> None:
    """Each old cursor is answered by a gap and the state of today; also when today has gone past it."""
    epoch, _ = split_cursor(old[-1].cursor)
    cursors = [f"{epoch}-0", *(it.cursor for it in old[:: len(old) // 3]), old[-1].cursor]
    async with world(server, before=now) as it:
        if now:
            await hold_now(it, cursors)
        if more:
            await it.publish(operations=more, seed=100)
            await hold_now(it, cursors)
        assert len(it.truth()) > len(old), "else all cursors would be from the future"


async def hold_now(it: World, cursors: Sequence[str]) -> None:
    for _, _, told in await resume_everywhere(it.server.port, it.truth(), cursors):
        assert told.gap is not None, told


async def test_an_empty_database_in_the_place_of_the_old_one(make_server: MakeServer) -> None:
    server = await make_server(demo=False, heartbeat_seconds=1)
    async with world(server) as it:
        await it.publish(operations=2, seed=1)
        old = it.truth()
    await server.kill()
    swap(server, None)
    await server.start()
    for way in Way:
        told = await resume(server.port, Watch(USER, None, way), old[-1].cursor)
        assert told.gap == {"requested": old[-1].cursor, "earliest": None, "latest": None}
        assert (told.seen, (told.live or "").endswith("-0")) == ([], True)
    await hold(server, old, [], more=5)


async def test_another_servers_database_in_the_place_of_the_old_one(make_server: MakeServer) -> None:
    server, other = [await make_server(demo=False, heartbeat_seconds=1) for _ in range(2)]
    async with world(server) as it:
        await it.publish(operations=1, seed=1)
        old = it.truth()
    async with world(other) as it:
        await it.publish(operations=4, seed=2)
        now = it.truth()
    assert len(now) > len(old)
    await server.kill()
    await other.terminate()
    swap(server, database(other))
    await server.start()
    await hold(server, old, now, more=0)


@pytest.mark.parametrize("put", [renamed, overwritten])
async def test_a_backup_in_the_place_of_the_database_it_was_made_of(
    make_server: MakeServer, tmp_path: Path, put: Put
) -> None:
    """Its epoch was the same, and soon its numbers are: but they stand for other events."""
    server = await make_server(demo=False, heartbeat_seconds=1)
    async with world(server) as it:
        await it.publish(operations=1, seed=1)
        backup(server, tmp_path / "backup.db")
        now = it.truth()
        await it.publish(operations=1, seed=2)
        old = it.truth()
    await server.kill()
    swap(server, tmp_path / "backup.db", put)
    await server.start()
    await hold(server, old, now, more=5)


async def test_a_backup_in_which_nothing_is_missing(make_server: MakeServer, tmp_path: Path) -> None:
    server = await make_server(demo=False, heartbeat_seconds=1)
    async with world(server) as it:
        await it.publish(operations=2, seed=1)
        old = it.truth()
    await server.kill()
    backup(server, tmp_path / "backup.db")
    swap(server, tmp_path / "backup.db")
    await server.start()
    async with world(server, before=old) as it:
        for watch, cursor, told in await resume_everywhere(server.port, old, [old[0].cursor, old[-1].cursor]):
            assert told.gap is None, f"history is whole: {watch} {cursor} {told}"
