"""A server in mode `token`, and everything that may be asked of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.e2e.support import DOCUMENTED, body_of
from tests.harness import LegacySocket, ServerProcess, V2Socket
from tests.identity.signing import SECRET

OPERATOR = 9
TOKEN_MODE: dict[str, Any] = {"auth": "token", "token_key": SECRET, "operators": str(OPERATOR)}
COOKIE = "__Host-wellnet-token"
UPDATE = {"status": "in_progress", "message": "Copiando...", "progress": 40}


@dataclass(frozen=True, slots=True)
class Door:
    """One way in: what is asked, and the scope that it needs."""

    method: str
    path: str
    scope: str
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.method == "POST"


STREAMS = [Door("GET", "/sse/progress", "watch"), Door("GET", "/sse/operations/op", "watch")]
READS = [
    *[Door("HEAD", stream.path, "watch") for stream in STREAMS],
    Door("GET", "/api/operaciones", "watch"),
    Door("GET", "/api/operaciones/op", "watch"),
    Door("GET", "/api/routers/pendientes", "watch"),
    Door("GET", "/api/conexiones", "operate"),
]
SOCKET = Door("WS", "/ws/progress", "watch")
WRITES = [
    Door("POST", "/api/tickets", "watch", {}),
    Door("POST", "/api/operaciones", "operate", {"operation_id": "op"}),
    Door("POST", "/api/operaciones/op/detener", "operate", {}),
    Door("POST", "/api/operaciones/op/cancelar", "operate", {}),
    Door("POST", "/api/operaciones/op/pasos/copy", "publish", UPDATE),
    *[Door("POST", path, "operate", body_of(path, 1)) for path in DOCUMENTED],
    *[Door("POST", path, "operate", body_of(path, 1), {"X-Operation-ID": "op"}) for path in DOCUMENTED],
    Door("POST", DOCUMENTED[3], "operate", body_of(DOCUMENTED[3], 1), {"Accept": "text/event-stream"}),
]
DOORS = [*STREAMS, *READS, SOCKET, *WRITES]


def bearer(token: str) -> dict[str, str]:
    """The header of RFC 6750."""
    return {"Authorization": f"Bearer {token}"}


def cookie(token: str) -> dict[str, str]:
    """What a browser sends by itself."""
    return {"Cookie": f"{COOKIE}={token}"}


async def knock(
    server: ServerProcess,
    door: Door,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str | int] | None = None,
) -> httpx.Response:
    """Ask, and be refused; a refused handshake counts as an answer like any other."""
    given = {**door.headers, **(headers or {})}
    if door is SOCKET:
        params = httpx.QueryParams({name: str(value) for name, value in (query or {}).items()})
        refusal = await refused_handshake(f"{server.ws_url}{door.path}?{params}", given)
        return httpx.Response(
            refusal.response.status_code,
            headers=list(refusal.response.headers.raw_items()),
            content=bytes(refusal.response.body or b""),
            request=httpx.Request("GET", f"{server.url}{door.path}"),
        )
    async with server.http() as client:
        return await client.request(
            door.method, door.path, headers=given, params=dict(query or {}), json=door.body
        )


async def refused_handshake(url: str, headers: Mapping[str, str]) -> InvalidStatus:
    """The HTTP answer that a handshake gets instead of an upgrade."""
    origin = headers.get("Origin")
    rest = {name: value for name, value in headers.items() if name != "Origin"}
    with pytest.raises(InvalidStatus) as caught:
        async with LegacySocket(url, headers=rest, origin=origin):
            pass
    return caught.value


async def ticket(server: ServerProcess, token: str) -> str:
    """A ticket for whoever has the token."""
    async with server.http(headers=bearer(token)) as client:
        answer = await client.post("/api/tickets", json={})
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["ticket"]
    return made


async def opens(
    server: ServerProcess, headers: Mapping[str, str], *, origin: str | None = None, query: str = ""
) -> None:
    """A v2 socket comes to be live with these."""
    async with V2Socket(f"{server.ws_url}/ws/progress{query}", headers=headers, origin=origin) as socket:
        await socket.until_live()
