"""`/asyncapi.json` says what streams and sockets do: every message of real flows fits it, and it is valid."""

import json
from collections.abc import Iterable
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator, validators

from tests.conftest import MakeServer
from tests.e2e.identity import TOKEN_MODE, bearer
from tests.e2e.support import ELIMINAR, do
from tests.harness import LegacySocket, ServerProcess, SseEvent, SseReader, V2Message, V2Socket
from tests.harness.processes import CLIENTS
from tests.identity.signing import token
from wellnet_sse.identity.tokens import LEEWAY_SECONDS
from wellnet_sse.web import openapi
from wellnet_sse.web.asyncapi import document

DOCUMENT = document()
CHANNELS = DOCUMENT["channels"]
SPECIFICATION = CLIENTS / "node_modules/@asyncapi/specs/schemas/3.0.0.json"
PUBLISHED = {"status": "completed", "message": "Copiado", "progress": 100}


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference refers to, or the part itself."""
    while "$ref" in part:
        found: Any = DOCUMENT
        for key in part["$ref"].removeprefix("#/").split("/"):
            found = found[key]
        part = found
    return part


def fits(value: object, schema: dict[str, Any]) -> bool:
    """Say whether a value fits a schema of the document."""
    return Draft202012Validator({"allOf": [schema], "components": DOCUMENT["components"]}).is_valid(value)


def kinds(channel: str, payload: object, headers: object = None) -> list[str]:
    """Return the messages of a channel that this could be."""
    found = []
    for name, reference in CHANNELS[channel]["messages"].items():
        message = resolved(reference)
        if fits(payload, message["payload"]) and (headers is None or fits(headers, message["headers"])):
            found.append(name)
    return found


# The document itself


def test_it_is_valid_asyncapi() -> None:
    specification = json.loads(SPECIFICATION.read_text())
    validator = validators.validator_for(specification)(specification)
    assert validator.is_valid({"asyncapi": "3.0.0"}) is False, "it can say no"
    validator.validate(DOCUMENT)


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["schemas"]))
def test_schemas_are_valid_and_their_examples_fit(name: str) -> None:
    schema = DOCUMENT["components"]["schemas"][name]
    Draft202012Validator.check_schema(schema)
    for example in schema.get("examples", ()):
        assert fits(example, schema)


def test_what_both_documents_describe_is_the_same() -> None:
    theirs = openapi.document()["components"]["schemas"]
    ours = DOCUMENT["components"]["schemas"]
    assert ours.keys() - theirs.keys() == {"Nothing", "SocketCommand", "SocketError"}
    assert all(theirs[name] == ours[name] for name in ours.keys() & theirs.keys())


def test_every_reference_leads_somewhere_and_every_message_is_used() -> None:
    references = set(_references(DOCUMENT))
    for reference in references:
        resolved({"$ref": reference})
    for kind, components in DOCUMENT["components"].items():
        assert {f"#/components/{kind}/{name}" for name in components} <= references


def _references(part: object) -> Iterable[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


async def test_it_is_served(http: httpx.AsyncClient) -> None:
    answer = await http.get("/asyncapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == DOCUMENT


# The running server says what is described


def streamed(channel: str, events: Iterable[SseEvent]) -> list[str]:
    """Return which message each block is; it is exactly one."""
    found = []
    for it in events:
        headers = {"event": it.event} if it.event != "message" else {}
        headers |= {} if it.id is None else {"id": it.id}
        (name,) = kinds(channel, it.json, headers)
        found.append(name.removeprefix("sse_"))
    return found


def framed(messages: Iterable[V2Message]) -> list[str]:
    """The same of the v2 dialect."""
    found = []
    for it in messages:
        named = kinds("v2", {"event": it.event, "id": it.id, "data": it.data})
        assert len(named) == 1, (it, named)
        found.append(named[0].removeprefix("v2_"))
    return found


async def test_streams_and_sockets_say_what_is_described(server: ServerProcess, user: int) -> None:
    query = f"userId={user}"
    async with (
        server.http(user=user) as client,
        SseReader(f"{server.url}/sse/operations/one?{query}") as one,
        SseReader(f"{server.url}/sse/progress?{query}&lastEventId=foreign-1") as everything,
        V2Socket(f"{server.ws_url}/ws/progress?{query}&lastEventId=foreign-1") as v2,
        LegacySocket(f"{server.ws_url}/ws/progress?{query}") as legacy,
    ):
        await one.until_live()
        await everything.until_live()
        await v2.until_live()
        assert (await do(client, ELIMINAR, 31, "one")).status_code == 200
        await one.rest()
        await everything.until(lambda it: it.event == "operation")
        await v2.until(lambda it: it.event == "operation")
        await v2.send({"type": "stop_operation", "operation_id": "nobodys"})
        await v2.until(lambda it: it.event == "error")
        steps = ["progress"] * 13
        assert streamed("operation", one.events) == ["live", *steps, "end"]
        assert streamed("all", everything.events) == ["gap", "live", *steps, "operation"]
        assert framed(v2.seen) == ["gap", "live", *steps, "operation", "error"]
        told = [await legacy.next() for _ in steps]
        assert [kinds("documented", it) for it in told] == [["progress"]] * len(steps)
    async with SseReader(f"{server.url}/sse/operations/one?{query}", last_event_id="foreign-1") as late:
        assert streamed("operation", await late.rest()) == ["gap", *["progress"] * 3, "end"]


async def test_closings_and_reopened_endings_are_described(make_server: MakeServer, user: int) -> None:
    server = await make_server()
    query = f"userId={user}"
    async with server.http(user=user) as client:
        step = "/api/operaciones/one/pasos/copy"
        await client.post("/api/operaciones", json={"operation_id": "one", "steps": ["copy"]})
        assert (await client.post(step, json=PUBLISHED)).status_code == 201
        pending = {**PUBLISHED, "status": "pending"}
        assert (await client.post(step, json=pending)).status_code == 201
    async with (
        SseReader(f"{server.url}/sse/operations/one?{query}") as one,
        V2Socket(f"{server.ws_url}/ws/progress?{query}") as v2,
    ):
        epoch = ((await one.until_live())[-1].id or "").partition("-")[0]
        await v2.until_live()
        async with SseReader(f"{server.url}/sse/operations/one?{query}&lastEventId={epoch}-0") as again:
            assert streamed("operation", await again.until_live()) == [
                "progress",
                "progress",
                "operation",
                "progress",
                "live",
            ]
        await server.terminate()
        assert streamed("operation", await one.rest()) == ["closing"]
        await v2.closed()
        assert framed(v2.seen)[-1] == "closing"


async def test_closings_for_tokens_that_end_are_described(make_server: MakeServer, user: int) -> None:
    server = await make_server(**TOKEN_MODE)
    headers = bearer(token(user, seconds=3 - LEEWAY_SECONDS))
    async with (
        SseReader(f"{server.url}/sse/progress", headers=headers) as everything,
        V2Socket(f"{server.ws_url}/ws/progress", headers=headers) as v2,
    ):
        await everything.until_live()
        assert streamed("all", await everything.rest()) == ["closing"]
        await v2.closed()
        assert framed(v2.seen) == ["live", "closing"]


def test_what_clients_may_say_is_described() -> None:
    start = {"type": "start_operation", "operation_id": "one", "steps": ["a"], "extra": 1}
    assert kinds("documented", start) == ["start_operation"]
    assert kinds("v2", {"type": "cancel_operation", "operation_id": "one"}) == ["cancel_operation"]
    assert kinds("documented", {"type": "cancel_operation", "operation_id": "one"}) == []
    assert kinds("v2", {"type": "stop_operation", "operation_id": "a b"}) == []
