import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from tests.provisioning.odd_router import Asked, Reply, lists, odd_router
from tests.provisioning.support import FAST
from wellnet_sse.errors import NotFoundError, RouterRefusedError, RouterUnreachableError, UnprocessableError
from wellnet_sse.provisioning import Removals, RouterClient, StepWork
from wellnet_sse.provisioning.cleanups import Owner
from wellnet_sse.provisioning.demo import seed
from wellnet_sse.provisioning.removal import Untold
from wellnet_sse.provisioning.tables import Assignment, Configuration, TemporaryFile
from wellnet_sse.simulator import Behaviour, RouterSimulator
from wellnet_sse.storage.database import Database
from wellnet_sse.storage.schema import Base

SERVICE = [
    (10, "Iniciando eliminación de asignación..."),
    (30, "Validando conexión..."),
    (80, "Actualizando base de datos..."),
]
ROUTER = [(20, "Conectando con el router..."), (60, "Eliminando configuración IP...")]
CONFIG = [(25, "Eliminando configuración del sistema..."), (70, "Limpiando archivos temporales...")]


NOBODY = Owner()


class Recorder(Untold):
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.updates: list[tuple[int, str]] = []

    async def update(self, progress: int, message: str) -> None:
        self.updates.append((progress, message))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


async def count(database: Database, table: type[Base]) -> int:
    async with database.session() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


async def test_the_service_step_says_and_does_what_is_documented(
    removals: Removals, seeded: Database, recorder: Recorder
) -> None:
    work = removals.service(3)
    assert (work.step, work.done_message, work.answer_message, work.body) == (
        "remove-service",
        "Asignación eliminada exitosamente",
        "Asignación eliminada",
        {"id_conexion": 3},
    )
    await work.run(recorder, NOBODY)
    assert recorder.updates == SERVICE
    async with seeded.session() as session:
        left = set(await session.scalars(select(Assignment.connection_id)))
    assert left == set(range(1, 51)) - {3}


async def test_the_router_step_says_and_does_what_is_documented(
    removals: Removals, simulator: RouterSimulator, recorder: Recorder
) -> None:
    work = removals.router("10.0.0.3")
    assert (work.step, work.done_message, work.answer_message, work.body) == (
        "remove-router",
        "Conexión eliminada del router",
        "Conexión eliminada",
        {"direccion_ip": "10.0.0.3"},
    )
    await work.run(recorder, NOBODY)
    assert recorder.updates == ROUTER
    assert len(simulator.entries("ppp/secret")) == 49


async def test_the_config_step_says_and_does_what_is_documented(
    removals: Removals, seeded: Database, recorder: Recorder
) -> None:
    work = removals.config(12, 3)
    assert (work.step, work.done_message, work.answer_message, work.body) == (
        "remove-config",
        "Configuración eliminada del sistema",
        "Configuración eliminada",
        {"id_conexion": 12, "id_usuario": 3},
    )
    await work.run(recorder, NOBODY)
    assert recorder.updates == CONFIG
    everyone = set(range(1, 51))
    async with seeded.session() as session:
        assert set(await session.scalars(select(Configuration.connection_id))) == everyone - {12}
        assert set(await session.scalars(select(TemporaryFile.connection_id))) == everyone - {12}


@pytest.mark.parametrize(
    "make", [lambda it: it.service(3), lambda it: it.router("10.0.0.3"), lambda it: it.config(3, 3)]
)
async def test_what_is_already_absent_is_done(
    removals: Removals, recorder: Recorder, make: Callable[[Removals], StepWork]
) -> None:
    await make(removals).run(Recorder(), NOBODY)
    await make(removals).run(recorder, NOBODY)
    assert recorder.updates in (SERVICE, ROUTER, CONFIG)


@pytest.mark.parametrize(
    ("make", "reached"),
    [
        (lambda it: it.service(51), SERVICE[:2]),
        (lambda it: it.router("10.0.0.51"), ROUTER[:1]),
        (lambda it: it.config(51, 6), CONFIG[:1]),
        (lambda it: it.config(3, 4), CONFIG[:1]),
    ],
    ids=["service", "router", "config", "other-customer"],
)
async def test_an_unknown_connection_fails_where_the_protocol_says(  # §6
    removals: Removals,
    seeded: Database,
    simulator: RouterSimulator,
    recorder: Recorder,
    *,
    make: Callable[[Removals], StepWork],
    reached: list[tuple[int, str]],
) -> None:
    with pytest.raises(NotFoundError):
        await make(removals).run(recorder, NOBODY)
    assert recorder.updates == reached
    assert [await count(seeded, table) for table in (Assignment, Configuration, TemporaryFile)] == [
        50,
        50,
        50,
    ]
    assert simulator.calls.total() == 0


async def test_an_unreachable_router_fails_after_20(
    removals: Removals, simulator: RouterSimulator, recorder: Recorder
) -> None:
    simulator.behave(Behaviour(mode="unreachable"))
    with pytest.raises(RouterUnreachableError):
        await removals.router("10.0.0.3").run(recorder, NOBODY)
    assert recorder.updates == ROUTER[:1]


@pytest.mark.parametrize("refuses_all", [False, True])
async def test_a_refusing_router_fails_after_60_and_the_next_attempt_works(
    removals: Removals, simulator: RouterSimulator, recorder: Recorder, *, refuses_all: bool
) -> None:
    simulator.behave(Behaviour(mode="refusing", refuses_all=refuses_all))
    work = removals.router("10.0.0.3")
    with pytest.raises(RouterRefusedError):
        await work.run(recorder, NOBODY)
    assert recorder.updates == ROUTER
    simulator.behave(Behaviour())
    await work.run(recorder, NOBODY)
    assert len(simulator.entries("ppp/secret")) == 49


async def test_an_address_has_one_spelling(removals: Removals) -> None:
    one, other = removals.router("2001:DB8:0:0::1"), removals.router("2001:db8::1")
    assert one.body == other.body == {"direccion_ip": "2001:db8::1"}
    assert one.body_hash == other.body_hash != removals.router("2001:db8::2").body_hash


@pytest.mark.parametrize(
    "text", ["", "router.example", "10.0.0.0/24", "10.0.0.256", "010.0.0.1", "fe80::1%eth0"]
)
async def test_what_is_no_address_is_unprocessable(removals: Removals, text: str) -> None:
    with pytest.raises(UnprocessableError):
        removals.router(text)


async def test_a_plan_is_the_three_steps_of_one_connection(removals: Removals) -> None:
    """Its steps are the endpoints' own, so that a repeat through either finds the other's answer."""
    plan = await removals.plan(12)
    alone = [removals.service(12), removals.router("10.0.0.12"), removals.config(12, 3)]
    assert [(it.step, it.body_hash) for it in plan] == [(it.step, it.body_hash) for it in alone]


async def test_a_plan_for_an_unknown_connection_fails_in_its_first_step(
    removals: Removals, recorder: Recorder
) -> None:
    (work,) = await removals.plan(51)
    with pytest.raises(NotFoundError, match="No existe la conexión 51"):
        await work.run(recorder, NOBODY)
    assert recorder.updates == SERVICE[:2]


async def test_the_pace_is_kept_where_the_documents_timeouts_are(
    seeded: Database, routers: RouterClient, recorder: Recorder
) -> None:
    paused_at: list[int] = []

    async def pace() -> None:
        paused_at.append(recorder.updates[-1][0])

    for work in await Removals(seeded, routers, pace=pace).plan(3):
        await work.run(recorder, NOBODY)
    assert paused_at == [10, 80, 20, 25]


async def test_no_transaction_is_open_while_the_router_or_a_reader_is_told() -> None:
    """The database has a single connection: whoever held it would keep everybody else out."""
    database = Database("sqlite://")
    asked = 0

    class Reader(Untold):
        async def update(self, _progress: int, _message: str) -> None:
            await ask()

    async def ask() -> None:
        nonlocal asked
        async with asyncio.timeout(2):
            await database.ping()
        asked += 1

    async def answers(_asked: Asked) -> Reply:
        await ask()
        return lists([])

    client = RouterClient("user", "s3creto", limits=FAST, verify=False)
    async with odd_router(answers) as url:
        try:
            await database.migrate()
            await seed(database, url)
            for work in await Removals(database, client, pace=ask).plan(3):
                await work.run(Reader(), NOBODY)
        finally:
            await client.aclose()
            await database.aclose()
    assert asked > len(SERVICE + ROUTER + CONFIG)
