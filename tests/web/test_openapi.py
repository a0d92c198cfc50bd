"""`/openapi.json` says what the server does: no more, no less, and in valid OpenAPI 3.1."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from tests.conftest import MakeServer
from tests.e2e.identity import TOKEN_MODE, bearer, cookie
from tests.harness import CurlReader, ServerProcess, free_port
from tests.identity.signing import token
from wellnet_sse.app import create_app
from wellnet_sse.errors import WellnetError
from wellnet_sse.settings import Settings
from wellnet_sse.web.openapi import document
from wellnet_sse.web.openapi_parts import REFUSALS

DOCUMENT = document()
METHODS = {"get", "head", "post", "put", "delete", "options", "patch"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and description of everything that is described."""
    for path, item in DOCUMENT["paths"].items():
        yield from ((path, method, item[method]) for method in item.keys() & METHODS)


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference refers to, or the part itself."""
    while "$ref" in part:
        _, kind, name = part["$ref"].removeprefix("#/").split("/")
        part = DOCUMENT["components"][kind][name]
    return part


def check(value: object, schema: dict[str, Any]) -> None:
    """Hold a value to a schema of the document."""
    OAS31Validator({"allOf": [schema], "components": DOCUMENT["components"]}).validate(value)


def test_it_is_valid_openapi() -> None:
    validate(DOCUMENT, cls=OpenAPIV31SpecValidator)


def test_every_route_is_described_and_nothing_else(tmp_path: Any) -> None:
    """`HEAD` goes without saying where `GET` is; on streams it is described, as it does something else.

    Pages and the files that they are made of are for browsers: they are no interface.
    """
    app = create_app(
        Settings.from_environment({"WELLNET_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/wellnet.db"})
    )
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if not rule.websocket and not rule.endpoint.startswith("pages.")
        for method in (rule.methods or set()) - ({"HEAD"} if not rule.rule.startswith("/sse/") else set())
    }
    assert {(path, method) for path, method, _ in operations()} == routes


def test_operations_are_named_once() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))


def test_path_parameters_are_those_of_the_path() -> None:
    for path, item in DOCUMENT["paths"].items():
        named = {resolved(one)["name"] for one in item.get("parameters", ()) if resolved(one)["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path)), path


def test_every_component_is_referred_to() -> None:
    text = json.dumps(DOCUMENT)
    for kind, components in DOCUMENT["components"].items():
        # Both forms of each refusal are there, whether it can happen or not; schemes are named alone.
        if kind not in {"responses", "securitySchemes"}:
            unused = {name for name in components if f'"#/components/{kind}/{name}"' not in text}
            assert unused <= {"Event", "Ending", "Gap", "Closing"}, kind  # what a stream's `data` is


def test_what_a_token_is_for_is_told_with_each_path() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    health = {"/healthz", "/readyz", "/metrics", "/api/metricas"}
    open_to_all = health | {"/openapi.json", "/asyncapi.json", "/docs", "/api/sesion/cerrar"}
    for path, _, operation in operations():
        asked = [kind for choice in operation.get("security", ()) for kind in choice]
        assert set(asked) <= schemes.keys()
        assert bool(asked) == (path not in open_to_all), path
        assert ("ticket" in asked) == path.startswith(("/sse/", "/ws/")), path


def test_every_refusal_that_can_be_raised_has_its_sentence() -> None:
    def statuses(error: type[WellnetError]) -> set[int]:
        return {error.status}.union(*(statuses(kind) for kind in error.__subclasses__()))

    assert statuses(WellnetError) <= REFUSALS.keys()


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["schemas"]))
def test_examples_fit_their_schema(name: str) -> None:
    schema = DOCUMENT["components"]["schemas"][name]
    OAS31Validator.check_schema(schema)
    for example in schema.get("examples", ()):
        check(example, schema)


def test_example_of_a_stream_is_made_of_events() -> None:
    stream = DOCUMENT["paths"]["/sse/progress"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    first, last = re.findall(r"^data: (.*)$", stream["example"], re.MULTILINE)
    check(json.loads(first), {"$ref": "#/components/schemas/Event"})
    check(json.loads(last), {"$ref": "#/components/schemas/Ending"})


# The running server answers as described


def described(response: httpx.Response, path: str) -> None:
    """Hold an answer to what is said of it: status, media type, headers and body."""
    operation = DOCUMENT["paths"][path][response.request.method.lower()]
    status = str(response.status_code)
    assert status in operation["responses"], f"{status} is not described: {response.text}"
    answer = resolved(operation["responses"][status])
    for name in answer.get("headers", {}):
        if name in {"Allow", "ETag"}:  # the others may be there
            assert name in response.headers
    if not response.content:
        return
    media_type = response.headers["content-type"]
    content = answer["content"].get(media_type) or answer["content"][media_type.partition(";")[0]]
    if "json" in media_type:
        check(response.json(), content["schema"])


ONE = "/api/operaciones/{operation_id}"
STEP = f"{ONE}/pasos/{{step}}"
QUITAR = "/api/conexiones/quitar-asignacion"
ROUTER = "/api/routers/quitar-conexion"


# In this order, as one user: `one` is begun, worked on and stopped.
CALLS: list[tuple[str, str, int, dict[str, Any]]] = [
    ("GET", "/healthz", 200, {}),
    ("GET", "/readyz", 200, {}),
    ("GET", "/metrics", 200, {}),
    ("GET", "/api/metricas", 200, {}),
    ("GET", "/openapi.json", 200, {}),
    ("GET", "/ws/progress", 426, {}),
    ("HEAD", "/sse/progress", 200, {}),
    ("HEAD", "/sse/operations/{operation_id}", 200, {}),
    ("POST", "/api/operaciones", 201, {"json": {"operation_id": "one", "steps": ["a", "b"]}}),
    ("POST", "/api/operaciones", 200, {"json": {"operation_id": "one"}}),
    ("POST", "/api/operaciones", 201, {"json": {}}),
    ("POST", "/api/operaciones", 415, {"content": "{}", "headers": {"Content-Type": "text/plain"}}),
    ("POST", "/api/operaciones", 400, {"content": "{", "headers": {"Content-Type": "application/json"}}),
    ("POST", "/api/operaciones", 413, {"json": {"operation_id": "x" * 70_000}}),
    ("POST", "/api/operaciones", 422, {"json": {"operation_id": "with spaces"}}),
    ("GET", "/api/operaciones", 200, {}),
    ("GET", "/api/operaciones", 400, {"params": {"limit": "0"}}),
    ("GET", ONE, 200, {}),
    ("GET", ONE, 404, {"id": "nobodys"}),
    ("GET", ONE, 401, {"headers": {"X-User-ID": "-7"}}),
    ("GET", ONE, 400, {"params": {"userId": "1"}}),
    ("POST", STEP, 201, {"json": {"status": "in_progress", "message": "Copiando...", "progress": 40}}),
    ("POST", STEP, 422, {"json": {"status": "done"}}),
    ("POST", f"{ONE}/detener", 202, {"json": {}}),
    ("POST", f"{ONE}/detener", 200, {"json": {}}),
    ("POST", f"{ONE}/detener", 404, {"json": {}, "id": "other"}),
    ("POST", f"{ONE}/cancelar", 409, {"json": {}}),
    ("POST", QUITAR, 200, {"json": {"id_conexion": 1}, "headers": {"X-Operation-ID": "quitar"}}),
    ("POST", QUITAR, 200, {"json": {"id_conexion": 1}, "headers": {"X-Operation-ID": "quitar"}}),
    ("POST", QUITAR, 422, {"json": {"id_conexion": 2}, "headers": {"X-Operation-ID": "quitar"}}),
    ("POST", QUITAR, 202, {"json": {"id_conexion": 2}, "headers": {"Prefer": "respond-async"}}),
    ("POST", QUITAR, 404, {"json": {"id_conexion": 99}}),
    ("GET", "/api/conexiones", 200, {}),
    ("GET", "/api/conexiones", 200, {"params": {"limit": 5, "after": 3, "buscar": "10.0"}}),
    ("GET", "/api/conexiones", 400, {"params": {"after": "-1"}}),
    ("GET", "/api/routers/pendientes", 200, {}),
    ("POST", "/api/tickets", 404, {"json": {}}),
    ("GET", "/api/sesion", 404, {}),
    ("POST", "/api/sesion", 404, {"json": {}}),
    ("POST", "/api/sesion/cerrar", 404, {"json": {}}),
    ("POST", ROUTER, 415, {}),
    ("POST", ROUTER, 422, {"json": {"direccion_ip": "here"}}),
]


async def test_answers_are_as_described(http: httpx.AsyncClient, user: int) -> None:
    for method, path, status, given in CALLS:
        options = dict(given)
        url = path.format(operation_id=options.pop("id", "one"), step="a")
        headers = {"X-User-ID": str(user)} | options.pop("headers", {})
        response = await http.request(method, url, headers=headers, **options)
        assert response.status_code == status, f"{method} {path}: {response.text}"
        described(response, path)


async def test_identity_is_as_described(make_server: MakeServer) -> None:
    server = await make_server(demo=False, **TOKEN_MODE)
    calls: list[tuple[str, str, int, dict[str, Any]]] = [
        ("POST", "/api/tickets", 201, bearer(token())),
        ("POST", "/api/tickets", 401, {}),
        ("POST", "/api/tickets", 401, bearer("garbage")),
        ("POST", "/api/tickets", 403, bearer(token(scope="operate"))),
        ("POST", "/api/tickets", 400, {**bearer(token()), **cookie(token(8))}),
        ("POST", "/api/sesion", 200, bearer(token())),
        ("GET", "/api/sesion", 200, bearer(token())),
        ("GET", "/api/sesion", 401, {}),
        ("POST", "/api/sesion/cerrar", 204, {}),
        ("POST", QUITAR, 401, {}),
        ("POST", QUITAR, 403, bearer(token(scope="watch"))),
        ("GET", ONE, 403, bearer(token(scope="publish"))),
        ("HEAD", "/sse/progress", 200, bearer(token())),
    ]
    async with server.http() as client:
        for method, path, status, headers in calls:
            url = path.format(operation_id="one")
            response = await client.request(
                method, url, headers=headers, json={} if method == "POST" else None
            )
            assert response.status_code == status, f"{method} {path}: {response.text}"
            assert ("www-authenticate" in response.headers) == (status in {400, 401, 403})
            described(response, path)


async def test_other_methods_are_refused_as_described(http: httpx.AsyncClient) -> None:
    for path, item in DOCUMENT["paths"].items():
        url = path.format(operation_id="one", step="a")
        response = await http.request("PUT", url, headers={"X-User-ID": "77"})
        assert response.status_code == 405
        allowed = {method.upper() for method in item.keys() & METHODS}
        assert set(response.headers["Allow"].split(", ")) - {"HEAD"} == allowed - {"HEAD"}, path
        refusal = resolved(next(item[method] for method in item.keys() & METHODS)["responses"]["405"])
        check(response.json(), next(iter(refusal["content"].values()))["schema"])


async def test_data_of_a_stream_is_as_described(server: ServerProcess, user: int) -> None:
    arguments = ["-H", f"X-User-ID: {user}", "-H", "Accept: text/event-stream"]
    arguments += ["-H", "Content-Type: application/json", "-d", '{"id_conexion": 3}']
    async with CurlReader(f"{server.url}/api/conexiones/eliminar", *arguments) as curl:
        assert (await curl.opened()).status == 200
        body = (await curl.body()).decode()
    named = {"": "Event", "event: end\n": "Ending"}
    blocks = re.findall(r"^(event: \w+\n)?id: (\S+)\ndata: (.*)$", body, re.MULTILINE)
    assert len(blocks) >= 10
    for event, cursor, data in blocks:
        check(cursor, {"$ref": "#/components/schemas/Cursor"})
        if event != "event: live\n":
            check(json.loads(data), {"$ref": f"#/components/schemas/{named[event]}"})


@pytest.mark.parametrize("path", ["/sse/progress", "/sse/operations/{operation_id}"])
async def test_gap_is_as_described(server: ServerProcess, user: int, path: str) -> None:
    url = f"{server.url}{path.format(operation_id='none')}?userId={user}&lastEventId=foreign-1"
    async with CurlReader(url) as curl:
        assert (await curl.opened()).status == 200
        await curl.until(b"event: gap")
        data = (await curl.line()).removeprefix(b"data: ")
    check(json.loads(data), {"$ref": "#/components/schemas/Gap"})


async def test_pending_clean_up_is_as_described(make_server: MakeServer, user: int) -> None:
    port = free_port()
    server = await make_server(
        demo_router_bind=f"127.0.0.1:{port}", router_timeout_seconds=0.2, router_attempts=1
    )
    async with server.http(user=user) as client:
        unreachable = await client.put(
            f"http://127.0.0.1:{port}/simulator/mode", json={"mode": "unreachable"}
        )
        assert unreachable.is_success
        work = {"direccion_ip": "10.0.0.5"}
        refused = await client.post(ROUTER, json=work, headers={"X-Operation-ID": "quitar"})
        assert refused.status_code == 504
        described(refused, ROUTER)
        pending = await client.get("/api/routers/pendientes")
        assert [one["direccion_ip"] for one in pending.json()["pendientes"]] == ["10.0.0.5"]
        described(pending, "/api/routers/pendientes")
