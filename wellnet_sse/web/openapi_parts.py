"""The pieces that `openapi.py` is put together from: answers, refusals, parameters, schemas."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from wellnet_sse.errors import ConfigurationError, WellnetError
from wellnet_sse.web.schemas import (
    EliminarConfiguracion,
    Empty,
    NewOperation,
    QuitarAsignacion,
    QuitarConexion,
    StepUpdate,
)

Part = dict[str, Any]
"""A piece of the document."""

REFUSALS = {
    400: "The path, the query, a header or the shape of the body cannot be understood",
    401: "No user is named, or what is named is no user; no token, or one that is not good",
    403: "A page of a foreign origin; another user's name beside a token; a token that is not for this",
    404: "There is no such thing, or it is another user's",
    405: "The path does not take this method; `Allow` names those that it takes",
    408: "The body did not arrive in time",
    409: "Not in the state that things are in",
    413: "The body is larger than 64 KiB",
    415: "The body is not declared as `application/json`",
    422: "The body was understood and is not valid",
    426: "The path speaks WebSocket",
    429: "The user has as many streams and sockets open as are allowed, or acts faster than is allowed",
    500: "Our own fault",
    502: "The router refused",
    503: "The server is about to stop, or its history or database is away",
    504: "The router does not answer",
}

Examples = Mapping[type[BaseModel], Part]
"""Bodies, each with one that is right."""

_BODIES: Examples = {
    QuitarAsignacion: {"id_conexion": 5},
    QuitarConexion: {"direccion_ip": "10.0.0.5"},
    EliminarConfiguracion: {"id_conexion": 5, "id_usuario": 5},
    NewOperation: {"operation_id": "import-42", "steps": ["copy", "check"]},
    StepUpdate: {"status": "in_progress", "message": "Copiando...", "progress": 40},
    Empty: {},
}

_CHECKED_TEXTS = {"operation_id": "OperationId", "steps": "StepName", "message": "Message"}
"""What schemas.py checks by functions, which JSON Schema cannot see, and the schemas that say the same."""

_STREAM = """\
retry: 2103

id: k3f9-41
data: {"operation_id":"import-42","step":"copy","status":"completed","message":"Copiado","progress":100,\
"timestamp":"2025-07-17T03:20:00.000Z"}

event: end
id: k3f9-42
data: {"operation_id":"import-42","outcome":"completed","progress":100,"timestamp":"2025-07-17T03:20:00.000Z"}

"""


_HEADERS = {
    "Location": "Where the operation is read",
    "Link": 'The operation\'s stream, as `rel="monitor"`',
    "ETag": "Changes with the state; for `If-None-Match`",
    "Retry-After": "Seconds to wait before asking again",
    "Allow": "The methods that the path takes",
    "Idempotent-Replay": "`true`: this was answered before, and nothing was done",
    "Preference-Applied": "`respond-async`",
    "Set-Cookie": "`__Host-wellnet-token`: `Secure`, `HttpOnly`, `SameSite=Lax`",
    "WWW-Authenticate": "`Bearer`, and what is wrong with the token (RFC 6750 §3); in mode `token` alone",
}


def operation(
    name: str,
    summary: str,
    responses: Part,
    *,
    parameters: Iterable[str] = (),
    body: type[BaseModel] | None = None,
    scope: str | None = None,
    ticket: bool = False,
) -> Part:
    """One method of a path; `parameters` by their names, `body` as JSON.

    `scope` is what a token needs, where one is asked for; with `ticket` a ticket will do.
    """
    part: Part = {"operationId": name, "summary": summary}
    if scope is not None:  # {}: in mode `documented` there is none of these
        kinds = ["bearer", "cookie", *(["ticket"] if ticket else [])]
        part["security"] = [{}, *({kind: [scope]} for kind in kinds)]
    if named := parameter_refs(*parameters):
        part["parameters"] = named
    if body is not None:
        content = {"application/json": {"schema": ref("schemas", body.__name__)}}
        required = any(field.is_required() for field in body.model_fields.values())
        part["requestBody"] = {"required": required, "content": content}
    return part | {"responses": dict(sorted(responses.items()))}


def ref(kind: str, name: str) -> Part:
    """A reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def json_answer(description: str, schema: str, *, headers: Iterable[str] = ()) -> Part:
    """An answer in JSON."""
    part: Part = {
        "description": description,
        "content": {"application/json": {"schema": ref("schemas", schema)}},
    }
    return part | ({"headers": header_refs(headers)} if headers else {})


def stream(description: str) -> Part:
    """An answer that is a stream of events."""
    told = "Server-Sent Events; `data` is an Event, an Ending, a Gap, a Closing, or `{}` of `live`"
    content = {"text/event-stream": {"schema": {"type": "string", "description": told}, "example": _STREAM}}
    return {"description": description, "content": content}


def refused(*statuses: int, form: str = "Problem") -> Part:
    """References to the refusals with these statuses; `form` is Problem, or Answer as the documented ones."""
    return {str(status): ref("responses", f"{form}{status}") for status in statuses}


def refusals(form: str) -> Part:
    """The refusals that `refused` refers to."""
    media_type = "application/problem+json" if form == "Problem" else "application/json"
    return {f"{form}{status}": _refusal(status, form, media_type) for status in REFUSALS}


def _refusal(status: int, form: str, media_type: str) -> Part:
    told = REFUSALS[status]
    if form == "Problem" and (codes := sorted(set(_codes(status, WellnetError)))):
        told += f". `code`: {', '.join(f'`{code}`' for code in codes)}"
    part: Part = {"description": told, "content": {media_type: {"schema": ref("schemas", form)}}}
    headers = {
        401: ["WWW-Authenticate"],
        405: ["Allow"],
        429: ["Retry-After"],
        503: ["Retry-After"],
    }.get(status)
    return part | ({"headers": header_refs(headers)} if headers else {})


def _codes(status: int, error: type[WellnetError]) -> Iterable[str]:
    if error.status == status and error is not ConfigurationError:
        yield error.code
    for kind in error.__subclasses__():
        yield from _codes(status, kind)


def header_refs(names: Iterable[str]) -> Part:
    """References to headers of answers."""
    return {name: ref("headers", name) for name in names}


def headers() -> Part:
    """The headers that `header_refs` refers to."""
    text = {"type": "string"}
    return {name: {"description": told, "schema": text} for name, told in _HEADERS.items()}


def parameter_refs(*names: str) -> list[Part]:
    """References to parameters."""
    return [ref("parameters", name) for name in names]


def parameters() -> Part:
    """The parameters that `parameter_refs` refers to."""
    text, cursor = {"type": "string"}, "Where the client left off; what follows is what it missed"
    user = "Who asks. It, the other one of `userId` and `X-User-ID`, or both alike"
    limit = {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
    key = {"type": "string", "minLength": 1, "maxLength": 255}
    described = (
        ("query", "userId", user, ref("schemas", "UserId")),
        ("header", "X-User-ID", user, ref("schemas", "UserId")),
        ("path", "operation_id", "The operation", ref("schemas", "OperationId")),
        ("path", "step", "The step", ref("schemas", "StepName")),
        ("header", "Last-Event-ID", f"{cursor}. Wins over `lastEventId`", text),
        ("query", "lastEventId", cursor, text),
        ("query", "limit", "How many", limit),
        ("query", "after", "The `id_conexion` that this page comes after; see `next`", text),
        ("query", "buscar", "An `id_conexion`, an `id_usuario`, or how an address begins", text),
        ("query", "before", "Where this page begins; see `next`", text),
        ("header", "If-None-Match", "The `ETag` of an earlier answer", text),
        ("header", "Idempotency-Key", "The same key and update again is the same event", key),
        ("header", "X-Operation-ID", "The operation that is told of the work", ref("schemas", "OperationId")),
        ("header", "Prefer", "`respond-async`: answer at once, with 202 (RFC 7240)", text),
    )
    return {
        name: {"name": name, "in": place, "description": told, "required": place == "path", "schema": schema}
        for place, name, told, schema in described
    }


def schemas(bodies: Examples = _BODIES) -> Part:
    """The schemas of answers and of `bodies`."""
    answers: Part = json.loads(Path(__file__).with_name("openapi_answers.json").read_text("utf-8"))
    return dict(sorted((answers | _body_schemas(bodies)).items()))


def _body_schemas(examples: Examples) -> Part:
    _, generated = models_json_schema(
        [(model, "validation") for model in examples],
        ref_template="#/components/schemas/{model}",
        schema_generator=_Untitled,
    )
    bodies: Part = generated["$defs"]
    for model, example in examples.items():
        schema = bodies[model.__name__]
        schema["examples"] = [example]
        for name, prop in schema.get("properties", {}).items():
            if name in _CHECKED_TEXTS:
                schema["properties"][name] = _checked(prop, ref("schemas", _CHECKED_TEXTS[name]))
    return bodies


def _checked(schema: Any, text: Part) -> Any:
    """`schema` with `text` wherever it says no more than that there is a text."""
    if schema == {"type": "string"}:
        return text
    if isinstance(schema, dict):
        return {key: _checked(value, text) for key, value in schema.items()}
    return [_checked(value, text) for value in schema] if isinstance(schema, list) else schema


class _Untitled(GenerateJsonSchema):
    """Without a title for each field that says its name again."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - as it is called
        return False
