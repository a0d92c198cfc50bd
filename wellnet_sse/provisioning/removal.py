"""The three steps of taking a customer's connection away.

Their names, messages and progress numbers are the source document's. What is already absent counts as done.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from sqlalchemy import Delete, Row, bindparam, delete, select

from wellnet_sse.errors import NotFoundError, RouterUnreachableError, UnprocessableError, WellnetError
from wellnet_sse.provisioning.cleanups import Cleanups, Owner
from wellnet_sse.provisioning.router import OnWrite, RouterClient, WriteState
from wellnet_sse.provisioning.tables import Assignment, Configuration, Connection, Router, TemporaryFile
from wellnet_sse.storage.database import Database

REMOVE_SERVICE = "remove-service"
REMOVE_ROUTER = "remove-router"
REMOVE_CONFIG = "remove-config"
STEPS = (REMOVE_SERVICE, REMOVE_ROUTER, REMOVE_CONFIG)
ANSWERS = {
    REMOVE_SERVICE: "Asignación eliminada",
    REMOVE_ROUTER: "Conexión eliminada",
    REMOVE_CONFIG: "Configuración eliminada",
}
ALL_REMOVED = "Conexión eliminada por completo"

Pace = Callable[[], Awaitable[None]]


# Built once: every removal goes through these.
_CONNECTION = select(Connection.address, Connection.customer_id).where(Connection.id == bindparam("id"))
_ROUTER_URL = select(Router.url).join(Connection).where(Connection.address == bindparam("address"))


class StepReporter(Protocol):
    """Tells whoever watches how far a step is; the progress API's `Step` is one."""

    async def update(self, progress: int, message: str) -> None:
        """Publish the step as `in_progress`: a percentage, and a sentence in Spanish."""

    def at(self, place: str) -> None:
        """Say where it is at work from now on."""


class Untold:
    """Reports to nobody."""

    async def update(self, progress: int, message: str) -> None:
        """See `StepReporter.update`."""

    def at(self, place: str) -> None:
        """See `StepReporter.at`."""


async def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class StepWork:
    """One step, ready to run: its name, what it says when done, what HTTP answers, and its validated body."""

    step: str
    done_message: str
    answer_message: str
    body: Mapping[str, int | str]
    perform: Callable[[StepReporter, Owner], Awaitable[None]]
    settle: Callable[[], Awaitable[None]] = _nothing
    """To be awaited when the step's completion is durable."""

    @property
    def body_hash(self) -> str:
        """Give the same text for the same body, whatever the order of its keys (SHA-256, hexadecimal)."""
        return hashlib.sha256(json.dumps(dict(self.body), sort_keys=True).encode()).hexdigest()

    async def run(self, reporter: StepReporter, owner: Owner) -> None:
        """Do the work for `owner`; it may be run again after any failure.

        Raises `NotFoundError`, `RouterRefusedError`, `RouterUnreachableError`, `UnavailableError`.
        """
        await self.perform(reporter, owner)


class Removals:
    """Makes the steps' work. `pace` is awaited where the source document has its `setTimeout`s."""

    def __init__(self, database: Database, routers: RouterClient, *, pace: Pace = _nothing) -> None:
        self._database = database
        self._routers = routers
        self._pace = pace
        self.cleanups = Cleanups(database)

    def service(self, id_conexion: int) -> StepWork:
        """Take the connection's service assignments away."""

        async def perform(reporter: StepReporter, _owner: Owner) -> None:
            await reporter.update(10, "Iniciando eliminación de asignación...")
            await self._pace()
            await reporter.update(30, "Validando conexión...")
            await self._existing(id_conexion)
            await reporter.update(80, "Actualizando base de datos...")
            await self._pace()
            await self._delete(delete(Assignment).where(Assignment.connection_id == id_conexion))

        return StepWork(
            step=REMOVE_SERVICE,
            done_message="Asignación eliminada exitosamente",
            answer_message=ANSWERS[REMOVE_SERVICE],
            body={"id_conexion": id_conexion},
            perform=perform,
        )

    def router(self, direccion_ip: str) -> StepWork:
        """Take the address out of its router.

        What may be left there is recorded with `Cleanups` until the completion is told. Raises
        `UnprocessableError` when `direccion_ip` is no address.
        """
        try:
            # A zone, which is anything after a %, is no part of a customer's address.
            address = str(ip_address(direccion_ip.replace("%", " ")))
        except ValueError as error:
            raise UnprocessableError("direccion_ip debe ser una dirección IP") from error

        async def perform(reporter: StepReporter, owner: Owner) -> None:
            await reporter.update(20, "Conectando con el router...")
            await self._pace()
            url = await self._router_url(address)
            reporter.at(url)
            router = self._routers.router(url)
            async with self._recorded(address, owner) as record:
                await router.connect()
                await reporter.update(60, "Eliminando configuración IP...")
                await router.remove_address(address, on_write=record)

        return StepWork(
            step=REMOVE_ROUTER,
            done_message="Conexión eliminada del router",
            answer_message=ANSWERS[REMOVE_ROUTER],
            body={"direccion_ip": address},
            perform=perform,
            settle=lambda: self.cleanups.resolve(address),
        )

    async def reach(self, address: str) -> None:
        """See that the address's router answers. Raises `NotFoundError` and `RouterUnreachableError`."""
        await self._routers.router(await self._router_url(address)).connect()

    @asynccontextmanager
    async def _recorded(self, address: str, owner: Owner) -> AsyncIterator[OnWrite]:
        """Keep the record of a write that is not certain; a router that is unreachable is such a one too."""
        cleanup_id: int | None = None

        async def record(state: WriteState) -> None:
            nonlocal cleanup_id
            if state is WriteState.UNKNOWN:
                cleanup_id = await self.cleanups.begin(owner, address, state)
            elif state is WriteState.CONFIRMED and cleanup_id is not None:
                await self.cleanups.confirm(cleanup_id)

        try:
            yield record
        except WellnetError as error:
            if cleanup_id is None and isinstance(error, RouterUnreachableError):
                cleanup_id = await self.cleanups.begin(owner, address, WriteState.NOT_SENT)
            if cleanup_id is not None:
                await self.cleanups.postpone(cleanup_id)
            raise

    def config(self, id_conexion: int, id_usuario: int) -> StepWork:
        """Delete the configuration of the connection, whose customer `id_usuario` must be, and its files."""

        async def perform(reporter: StepReporter, _owner: Owner) -> None:
            await reporter.update(25, "Eliminando configuración del sistema...")
            await self._pace()
            connection = await self._existing(id_conexion)
            if connection.customer_id != id_usuario:
                raise NotFoundError(f"La conexión {id_conexion} no es del usuario {id_usuario}")
            await self._delete(delete(Configuration).where(Configuration.connection_id == id_conexion))
            await reporter.update(70, "Limpiando archivos temporales...")
            await self._delete(delete(TemporaryFile).where(TemporaryFile.connection_id == id_conexion))

        return StepWork(
            step=REMOVE_CONFIG,
            done_message="Configuración eliminada del sistema",
            answer_message=ANSWERS[REMOVE_CONFIG],
            body={"id_conexion": id_conexion, "id_usuario": id_usuario},
            perform=perform,
        )

    async def plan(self, id_conexion: int) -> tuple[StepWork, ...]:
        """Give all three steps, in order.

        Of a connection that does not exist there is only the first, which then fails as it does by itself.
        """
        first = self.service(id_conexion)
        connection = await self._find(id_conexion)
        if connection is None:
            return (first,)
        return (
            first,
            self.router(connection.address),
            self.config(id_conexion, connection.customer_id),
        )

    async def _find(self, id_conexion: int) -> Row[str, int] | None:
        async with self._database.reading() as connection:
            return (await connection.execute(_CONNECTION, {"id": id_conexion})).one_or_none()

    async def _existing(self, id_conexion: int) -> Row[str, int]:
        connection = await self._find(id_conexion)
        if connection is None:
            raise NotFoundError(f"No existe la conexión {id_conexion}")
        return connection

    async def _router_url(self, address: str) -> str:
        async with self._database.reading() as connection:
            url = await connection.scalar(_ROUTER_URL, {"address": address})
        if url is None:
            raise NotFoundError(f"Ninguna conexión tiene la dirección {address}")
        return url

    async def _delete(self, statement: Delete) -> None:
        async with self._database.writing() as connection:
            await connection.execute(statement)
