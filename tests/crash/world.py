"""A house to crash in: a demo's database in a folder, and its router outside of any server that dies."""

import json
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.conftest import demo_settings
from tests.e2e.support import Told
from tests.harness import ServerProcess, SseEvent, SseReader, eventually
from tests.harness.router import MENUS
from tests.harness.server import SERVE
from tests.simulated_router import PASSWORD, USERNAME, served
from wellnet_sse.provisioning.demo import demo_router_entries, seed
from wellnet_sse.simulator import RouterSimulator
from wellnet_sse.storage.database import Database

DYING = (sys.executable, str(Path(__file__).with_name("dying_server.py")))
IDLE_SECONDS = 5
HELD = 5
"""How many entries the router holds of each connection at first."""

ENDING_SECONDS = 20.0
"""Within this an operation must have ended, whatever befell it; the promise is 60."""

TABLES = {
    "assignments": "connection_id",
    "configurations": "connection_id",
    "temporary_files": "connection_id",
}


class Left(NamedTuple):
    """What is left of a connection, in its router and in the database."""

    entries: int
    rows: dict[str, int]


class World:
    """One database and one router; servers on it come and go."""

    def __init__(self, directory: Path, simulator: RouterSimulator) -> None:
        self.directory = directory
        self.simulator = simulator
        self.boundaries_path = directory / "boundaries"
        self._before = {menu: simulator.entries(menu) for menu in MENUS}
        self._rows_before = self._rows()

    def server(self, **settings: object) -> ServerProcess:
        """A server as it is."""
        return self._process(SERVE, {}, settings)

    def dying_server(self, *, dies_at: int | str | None = None, **settings: object) -> ServerProcess:
        """One that dies at a boundary (by number or name), and in any case writes its boundaries down."""
        self.boundaries_path.unlink(missing_ok=True)
        return self._process(
            DYING,
            {"BOUNDARIES": self.boundaries_path, **({} if dies_at is None else {"DIES_AT": dies_at})},
            settings,
        )

    def boundaries(self) -> list[str]:
        """What the dying server went through."""
        return self.boundaries_path.read_text().splitlines()

    def removals_sent(self) -> int:
        """How often the router was asked to remove something."""
        return sum(count for call, count in self.simulator.calls.items() if call.startswith("DELETE"))

    def entries(self, address: str) -> int:
        """How many entries the router holds of an address."""
        return sum(1 for menu in MENUS for it in self.simulator.entries(menu) if names(it, address))

    def left(self, connection: int) -> Left:
        """What is left of a connection."""
        rows = {table: numbers.count(connection) for table, numbers in self._rows().items()}
        return Left(self.entries(f"10.0.0.{connection}"), rows)

    def check_others(self, connection: int) -> None:
        """Whatever was done to `connection`, no other was touched."""
        address = f"10.0.0.{connection}"
        for menu, before in self._before.items():
            others = [entry for entry in before if not names(entry, address)]
            assert [entry for entry in self.simulator.entries(menu) if not names(entry, address)] == others
        for table, rows in self._rows().items():
            others_before = [it for it in self._rows_before[table] if it != connection]
            assert [it for it in rows if it != connection] == others_before, table

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Look into the database from outside."""
        with closing(sqlite3.connect(f"file:{self.directory / 'wellnet.db'}?mode=ro", uri=True)) as database:
            return database.execute(statement, values).fetchall()

    def _rows(self) -> dict[str, list[int]]:
        return {
            table: [row[0] for row in self.query(f"SELECT {column} FROM {table} ORDER BY id")]  # noqa: S608
            for table, column in TABLES.items()
        }

    def _process(
        self, command: tuple[str, ...], environment: dict[str, object], settings: dict[str, object]
    ) -> ServerProcess:
        ours = {"idle_seconds": IDLE_SECONDS, "router_username": USERNAME, "router_password": PASSWORD}
        variables = {**demo_settings({**ours, **settings}), **environment}
        return ServerProcess(self.directory, settings=variables, command=command)


@asynccontextmanager
async def world(directory: Path, template: Path) -> AsyncIterator[World]:
    """A world of its own in `directory`, with a copy of the database in the folder `template`."""
    simulator = RouterSimulator(demo_router_entries(), username=USERNAME, password=PASSWORD)
    shutil.copytree(template, directory, dirs_exist_ok=True)
    async with served(simulator.app) as url:
        with closing(sqlite3.connect(directory / "wellnet.db")) as database, database:
            database.execute("UPDATE routers SET url = ?", (url,))
        yield World(directory, simulator)


async def make_template(folder: Path) -> None:
    """Make the demo's database: migrated and filled once, for all worlds to copy."""
    database = Database(f"sqlite:///{folder / 'wellnet.db'}")
    await database.migrate()
    await seed(database, "http://127.0.0.1:9")
    await database.aclose()


def names(entry: dict[str, str], address: str) -> bool:
    """Whether a router's entry is of this address."""
    return {entry.get(it) for it in ("target", "address", "remote-address")} & {
        address,
        f"{address}/32",
    } != set()


async def whole_log(
    server: ServerProcess, client: httpx.AsyncClient, user: int, operation_id: str
) -> list[SseEvent]:
    """All events of an ended operation, from the beginning, as a client reads them that missed it all."""
    cursor = (await client.get(f"/api/operaciones/{operation_id}")).json()["cursor"]
    first = f"{cursor.rpartition('-')[0]}-0"
    url = f"{server.url}/sse/operations/{operation_id}?userId={user}&lastEventId={first}"
    async with SseReader(url) as stream:
        events = await stream.rest()
    assert not [it for it in events if it.event == "gap"], "nothing was trimmed"
    return events


def endings(events: Iterable[SseEvent]) -> list[str]:
    """The outcomes that were told, in order."""
    return [it.json["outcome"] for it in events if it.event in {"operation", "end"}]


async def pending(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """The user's pending clean-ups."""
    answer = await client.get("/api/routers/pendientes")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["pendientes"]
    return found


def told_of(one: World, operation_id: str) -> list[Told]:
    """What the log tells of an operation's steps, read while nobody serves it."""
    statement = (
        "SELECT step, status, progress, message FROM history_entries"
        " WHERE operation_id = ? AND step IS NOT NULL ORDER BY seq"
    )
    rows = one.query(statement, operation_id)
    return [Told(step, status, progress, json.loads(message)) for step, status, progress, message in rows]


def completions(one: World) -> int:
    """How often the log says, under whichever operation, that a router is done."""
    statement = "SELECT count(*) FROM history_entries WHERE step = 'remove-router' AND status = 'completed'"
    count: int = one.query(statement)[0][0]
    return count


def open_records(one: World, address: str) -> int:
    """How many clean-ups of an address are recorded."""
    count: int = one.query("SELECT count(*) FROM cleanups WHERE address = ?", address)[0][0]
    return count


async def at_rest(client: httpx.AsyncClient) -> None:
    """Wait until the server works on nothing any more, clean-ups included."""

    async def idle() -> bool:
        return "wellnet_running_work 0.0" in (await client.get("/metrics")).text

    await eventually(idle, ENDING_SECONDS)
