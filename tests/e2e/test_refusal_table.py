"""Every row of the table of refusals in docs/protocol.md, in both modes of identity."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.conftest import demo_settings
from tests.e2e.identity import TOKEN_MODE, bearer
from tests.e2e.support import ELIMINAR, QUITAR_ASIGNACION, QUITAR_CONEXION, begin, body_of, do, publish
from tests.e2e.test_refusals import assert_refused
from tests.harness import RouterControl, ServerProcess, SseReader, V2Socket, eventually, free_port
from tests.identity.signing import token

TABLE = Path(__file__).parents[2] / "docs/protocol.md"
ELSEWHERE = {("408", "request_timeout"), ("409", "conflict"), ("409", "run_lost"), ("500", "internal_error")}
"""Not reached by a request alone: a body that takes a minute, a race, a fault."""
CAP = 2
ENOUGH = 40
"""More than any other row takes."""


@dataclass(frozen=True, slots=True)
class Place:
    """A server, and how a user of its mode says who they are."""

    server: ServerProcess
    router: RouterControl
    has_tokens: bool

    def headers(self, user: int) -> dict[str, str]:
        """What names `user`, truly."""
        return bearer(token(user)) if self.has_tokens else {"X-User-ID": str(user)}


@pytest_asyncio.fixture(params=["documented", "token"], scope="module", loop_scope="module")
async def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    """A demo server of either mode; at its end it is asked for work while it stops."""
    port, has_tokens = free_port(), request.param == "token"
    settings = demo_settings(
        {
            "demo_router_bind": f"127.0.0.1:{port}",
            "router_timeout_seconds": 1,
            "router_attempts": 1,
            "streams_per_user": CAP,
            "actions_per_second": 0.1,
            "actions_burst": ENOUGH,
            **(TOKEN_MODE if has_tokens else {}),
        }
    )
    directory = tmp_path_factory.mktemp("server")
    async with ServerProcess(directory, arguments=["--demo"], settings=settings) as process:
        yield Place(process, RouterControl(port), has_tokens)


@pytest_asyncio.fixture
async def me(place: Place, user: int) -> AsyncIterator[httpx.AsyncClient]:
    """A client that says who it is as its server wants it."""
    async with place.server.http(headers=place.headers(user)) as client:
        yield client


Row = Callable[[Place, httpx.AsyncClient, int], Awaitable[httpx.Response]]
ROWS: dict[tuple[int, str], Row] = {}


def row(status: int, code: str) -> Callable[[Row], Row]:
    """Asks for what is refused with these, and returns the refusal."""

    def keep(ask: Row) -> Row:
        ROWS[status, code] = ask
        return ask

    return keep


@row(400, "bad_request")
async def _(_place: Place, me: httpx.AsyncClient, _user: int) -> httpx.Response:
    return await me.get("/api/operaciones?limit=0")


@row(401, "unauthenticated")
async def _(place: Place, _me: httpx.AsyncClient, _user: int) -> httpx.Response:
    async with place.server.http() as nobody:
        return await nobody.get("/api/operaciones")


@row(401, "invalid_token")
async def _(place: Place, _me: httpx.AsyncClient, user: int) -> httpx.Response:
    async with place.server.http(headers={**bearer("garbage"), "X-User-ID": str(user)}) as client:
        return await client.get("/api/operaciones")


@row(403, "forbidden")
async def _(place: Place, me: httpx.AsyncClient, user: int) -> httpx.Response:
    foreign = {**place.headers(user), "Origin": "https://evil.example"}
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    return await me.get(
        "/ws/progress", headers={**foreign, **upgrade, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    )


@row(403, "insufficient_scope")
async def _(place: Place, _me: httpx.AsyncClient, user: int) -> httpx.Response:
    headers = {**bearer(token(user, "operate")), "X-User-ID": str(user)}
    async with place.server.http(headers=headers) as client:
        return await client.get("/api/operaciones")


@row(404, "not_found")
async def _(place: Place, me: httpx.AsyncClient, user: int) -> httpx.Response:
    async with place.server.http(headers=place.headers(user + 1)) as another:
        await begin(another, "op")
    return await me.get("/api/operaciones/op")


@row(405, "method_not_allowed")
async def _(_place: Place, me: httpx.AsyncClient, _user: int) -> httpx.Response:
    return await me.put("/api/operaciones")


@row(409, "operation_ended")
async def _(_place: Place, me: httpx.AsyncClient, _user: int) -> httpx.Response:
    await begin(me, "op")
    await me.post("/api/operaciones/op/detener", json={})
    return await me.post("/api/operaciones/op/cancelar", json={})


@row(409, "operation_cancelled")
async def _(_place: Place, me: httpx.AsyncClient, _user: int) -> httpx.Response:
    await begin(me, "op")
    await me.post("/api/operaciones/op/cancelar", json={})
    assert_refused(await do(me, ELIMINAR, 1, "op"), 409)
    return await publish(me, "op", "copy")


@row(409, "step_completed")
async def _(_place: Place, me: httpx.AsyncClient, _user: int) -> httpx.Response:
    await publish(me, "op", "copy", "completed")
    return await publish(me, "op", "copy", "in_progress")


@row(413, "payload_too_large")
async def _(_place: Place, me: httpx.AsyncClient, _user: int) -> httpx.Response:
    return await me.post("/api/operaciones", json={"operation_id": "x" * 65536})


@row(415, "unsupported_media_type")
async def _(_place: Place, me: httpx.AsyncClient, _user: int) -> httpx.Response:
    return await me.post("/api/operaciones", content=b"{}")


@row(422, "unprocessable")
async def _(_place: Place, me: httpx.AsyncClient, _user: int) -> httpx.Response:
    return await me.post("/api/operaciones", json={"operation_id": "a b"})


@row(422, "too_many_steps")
async def _(_place: Place, me: httpx.AsyncClient, _user: int) -> httpx.Response:
    await begin(me, "op", *[f"s{n}" for n in range(100)])
    return await publish(me, "op", "one-more")


@row(422, "body_mismatch")
async def _(_place: Place, me: httpx.AsyncClient, _user: int) -> httpx.Response:
    assert (await do(me, QUITAR_ASIGNACION, 1, "op")).status_code == 200
    return await do(me, QUITAR_ASIGNACION, 2, "op")


@row(426, "upgrade_required")
async def _(_place: Place, me: httpx.AsyncClient, _user: int) -> httpx.Response:
    return await me.get("/ws/progress")


@row(429, "too_many_streams")
async def _(place: Place, me: httpx.AsyncClient, user: int) -> httpx.Response:
    mine, server = place.headers(user), place.server
    async with (
        SseReader(f"{server.url}/sse/progress", headers=mine) as stream,
        V2Socket(f"{server.ws_url}/ws/progress", headers=mine) as socket,
    ):
        await asyncio.gather(stream.until_live(), socket.until_live())
        answer = await me.get("/sse/progress")
    assert answer.headers["retry-after"]
    return answer


@row(429, "too_many_actions")
async def _(place: Place, me: httpx.AsyncClient, _user: int) -> httpx.Response:
    path = "/api/tickets" if place.has_tokens else "/api/operaciones"
    asked = await asyncio.gather(*(me.post(path, json={}) for _ in range(ENOUGH)))
    assert {it.status_code for it in asked} == {201}
    answer = await me.post(path, json={})
    assert answer.headers["retry-after"]
    return answer


@row(502, "router_refused")
async def _(place: Place, me: httpx.AsyncClient, _user: int) -> httpx.Response:
    await place.router.behave("refusing")
    return await me.post(QUITAR_CONEXION, json=body_of(QUITAR_CONEXION, 3))


@row(504, "router_unreachable")
async def _(place: Place, me: httpx.AsyncClient, _user: int) -> httpx.Response:
    await place.router.behave("unreachable")
    return await me.post(QUITAR_CONEXION, json=body_of(QUITAR_CONEXION, 4))


@pytest.mark.parametrize(("status", "code"), ROWS, ids=str)
async def test_a_row_of_the_table(
    place: Place, me: httpx.AsyncClient, user: int, status: int, code: str
) -> None:
    answer = await ROWS[status, code](place, me, user)
    if code in {"invalid_token", "insufficient_scope"} and not place.has_tokens:
        assert answer.status_code == 200, "there the number alone counts"
        return
    assert_refused(answer, status)
    assert answer.json().get("code", code) == code
    challenge = "WWW-Authenticate" in answer.headers
    assert challenge == (place.has_tokens and (status == 401 or code == "insufficient_scope"))


async def test_work_is_refused_while_the_server_stops(place: Place, user: int) -> None:
    """The last row; a stream that is open stays so, and ends with `drain`."""
    await place.router.behave("slow", delay_seconds=0.1)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(place.server.http(headers=place.headers(user)))
        url = f"{place.server.url}/sse/progress"
        stream = await stack.enter_async_context(SseReader(url, headers=place.headers(user)))
        await stream.until_live()
        work = asyncio.create_task(do(client, QUITAR_CONEXION, 5, "op"))
        stack.callback(work.cancel)
        await stream.until(lambda it: it.json["progress"] == 20)
        stopping = asyncio.create_task(place.server.terminate())

        async def draining() -> bool:
            return (await client.get("/readyz")).status_code == 503

        await eventually(draining)
        for path, body in (("/api/operaciones", {}), (ELIMINAR, {"id_conexion": 6})):
            answer = await client.post(path, json=body)
            assert_refused(answer, 503)
            assert answer.headers["retry-after"]
        assert (await work).status_code == 200, "what runs may end"
        assert (await stream.rest())[-1].json == {"reason": "drain"}
        assert await stopping == 0


def test_no_row_is_missing() -> None:
    table = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", TABLE.read_text(), re.MULTILINE)
    tried = {(str(status), code) for status, code in ROWS} | {("503", "unavailable")}
    assert tried | ELSEWHERE == set(table)
