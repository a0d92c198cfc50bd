"""What the source document promises, spelled out, and small helpers that several files share."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx

from tests.harness import LegacySocket, NodeSocket, eventually

FIELDS = ["operation_id", "step", "status", "message", "progress", "timestamp"]
"""Of a progress event, in their order."""

_markers = itertools.count(1)


class Told(NamedTuple):
    """What an event says of a step."""

    step: str
    status: str
    progress: int | None
    message: str


SERVICE = [
    Told("remove-service", "in_progress", 10, "Iniciando eliminación de asignación..."),
    Told("remove-service", "in_progress", 30, "Validando conexión..."),
    Told("remove-service", "in_progress", 80, "Actualizando base de datos..."),
    Told("remove-service", "completed", 100, "Asignación eliminada exitosamente"),
]
ROUTER = [
    Told("remove-router", "in_progress", 20, "Conectando con el router..."),
    Told("remove-router", "in_progress", 60, "Eliminando configuración IP..."),
    Told("remove-router", "completed", 100, "Conexión eliminada del router"),
]
CONFIG = [
    Told("remove-config", "in_progress", 25, "Eliminando configuración del sistema..."),
    Told("remove-config", "in_progress", 70, "Limpiando archivos temporales..."),
    Told("remove-config", "completed", 100, "Configuración eliminada del sistema"),
]
STEPS = ["remove-service", "remove-router", "remove-config"]
PENDING = [Told(step, "pending", 0, "Pendiente") for step in STEPS]

QUITAR_ASIGNACION = "/api/conexiones/quitar-asignacion"
QUITAR_CONEXION = "/api/routers/quitar-conexion"
ELIMINAR_CONFIGURACION = "/api/configuracion/eliminar"
ELIMINAR = "/api/conexiones/eliminar"
DOCUMENTED = (QUITAR_ASIGNACION, QUITAR_CONEXION, ELIMINAR_CONFIGURACION, ELIMINAR)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One of the four, and what it says when all is well."""

    path: str
    events: Sequence[Told]
    message: str

    def body(self, connection: int) -> dict[str, Any]:
        """The body that takes demo connection `connection` away."""
        return body_of(self.path, connection)


ENDPOINTS = [
    Endpoint(QUITAR_ASIGNACION, SERVICE, "Asignación eliminada"),
    Endpoint(QUITAR_CONEXION, ROUTER, "Conexión eliminada"),
    Endpoint(ELIMINAR_CONFIGURACION, CONFIG, "Configuración eliminada"),
    Endpoint(ELIMINAR, [*PENDING, *SERVICE, *ROUTER, *CONFIG], "Conexión eliminada por completo"),
]


def body_of(path: str, connection: int) -> dict[str, Any]:
    """The body of a documented endpoint for demo connection `connection` (1 to 50)."""
    if path == QUITAR_CONEXION:
        return {"direccion_ip": address(connection)}
    if path == ELIMINAR_CONFIGURACION:
        return {"id_conexion": connection, "id_usuario": (connection - 1) % 9 + 1}
    return {"id_conexion": connection}


def address(connection: int) -> str:
    """The address of a demo connection."""
    return f"10.0.0.{connection}"


def told(events: Iterable[dict[str, Any]]) -> list[Told]:
    """What these progress events say."""
    return [Told(it["step"], it["status"], it["progress"], it["message"]) for it in events]


def seq(cursor: str | None) -> int:
    """The number of a cursor."""
    assert cursor is not None, "no cursor"
    return int(cursor.rpartition("-")[2])


def moved(cursor: str | None, by: int) -> str:
    """The cursor `by` events later."""
    assert cursor is not None, "no cursor"
    return f"{cursor.rpartition('-')[0]}-{seq(cursor) + by}"


async def do(
    client: httpx.AsyncClient, path: str, connection: int, operation_id: str, **headers: str
) -> httpx.Response:
    """POST a documented endpoint under an operation; headers as in `Prefer="respond-async"`."""
    return await client.post(
        path, json=body_of(path, connection), headers={"X-Operation-ID": operation_id, **headers}
    )


async def publish(
    client: httpx.AsyncClient,
    operation_id: str,
    step: str,
    status: str = "in_progress",
    *,
    message: str = "…",
    progress: int | None = None,
    key: str | None = None,
) -> httpx.Response:
    """Publish a step as another backend does; `key` is its Idempotency-Key."""
    return await client.post(
        f"/api/operaciones/{operation_id}/pasos/{step}",
        json={"status": status, "message": message, "progress": progress},
        headers={} if key is None else {"Idempotency-Key": key},
    )


async def published(client: httpx.AsyncClient, operation_id: str, step: str, *statuses: str) -> str:
    """Publish a step through these statuses; return the last cursor."""
    cursor = ""
    for status in statuses:
        answer = await publish(client, operation_id, step, status)
        assert answer.status_code == 201, answer.text
        cursor = answer.json()["cursor"]
    return cursor


async def begin(client: httpx.AsyncClient, operation_id: str, *steps: str) -> dict[str, Any]:
    """Begin an operation over HTTP; return its state."""
    answer = await client.post("/api/operaciones", json={"operation_id": operation_id, "steps": steps})
    assert answer.status_code in {200, 201}, answer.text
    return state_of(answer)


async def state(client: httpx.AsyncClient, operation_id: str) -> dict[str, Any]:
    """The state of an operation."""
    answer = await client.get(f"/api/operaciones/{operation_id}")
    assert answer.status_code == 200, answer.text
    return state_of(answer)


def state_of(answer: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer."""
    value: dict[str, Any] = answer.json()
    return value


async def ended(client: httpx.AsyncClient, operation_id: str, timeout_seconds: float = 5.0) -> dict[str, Any]:
    """Wait until the operation has ended; return its state."""

    async def check() -> dict[str, Any]:
        found = await state(client, operation_id)
        return found if found["outcome"] is not None else {}

    return await eventually(check, timeout_seconds)


async def joined(socket: LegacySocket | NodeSocket, client: httpx.AsyncClient) -> None:
    """Wait until a documented socket, which is told nothing of it, is among the readers of its user.

    It names an operation of its own, which no event tells of; the server reads messages of readers only.
    """
    operation_id = f"joined-{next(_markers)}"
    await socket.send({"type": "start_operation", "operation_id": operation_id})

    async def named() -> bool:
        return (await client.get(f"/api/operaciones/{operation_id}")).status_code == 200

    await eventually(named)


async def mark(client: httpx.AsyncClient) -> str:
    """Publish an event that tells where a silence ended; return the operation it belongs to."""
    operation_id = f"marker-{next(_markers)}"
    await published(client, operation_id, "marker", "in_progress")
    return operation_id
