"""Every refusal: its exact status, form and headers; and what a refusal leaves undone."""

import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.conftest import MakeServer
from tests.e2e.support import (
    DOCUMENTED,
    ELIMINAR,
    QUITAR_ASIGNACION,
    address,
    body_of,
    do,
    publish,
    published,
    state,
)
from tests.harness import (
    LegacySocket,
    NodeSocket,
    RouterControl,
    ServerProcess,
    SseReader,
    V2Socket,
    eventually,
)

PROBLEM = "application/problem+json"
BAD_USERS = [
    "",
    "0",
    "-1",
    "+7",
    "07",
    "7.0",
    "1e3",
    "siete",
    "\u0667",
    "7,7",
    "9223372036854775808",
    "1" * 20,
]
BAD_OPERATION_IDS = ["con espacio", "año", "a/b", "a?b", "a%b", "x" * 129, "<b>", "a\tb"]
READS = ["/sse/progress", "/sse/operations/op", "/api/operaciones", "/api/operaciones/op"]
WRITES = [
    "/api/operaciones",
    "/api/operaciones/op/detener",
    "/api/operaciones/op/cancelar",
    "/api/operaciones/op/pasos/copy",
]
LONG = "x" * 2001
FOREIGN = "https://evil.example"
WELLNET = "https://wellnet-rd.com:444"


def assert_refused(response: httpx.Response, status: int) -> None:
    """It is refused with `status`, in the form of its path, for a person, and without anything internal."""
    assert response.status_code == status, response.text
    body = response.json()
    if response.request.url.path in DOCUMENTED:
        assert response.headers["content-type"] == "application/json"
        assert list(body) == ["success", "message"]
        assert body["success"] is False
        sentence = body["message"]
    else:
        assert_problem(response.headers, body, status)
        sentence = body["detail"]
    assert isinstance(sentence, str)
    assert sentence
    for leak in ("Traceback", "Error(", "pydantic", "sqlalchemy", "/work", ".py"):
        assert leak not in response.text


def assert_problem(headers: Mapping[str, str], body: dict[str, Any], status: int) -> None:
    """It is Problem Details (RFC 9457)."""
    assert headers["content-type"] == PROBLEM
    assert body["status"] == status
    assert {"type", "title", "detail", "code"} <= set(body)


async def refused_socket(url: str, **options: Any) -> InvalidStatus:
    """The HTTP answer that a handshake gets instead of an upgrade."""
    with pytest.raises(InvalidStatus) as caught:
        async with LegacySocket(url, **options):
            pass
    return caught.value


# Who is asking


@pytest.mark.parametrize("path", READS)
async def test_reading_needs_a_user(http: httpx.AsyncClient, path: str) -> None:
    assert_refused(await http.get(path), 401)
    assert (await http.head(path)).status_code == 401
    assert_refused(await http.get(path, params={"userId": "07"}), 401)
    assert_refused(await http.get(path, headers={"X-User-ID": "siete"}), 401)


@pytest.mark.parametrize("path", WRITES)
async def test_writing_needs_a_user(http: httpx.AsyncClient, path: str) -> None:
    body = {"status": "pending", "message": ""}
    assert_refused(await http.post(path, json=body), 401)
    assert_refused(await http.post(path, json=body, headers={"X-User-ID": "0"}), 401)


@pytest.mark.parametrize("path", DOCUMENTED)
async def test_the_work_needs_a_user_where_somebody_is_to_be_told(http: httpx.AsyncClient, path: str) -> None:
    body = body_of(path, 1)
    for headers in ({"X-Operation-ID": "op"}, {"Prefer": "respond-async"}, {"Accept": "text/event-stream"}):
        assert_refused(await http.post(path, json=body, headers=headers), 401)
    assert_refused(await http.post(path, json=body, headers={"X-User-ID": "-1"}), 401)


@pytest.mark.parametrize("bad", BAD_USERS)
async def test_a_user_is_a_positive_decimal_integer(
    server: ServerProcess, http: httpx.AsyncClient, bad: str
) -> None:
    assert_refused(await http.get("/sse/progress", params={"userId": bad}), 401)
    assert_refused(await http.get("/api/operaciones", headers=[(b"X-User-ID", bad.encode())]), 401)
    query = httpx.QueryParams({"userId": bad})
    refusal = await refused_socket(f"{server.ws_url}/ws/progress?{query}")
    assert refusal.response.status_code == 401
    assert_problem(refusal.response.headers, json.loads(refusal.response.body or b""), 401)


async def test_the_largest_user_is_one(server: ServerProcess, http: httpx.AsyncClient) -> None:
    largest = 2**63 - 1
    assert (await http.get("/api/operaciones", params={"userId": largest})).status_code == 200
    async with V2Socket(f"{server.ws_url}/ws/progress?userId={largest}") as socket:
        await socket.until_live()


async def test_query_and_header_must_name_the_same_user(
    server: ServerProcess, http: httpx.AsyncClient
) -> None:
    for path in READS:
        assert_refused(await http.get(path, params={"userId": 7}, headers={"X-User-ID": "8"}), 400)
    assert_refused(await http.get("/api/operaciones?userId=7&userId=8"), 400)
    for path in DOCUMENTED:
        headers = {"X-User-ID": "8", "X-Operation-ID": "op"}
        answer = await http.post(path, json=body_of(path, 1), params={"userId": 7}, headers=headers)
        assert_refused(answer, 400)
    refusal = await refused_socket(f"{server.ws_url}/ws/progress?userId=7", headers={"X-User-ID": "8"})
    assert refusal.response.status_code == 400
    same = await http.get("/api/operaciones", params={"userId": 7}, headers={"X-User-ID": "7"})
    assert same.status_code == 200


async def test_a_socket_may_name_its_user_in_the_header(server: ServerProcess, user: int) -> None:
    refusal = await refused_socket(f"{server.ws_url}/ws/progress")
    assert refusal.response.status_code == 401
    async with V2Socket(f"{server.ws_url}/ws/progress", headers={"X-User-ID": str(user)}) as socket:
        await socket.until_live()


async def test_the_documented_library_is_refused_with_a_status_as_well(server: ServerProcess) -> None:
    async with NodeSocket(f"{server.ws_url}/ws/progress?userId=abc") as socket:
        refusal = await socket.refused()
    assert refusal["status"] == 401
    assert_problem(refusal["headers"], json.loads(refusal["body"]), 401)


# Names and bodies


@pytest.mark.parametrize("bad", BAD_OPERATION_IDS)
async def test_an_operation_id_that_is_none(mine: httpx.AsyncClient, bad: str) -> None:
    quoted = httpx.URL("http://x", params={"x": bad}).query.decode().removeprefix("x=").replace("+", "%20")
    assert_refused(await mine.get(f"/sse/operations/{quoted}"), 400)
    if "/" not in bad:  # elsewhere a slash is another path
        assert_refused(await mine.get(f"/api/operaciones/{quoted}"), 400)
        assert_refused(await mine.post(f"/api/operaciones/{quoted}/detener", json={}), 400)
        assert_refused(await mine.post(f"/api/operaciones/{quoted}/cancelar", json={}), 400)
        body = {"status": "pending", "message": ""}
        assert_refused(await mine.post(f"/api/operaciones/{quoted}/pasos/copy", json=body), 400)
    for path in DOCUMENTED:
        headers = [(b"X-Operation-ID", bad.encode())]
        assert_refused(await mine.post(path, json=body_of(path, 1), headers=headers), 400)
    assert_refused(await mine.post("/api/operaciones", json={"operation_id": bad}), 422)


async def test_an_empty_operation_id_is_none(mine: httpx.AsyncClient) -> None:
    for path in DOCUMENTED:
        answer = await mine.post(path, json=body_of(path, 1), headers={"X-Operation-ID": ""})
        assert_refused(answer, 400)
    assert_refused(await mine.post("/api/operaciones", json={"operation_id": ""}), 422)


async def test_two_operation_ids_name_none(mine: httpx.AsyncClient) -> None:
    headers = [("X-Operation-ID", "a"), ("X-Operation-ID", "b")]
    assert_refused(await mine.post(ELIMINAR, json={"id_conexion": 1}, headers=headers), 400)


@pytest.mark.parametrize(
    ("step", "body", "status"),
    [
        ("x" * 65, {"status": "pending", "message": ""}, 400),
        ("un paso", {"status": "pending", "message": ""}, 400),
        ("ok", {"status": "done", "message": ""}, 422),
        ("ok", {"status": "pending"}, 422),
        ("ok", {"message": ""}, 422),
        ("ok", {"status": "pending", "message": LONG}, 422),
        ("ok", {"status": "pending", "message": 7}, 422),
        ("ok", {"status": "pending", "message": "\ud800"}, 422),
        ("ok", {"status": "pending", "message": "", "progress": 101}, 422),
        ("ok", {"status": "pending", "message": "", "progress": -1}, 422),
        ("ok", {"status": "pending", "message": "", "progress": 1.5}, 422),
        ("ok", {"status": "pending", "message": "", "progress": True}, 422),
        ("ok", {"status": "pending", "message": "", "progress": "50"}, 422),
        ("ok", [], 422),
        ("ok", None, 422),
    ],
)
async def test_a_bad_step_is_not_published(
    mine: httpx.AsyncClient, step: str, body: object, status: int
) -> None:
    content = json.dumps(body)
    headers = {"Content-Type": "application/json"}
    answer = await mine.post(f"/api/operaciones/op/pasos/{step}", content=content, headers=headers)
    assert_refused(answer, status)
    assert (await mine.get("/api/operaciones/op")).status_code == 404


async def test_what_is_just_allowed_is_allowed(mine: httpx.AsyncClient) -> None:
    longest = "x" * 128
    answer = await publish(mine, longest, "y" * 64, "in_progress", message="😀" * 2000, progress=100)
    assert answer.status_code == 201
    found = await state(mine, longest)
    assert found["steps"][0]["message"] == "😀" * 2000
    answer = await mine.post("/api/operaciones", json={"operation_id": "._:-Az09", "steps": []})
    assert answer.status_code == 201


async def test_an_operation_has_at_most_a_hundred_steps(mine: httpx.AsyncClient) -> None:
    names = [f"s{n}" for n in range(100)]
    assert_refused(await mine.post("/api/operaciones", json={"steps": [*names, "s100"]}), 422)
    answer = await mine.post("/api/operaciones", json={"operation_id": "op", "steps": names})
    assert answer.status_code == 201
    assert_refused(await publish(mine, "op", "s100"), 422)
    assert_refused(await mine.post("/api/operaciones", json={"operation_id": "op", "steps": ["s100"]}), 422)
    assert len((await state(mine, "op"))["steps"]) == 100


@pytest.mark.parametrize("path", [*DOCUMENTED, *WRITES])
async def test_bodies(mine: httpx.AsyncClient, path: str) -> None:
    """415 undeclared, 400 where it cannot be parsed, 422 where it is no such object, 413 where it is huge."""
    given: dict[str, str] = {"X-Operation-ID": "bodies"} if path in DOCUMENTED else {}
    declared = {**given, "Content-Type": "application/json"}
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""):
        for content in (b"{}", b""):
            answer = await mine.post(path, content=content, headers={**given, "Content-Type": kind})
            assert_refused(answer, 415)
    assert_refused(await mine.post(path, headers=given), 415)
    for content in (b"{", b"\xff\xfe\xff", b'{"id_conexion": NaN}', b"[" * 50_000, b"{}{}"):
        assert_refused(await mine.post(path, content=content, headers=declared), 400)
    for content in (b"[]", b'"x"', b"7", b"null"):
        assert_refused(await mine.post(path, content=content, headers=declared), 422)
    huge = b'{"x": "' + b"x" * 65536 + b'"}'
    assert_refused(await mine.post(path, content=huge, headers=declared), 413)
    assert (await mine.get("/api/operaciones")).json()["operations"] == [], "nothing was begun"


async def test_an_empty_body_counts_as_an_empty_object(mine: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = await mine.post("/api/operaciones", headers=headers)
    assert answer.status_code == 201
    stop = f"{answer.headers['location']}/detener"
    assert (await mine.post(stop, headers=headers)).status_code == 202
    for path in DOCUMENTED:
        assert_refused(await mine.post(path, headers=headers), 422)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (QUITAR_ASIGNACION, {"id_conexion": "1"}),
        (QUITAR_ASIGNACION, {"id_conexion": 0}),
        (QUITAR_ASIGNACION, {"id_conexion": 1.0}),
        (QUITAR_ASIGNACION, {"id_conexion": True}),
        (QUITAR_ASIGNACION, {"id_conexion": None}),
        (QUITAR_ASIGNACION, {"id_conexion": 2**63}),
        (ELIMINAR, {"id_conexion": [1]}),
        ("/api/routers/quitar-conexion", {"direccion_ip": "10.0.0.256"}),
        ("/api/routers/quitar-conexion", {"direccion_ip": "10.0.0.0/24"}),
        ("/api/routers/quitar-conexion", {"direccion_ip": "router.example"}),
        ("/api/routers/quitar-conexion", {"direccion_ip": "\ud800"}),
        ("/api/routers/quitar-conexion", {"direccion_ip": "1" * 5000}),
        ("/api/routers/quitar-conexion", {"direccion_ip": 167772161}),
        ("/api/configuracion/eliminar", {"id_conexion": 1}),
        ("/api/configuracion/eliminar", {"id_conexion": 1, "id_usuario": "1"}),
    ],
)
async def test_an_invalid_request_publishes_nothing(
    mine: httpx.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    headers = {"Content-Type": "application/json", "X-Operation-ID": "op"}
    assert_refused(await mine.post(path, content=json.dumps(body), headers=headers), 422)
    assert_refused(await mine.get("/api/operaciones/op"), 404)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "limit=٣", "limit=-1", "before=x", "before=1~a b"]
)
async def test_a_list_that_cannot_be(mine: httpx.AsyncClient, query: str) -> None:
    assert_refused(await mine.get(f"/api/operaciones?{query}"), 400)


# Paths and methods


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        *[("POST", path, "GET") for path in ("/sse/progress", "/sse/operations/op")],
        *[("OPTIONS", path, "GET") for path in ("/sse/progress", "/sse/operations/op")],
        *[("GET", path, "POST") for path in DOCUMENTED],
        *[("PUT", path, "POST") for path in DOCUMENTED],
        ("DELETE", "/api/operaciones/op", "GET"),
        ("PUT", "/api/operaciones", "POST"),
        ("GET", "/api/operaciones/op/detener", "POST"),
        ("GET", "/api/operaciones/op/pasos/copy", "POST"),
        ("POST", "/healthz", "GET"),
    ],
)
async def test_other_methods(mine: httpx.AsyncClient, method: str, path: str, allowed: str) -> None:
    answer = await mine.request(method, path)
    assert_refused(answer, 405)
    assert allowed in answer.headers["allow"].replace(",", " ").split()


async def test_unknown_paths(mine: httpx.AsyncClient, server: ServerProcess, user: int) -> None:
    assert_refused(await mine.get("/api/nada"), 404)
    assert_refused(await mine.post("/api/nada", json={}), 404)
    assert_refused(await mine.get("/sse"), 404)
    refusal = await refused_socket(f"{server.ws_url}/ws/nada?userId={user}")
    assert refusal.response.status_code in {403, 404}


async def test_the_socket_is_not_read_over_plain_http(mine: httpx.AsyncClient) -> None:
    answer = await mine.get("/ws/progress")
    assert_refused(answer, 426)
    assert answer.headers["upgrade"] == "websocket", "RFC 9110 §15.5.22"


async def test_head_answers_and_takes_nothing(mine: httpx.AsyncClient) -> None:
    for path in ("/sse/progress", "/sse/operations/op"):
        answer = await mine.head(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache, no-transform"
        assert answer.content == b""


# Origins


@pytest.fixture
async def listed(make_server: MakeServer) -> ServerProcess:
    """A server that two pages may use."""
    return await make_server(origins=f"{WELLNET}, http://localhost:5173")


def preflight(origin: str, headers: str = "content-type") -> dict[str, str]:
    """What a browser asks before it lets a page do more than a form could."""
    return {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": headers,
    }


async def test_a_documented_fetch_from_a_listed_origin_works(listed: ServerProcess) -> None:
    wanted = "authorization,content-type,idempotency-key,last-event-id,prefer,x-operation-id,x-user-id"
    exposed = {"location", "link", "retry-after", "etag", "idempotent-replay"}
    async with listed.http() as page:
        for path in (*DOCUMENTED, *WRITES, *READS):
            answer = await page.options(path, headers=preflight(WELLNET, wanted))
            assert answer.status_code in {200, 204}
            assert answer.headers["access-control-allow-origin"] == WELLNET
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert "POST" in answer.headers["access-control-allow-methods"]
            allowed = answer.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
            assert set(wanted.split(",")) <= set(allowed)
        for origin in (WELLNET, "http://localhost:5173"):
            answer = await do(page, QUITAR_ASIGNACION, 1, "op", Origin=origin, **{"X-User-ID": "7"})
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == origin
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert "Origin" in answer.headers["vary"]
            assert exposed <= set(
                answer.headers["access-control-expose-headers"].lower().replace(" ", "").split(",")
            )
        # A refusal is to be read by the page, too.
        answer = await page.get("/sse/progress", headers={"Origin": WELLNET})
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == WELLNET
    async with SseReader(f"{listed.url}/sse/progress?userId=7", headers={"Origin": WELLNET}) as stream:
        head = await stream.opened()
        assert head.headers["access-control-allow-origin"] == WELLNET
        assert head.headers["access-control-allow-credentials"] == "true"
    url = f"{listed.ws_url}/ws/progress?userId=7"
    async with V2Socket(url, origin=WELLNET) as socket:
        await socket.until_live()
    for origin in (FOREIGN, listed.url, "https://wellnet-rd.com", "null"):
        assert (await refused_socket(url, origin=origin)).response.status_code == 403


async def test_a_foreign_page_is_told_nothing(http: httpx.AsyncClient, server: ServerProcess) -> None:
    for origin in (FOREIGN, "null", "http://127.0.0.1:1", f"{server.url}.evil.example", "http://["):
        answer = await http.options(QUITAR_ASIGNACION, headers=preflight(origin))
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        answer = await http.get("/api/operaciones", headers={"Origin": origin, "X-User-ID": "7"})
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        refusal = await refused_socket(f"{server.ws_url}/ws/progress?userId=7", origin=origin)
        assert refusal.response.status_code == 403
        assert_problem(refusal.response.headers, json.loads(refusal.response.body or b""), 403)


async def test_a_foreign_page_cannot_make_a_browser_post_without_asking(
    mine: httpx.AsyncClient, router: RouterControl
) -> None:
    """What a form or a simple fetch can send is 415, and does nothing."""
    calls = await router.calls()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        for path in DOCUMENTED:
            headers = {"Origin": FOREIGN, "Content-Type": kind}
            assert_refused(await mine.post(path, json=body_of(path, 2), headers=headers), 415)
    assert await router.calls() == calls
    assert await router.entries(address(2)) == 5


async def test_our_own_pages_may_call(http: httpx.AsyncClient, server: ServerProcess) -> None:
    """By default these are the origins whose host and port are the request's own, by a loopback name."""
    for host in (f"127.0.0.1:{server.port}", f"localhost:{server.port}", f"[::1]:{server.port}"):
        origin = f"http://{host}"
        headers = {"Host": host, **preflight(origin)}
        answer = await http.options(QUITAR_ASIGNACION, headers=headers)
        assert answer.headers["access-control-allow-origin"] == origin
        async with NodeSocket(
            f"{server.ws_url}/ws/progress?userId=7", origin=origin, headers={"Host": host}
        ) as socket:
            await socket.opened()
    async with LegacySocket(f"{server.ws_url}/ws/progress?userId=7"):
        pass  # no Origin at all is no browser


async def test_a_foreign_name_that_points_to_this_machine_is_not_our_own(
    http: httpx.AsyncClient, server: ServerProcess
) -> None:
    """DNS rebinding: evil.example resolves to 127.0.0.1, so that Origin and Host agree."""
    host = f"evil.example:{server.port}"
    origin = f"http://{host}"
    answer = await http.options(QUITAR_ASIGNACION, headers={"Host": host, **preflight(origin)})
    assert "access-control-allow-origin" not in answer.headers
    answer = await http.get("/api/operaciones?userId=7", headers={"Host": host, "Origin": origin})
    assert "access-control-allow-origin" not in answer.headers
    async with NodeSocket(
        f"{server.ws_url}/ws/progress?userId=7", origin=origin, headers={"Host": host}
    ) as socket:
        assert (await socket.refused())["status"] == 403


# The cap


async def test_the_cap_of_open_streams_refuses_the_newcomer(make_server: MakeServer) -> None:
    server = await make_server(streams_per_user=2)
    url, socket_url = f"{server.url}/sse/progress?userId=7", f"{server.ws_url}/ws/progress?userId=7"
    async with AsyncExitStack() as stack, server.http(user=7) as client:
        await do(client, QUITAR_ASIGNACION, 1, "ended")
        await client.post("/api/operaciones/ended/detener", json={})
        over = (await state(client, "ended"))["cursor"]
        stream = await stack.enter_async_context(SseReader(url))
        await stream.until_live()
        async with V2Socket(socket_url) as socket:
            await socket.until_live()
            for _ in range(2):
                for path in ("/sse/progress", "/sse/operations/op"):
                    refused = await client.get(path)
                    assert_refused(refused, 429)
                    assert int(refused.headers["retry-after"]) > 0
                refusal = await refused_socket(socket_url)
                assert refusal.response.status_code == 429
                assert int(refusal.response.headers["retry-after"]) > 0
            headers = {"Accept": "text/event-stream", "X-Operation-ID": "streamed"}
            refused = await client.post(ELIMINAR, json={"id_conexion": 2}, headers=headers)
            assert_refused(refused, 429)
            assert int(refused.headers["retry-after"]) > 0
            assert_refused(await client.get("/api/operaciones/streamed"), 404)
            # Neither of these is open.
            assert (await client.head("/sse/progress")).status_code == 200
            answer = await client.get("/sse/operations/ended", headers={"Last-Event-ID": over})
            assert answer.status_code == 204
            async with SseReader(f"{server.url}/sse/progress?userId=8") as other:
                await other.until_live()
            # Nobody was evicted.
            await published(client, "still", "copy", "in_progress")
            assert (await stream.next()).json["operation_id"] == "still"
            assert (await socket.next()).data["operation_id"] == "still"

        async def admitted() -> bool:
            async with SseReader(url) as newcomer:
                return (await newcomer.opened()).status == 200

        await eventually(admitted)
    figures = await _metricas(server)
    assert figures["activeConnections"] == 0


async def _metricas(server: ServerProcess) -> dict[str, Any]:
    async with server.http() as client:

        async def quiet() -> dict[str, Any]:
            figures: dict[str, Any] = (await client.get("/api/metricas")).json()
            return figures if figures["activeConnections"] == 0 else {}

        return await eventually(quiet)
