"""Mode `token` at every door: who gets in, who does not, and what a refusal says (protocol §1, RFC 6750)."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.conftest import MakeServer, demo_settings
from tests.e2e.identity import (
    DOORS,
    READS,
    SOCKET,
    STREAMS,
    TOKEN_MODE,
    UPDATE,
    WRITES,
    Door,
    bearer,
    cookie,
    knock,
    opens,
    ticket,
)
from tests.e2e.support import DOCUMENTED, ELIMINAR, begin, publish, state
from tests.e2e.test_refusals import assert_refused
from tests.harness import LegacySocket, ServerProcess, SseReader, V2Socket
from tests.identity.signing import by_hand, claims, token

REALM = 'Bearer realm="wellnet-sse"'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """A demo server in mode `token` that the tests of this module share."""
    directory = tmp_path_factory.mktemp("server")
    settings = demo_settings(dict(TOKEN_MODE))
    async with ServerProcess(directory, arguments=["--demo"], settings=settings) as process:
        yield process
        assert await process.terminate() == 0, process.tail()
        assert "Traceback" not in process.log, process.log


def refused(answer: httpx.Response, status: int, code: str, challenge: str | None) -> None:
    """It is refused in its form, says what is wrong, and how to do better."""
    assert answer.status_code == status, answer.text
    assert answer.headers.get("www-authenticate") == challenge
    if answer.request.method == "HEAD":
        return
    assert_refused(answer, status)
    if answer.request.url.path not in DOCUMENTED:
        assert answer.json()["code"] == code


@pytest.mark.parametrize("door", DOORS, ids=str)
async def test_a_door_is_shut(server: ServerProcess, user: int, door: Door) -> None:
    """Every row of the table: no token, a bad one, another's, one of two, and one that is not for this."""
    # None, and a number is none
    for query in ({}, {"userId": user}):
        refused(await knock(server, door, query=query), 401, "unauthenticated", REALM)
    basic = {"Authorization": "Basic QTpC", "X-User-ID": str(user)}
    refused(await knock(server, door, basic), 401, "unauthenticated", REALM)
    # One that is not good
    for bad in (token(user, seconds=-60), token(user)[:-4] + "AAAA", "garbage"):
        answer = await knock(server, door, bearer(bad), {"userId": user})
        refused(answer, 401, "invalid_token", f'{REALM}, error="invalid_token"')
    # A good one, of somebody else
    good = bearer(token(user))
    refused(await knock(server, door, good, {"userId": user + 100_000}), 403, "forbidden", None)
    other = {**good, "X-User-ID": str(user + 100_000)}
    refused(await knock(server, door, other), 403, "forbidden", None)
    # Who is named must be one, and a user
    both = {**good, "X-User-ID": str(user)}
    refused(await knock(server, door, both, {"userId": user + 1}), 400, "bad_request", None)
    refused(await knock(server, door, good, {"userId": f"0{user}"}), 401, "unauthenticated", REALM)
    # Two that are good, of two
    answer = await knock(server, door, {**good, **cookie(token(user + 1))})
    refused(answer, 400, "bad_request", f'{REALM}, error="invalid_request"')
    # For something else
    scopes = " ".join({"watch", "operate", "publish"} - {door.scope})
    answer = await knock(server, door, bearer(token(user, scopes)))
    expected = f'{REALM}, error="insufficient_scope", scope="{door.scope}"'
    refused(answer, 403, "insufficient_scope", expected)
    # And nothing has come of it
    async with server.http(headers=good) as client:
        assert (await client.get("/api/operaciones")).json()["operations"] == []


@pytest.mark.parametrize("door", [*STREAMS, *READS, *WRITES], ids=str)
async def test_a_foreign_page_cannot_use_the_cookie(server: ServerProcess, user: int, door: Door) -> None:
    """A browser sends it with whatever any page makes it send; only its Origin tells them apart."""
    for origin in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        answer = await knock_once(server, door, {**cookie(token(user)), **origin})
        if door.writes:
            refused(answer, 403, "forbidden", None)
        else:
            assert answer.status_code in {200, 404}
            assert "access-control-allow-origin" not in answer.headers


async def test_our_own_page_can_use_the_cookie(server: ServerProcess, user: int) -> None:
    headers = {**cookie(token(user)), "Origin": server.url}
    async with server.http(headers=headers) as page:
        await begin(page, "op")
        assert (await publish(page, "op", "copy")).status_code == 201
        assert (await state(page, "op"))["steps"][0]["step"] == "copy"
    await opens(server, cookie(token(user)), origin=server.url)
    for origin in ({}, {"Origin": "https://evil.example"}):
        answer = await knock(server, SOCKET, {**cookie(token(user)), **origin})
        refused(answer, 403, "forbidden", None)


async def test_with_a_header_no_page_is_asked_for(server: ServerProcess, user: int) -> None:
    """It is a program, or a page that was let send it; also where the browser adds its cookie."""
    for headers in (bearer(token(user)), {**bearer(token(user)), **cookie(token(user))}):
        async with server.http(headers=headers) as client:
            assert (await client.post("/api/operaciones", json={})).status_code == 201
    await opens(server, bearer(token(user)))


async def test_a_cookie_of_yesterday_does_not_spoil_a_good_token(server: ServerProcess, user: int) -> None:
    stale = cookie(token(user, seconds=-60))
    async with server.http(headers={**bearer(token(user)), **stale}) as client:
        assert (await client.get("/api/operaciones")).status_code == 200
    refused(await knock(server, READS[2], stale), 401, "invalid_token", f'{REALM}, error="invalid_token"')


async def test_two_headers_that_differ(server: ServerProcess, user: int) -> None:
    async with server.http() as client:
        for other, status in ((user, 200), (user + 1, 400)):
            headers = [("Authorization", f"Bearer {token(it, jti=str(it))}") for it in (user, other)]
            assert (await client.get("/api/operaciones", headers=headers)).status_code == status


async def test_the_scheme_is_read_as_http_has_it(server: ServerProcess, user: int) -> None:
    async with server.http() as client:
        for scheme in ("bearer", "BEARER", "Bearer "):
            headers = {"Authorization": f"{scheme} {token(user)}"}
            assert (await client.get("/api/operaciones", headers=headers)).status_code == 200


async def test_a_token_cannot_be_said_in_the_query(server: ServerProcess, user: int) -> None:
    """It would stand in logs; a ticket works only once."""
    for name in ("token", "access_token", "ticket"):
        answer = await knock(server, READS[2], query={name: token(user), "userId": user})
        refused(answer, 401, "unauthenticated", REALM)


@pytest.mark.parametrize(
    "bad",
    [
        {"alg": "none"}, {"alg": "HS256", "aud": "other"}, {"alg": "HS256", "aud": None},
        {"alg": "HS256", "exp": None}, {"alg": "HS256", "sub": "07"}, {"alg": "HS256", "sub": None},
        {"alg": "HS512"},
    ],
)  # fmt: skip
async def test_forged_and_incomplete_tokens(
    server: ServerProcess, user: int, bad: dict[str, str | None]
) -> None:
    others = {name: value for name, value in bad.items() if name != "alg"}
    payload = {k: v for k, v in (claims(user) | others).items() if v is not None}
    secret = None if bad["alg"] == "none" else TOKEN_MODE["token_key"].encode()
    forged = by_hand({"alg": bad["alg"], "typ": "JWT"}, payload, secret)
    for door in (STREAMS[0], SOCKET, WRITES[1]):
        answer = await knock(server, door, bearer(forged))
        refused(answer, 401, "invalid_token", f'{REALM}, error="invalid_token"')


async def test_huge_tokens(server: ServerProcess, user: int) -> None:
    for size in (4000, 12_000):
        answer = await knock(server, STREAMS[0], bearer(token(user, padding="x" * size)))
        refused(answer, 401, "invalid_token", f'{REALM}, error="invalid_token"')


# With a good one


async def test_a_person_does_with_it_what_the_documented_client_does(
    server: ServerProcess, user: int
) -> None:
    """The number that it sends as well is its own."""
    mine = bearer(token(user))
    async with (
        server.http(headers={**mine, "X-User-ID": str(user)}) as client,
        LegacySocket(f"{server.ws_url}/ws/progress?userId={user}", headers=mine) as socket,
        SseReader(f"{server.url}/sse/operations/op", headers=mine) as stream,
    ):
        await socket.start("op")
        answer = await client.post(ELIMINAR, json={"id_conexion": 7}, headers={"X-Operation-ID": "op"})
        assert answer.status_code == 200
        await socket.until(lambda it: it["message"] == "Configuración eliminada del sistema")
        assert (await stream.until(lambda it: it.event == "end"))[-1].json["outcome"] == "completed"
        assert [it["operation_id"] for it in (await client.get("/api/operaciones")).json()["operations"]] == [
            "op"
        ]


async def test_who_may_only_look_changes_nothing_over_a_socket(server: ServerProcess, user: int) -> None:
    looking, acting = bearer(token(user, "watch")), bearer(token(user))
    url = f"{server.ws_url}/ws/progress"
    async with server.http(headers=acting) as client:
        await begin(client, "op")
        async with V2Socket(url, headers=looking) as socket, LegacySocket(url, headers=looking) as legacy:
            await socket.until_live()
            for kind in ("start_operation", "stop_operation", "cancel_operation"):
                await legacy.send({"type": kind, "operation_id": "op"})
                await socket.send({"type": kind, "operation_id": "op"})
                answer = await socket.next()
                assert (answer.event, answer.data["code"]) == ("error", "insufficient_scope")
            await publish(client, "op", "copy")
            assert (await legacy.next())["step"] == "copy", "it was heard out, and not answered"
        assert (await state(client, "op"))["outcome"] is None


async def test_who_may_only_act_is_told_how_it_goes(server: ServerProcess, user: int) -> None:
    """Of that operation alone: the answer of a POST needs no other scope."""
    async with server.http(headers=bearer(token(user, "operate"))) as client:
        assert (await begin(client, "op"))["operation_id"] == "op"
        assert (await client.post("/api/operaciones/op/detener", json={})).status_code == 202
        answer = await client.post(ELIMINAR, json={"id_conexion": 8}, headers={"Accept": "text/event-stream"})
        assert "event: end" in answer.text


async def test_a_service_publishes_for_whom_it_names(server: ServerProcess, user: int) -> None:
    async with server.http(headers=bearer(token("import-worker", "publish"))) as worker:
        for name in ({"params": {"userId": user}}, {"headers": {"X-User-ID": str(user)}}):
            answer = await worker.post("/api/operaciones/op/pasos/copy", json=UPDATE, **name)
            assert answer.status_code == 201
    async with server.http(headers=bearer(token(user))) as client:
        assert (await state(client, "op"))["steps"][0]["progress"] == 40


async def test_a_service_does_nothing_else(server: ServerProcess, user: int) -> None:
    service = bearer(token("import-worker"))
    publishing = next(door for door in WRITES if door.scope == "publish")
    refused(await knock(server, publishing, service), 401, "unauthenticated", REALM)
    for door in DOORS:
        if door is not publishing:
            answer = await knock(server, door, service, {"userId": user})
            refused(answer, 403, "forbidden", None)
    async with server.http(headers=service) as client:
        refused(await client.post("/api/sesion", json={}), 403, "forbidden", None)


async def test_what_is_of_nobody_needs_no_token(server: ServerProcess) -> None:
    async with server.http() as client:
        for path in (
            "/",
            "/static/progress-client.js",
            "/healthz",
            "/readyz",
            "/metrics",
            "/api/metricas",
            "/openapi.json",
        ):
            assert (await client.get(path)).status_code == 200


# In mode `documented`


async def test_without_tokens_the_number_is_what_it_was(make_server: MakeServer, user: int) -> None:
    """A header or cookie of somebody else's making is none of our business there."""
    documented = await make_server()
    foreign = {**bearer("garbage"), **cookie("garbage"), "X-User-ID": str(user)}
    async with documented.http(headers=foreign) as client:
        assert (await client.post("/api/operaciones", json={})).status_code == 201
        assert (await client.get("/api/operaciones?ticket=x")).status_code == 200
        for path in ("/api/tickets", "/api/sesion", "/api/sesion/cerrar"):
            assert_refused(await client.post(path, json={}), 404)
    async with documented.http() as client:
        answer = await client.get("/api/operaciones")
        assert answer.status_code == 401
        assert "www-authenticate" not in answer.headers


async def knock_once(server: ServerProcess, door: Door, headers: dict[str, str]) -> httpx.Response:
    """As `knock`, but of a stream that opens only the head is read."""
    async with server.http() as client:
        request = client.build_request(
            door.method, door.path, headers={**door.headers, **headers}, json=door.body
        )
        answer = await client.send(request, stream=True)
        if answer.headers["content-type"].startswith("text/event-stream"):
            await answer.aclose()
        else:
            await answer.aread()
        return answer


async def test_a_ticket_is_for_streams_and_sockets(server: ServerProcess, user: int) -> None:
    for door in (READS[2], WRITES[0], WRITES[1]):
        answer = await knock(server, door, query={"ticket": await ticket(server, token(user))})
        refused(answer, 401, "unauthenticated", REALM)
