"""`/openapi.json`: the HTTP interface in OpenAPI 3.1; `asyncapi.py` has what is pushed.

Bodies are described by the models that check them (schemas.py) and refusals by the errors that are raised;
answers are written down in openapi_answers.json, and the paths here. A WebSocket has no place in OpenAPI but
for its handshake.
"""

from pydantic import BaseModel

from wellnet_sse import __version__
from wellnet_sse.metrics import CONTENT_TYPE_LATEST
from wellnet_sse.web.openapi_identity import security_schemes, session_paths
from wellnet_sse.web.openapi_parts import (
    Part,
    header_refs,
    headers,
    json_answer,
    operation,
    parameter_refs,
    parameters,
    refusals,
    refused,
    schemas,
    stream,
)
from wellnet_sse.web.schemas import (
    EliminarConfiguracion,
    Empty,
    NewOperation,
    QuitarAsignacion,
    QuitarConexion,
    StepUpdate,
)

DESCRIPTION = """\
Live progress of long operations. Every request names its user: in mode `documented` by `userId` or
`X-User-ID`, in mode `token` by a signed token, whose scope is told with each path.
Refusals are `application/problem+json`, but the four documented endpoints answer `{"success", "message"}`.
`HEAD` is answered wherever `GET` is, and `OPTIONS` only as a CORS preflight."""


def document() -> Part:
    """The whole description."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "wellnet-sse", "version": __version__, "description": DESCRIPTION},
        "paths": _watching() | _operations() | _documented() | session_paths() | _others(),
        "components": {
            "schemas": schemas(),
            "responses": refusals("Problem") | refusals("Answer"),
            "parameters": parameters(),
            "headers": headers(),
            "securitySchemes": security_schemes(),
        },
    }


def _watching() -> Part:
    user, cursor = ["userId", "X-User-ID"], ["Last-Event-ID", "lastEventId"]
    refusing = refused(400, 401, 403, 405, 500)
    full = refused(429)
    no_stream = {"200": {"description": "The headers of the stream, without subscribing"}}
    over = {"204": {"description": "The cursor is at or past the operation's ending: there is nothing more"}}
    watch_one: Part = {"200": stream("The operation's events, and its ending"), **over}
    watch_all: Part = {"200": stream("The events and endings of all the user's operations")}
    handshake: Part = {"101": {"description": "The socket is open; see docs/protocol.md for what it says"}}
    return {
        "/sse/operations/{operation_id}": {
            "parameters": parameter_refs(*user, "operation_id", *cursor),
            "get": operation(
                "watchOperation",
                "Watch one operation",
                watch_one | full | refusing,
                scope="watch",
                ticket=True,
            ),
            "head": operation(
                "headOperation",
                "Ask whether one can be watched",
                no_stream | over | refusing,
                scope="watch",
                ticket=True,
            ),
        },
        "/sse/progress": {
            "parameters": parameter_refs(*user, *cursor),
            "get": operation(
                "watchAll",
                "Watch all operations of the user",
                watch_all | full | refusing,
                scope="watch",
                ticket=True,
            ),
            "head": operation(
                "headAll", "Ask whether they can be watched", no_stream | refusing, scope="watch", ticket=True
            ),
        },
        "/ws/progress": {
            "parameters": parameter_refs(*user, "lastEventId"),
            "get": operation(
                "openSocket",
                "Open the WebSocket (the documented dialect, or the subprotocol `wellnet.progress.v2`)",
                handshake | refused(400, 401, 403, 405, 426, 429, 500, 503),
                scope="watch",
                ticket=True,
            ),
        },
    }


def _operations() -> Part:
    user, one = ["userId", "X-User-ID"], ["userId", "X-User-ID", "operation_id"]
    read = ["ETag", "Retry-After"]
    writing = (400, 401, 403, 405, 408, 413, 415, 422, 429, 500, 503)
    return {
        "/api/operaciones": {
            "parameters": parameter_refs(*user),
            "post": operation(
                "beginOperation",
                "Begin an operation, or declare more steps of it",
                {
                    "201": json_answer("It began with this", "Operation", headers=["Location", *read]),
                    "200": json_answer("It had begun before", "Operation", headers=["Location", *read]),
                }
                | refused(*writing),
                body=NewOperation,
                scope="operate",
            ),
            "get": operation(
                "listOperations",
                "List the user's operations, newest first",
                {"200": json_answer("A page", "OperationPage")} | refused(400, 401, 403, 405, 500, 503),
                parameters=["limit", "before"],
                scope="watch",
            ),
        },
        "/api/operaciones/{operation_id}": {
            "parameters": parameter_refs(*one),
            "get": operation(
                "readOperation",
                "Read an operation's state",
                {
                    "200": json_answer("Its state", "Operation", headers=read),
                    "304": {"description": "It is as it was", "headers": header_refs(read)},
                }
                | refused(400, 401, 403, 404, 405, 500, 503),
                parameters=["If-None-Match"],
                scope="watch",
            ),
        },
        "/api/operaciones/{operation_id}/detener": {
            "parameters": parameter_refs(*one),
            "post": operation(
                "stopOperation",
                "End the operation as soon as nothing runs",
                {
                    "202": json_answer("It ends", "Operation", headers=read),
                    "200": json_answer("It had ended before", "Operation", headers=read),
                }
                | refused(404, *writing),
                body=Empty,
                scope="operate",
            ),
        },
        "/api/operaciones/{operation_id}/cancelar": {
            "parameters": parameter_refs(*one),
            "post": operation(
                "cancelOperation",
                "Begin nothing more under this operation, ever",
                {"202": json_answer("It will be cancelled", "Operation", headers=read)}
                | refused(404, 409, *writing),
                body=Empty,
                scope="operate",
            ),
        },
        "/api/operaciones/{operation_id}/pasos/{step}": {
            "parameters": parameter_refs(*one, "step"),
            "post": operation(
                "publishStep",
                "Publish a step, from another backend",
                {"201": json_answer("It is in the user's history", "Published")} | refused(409, *writing),
                parameters=["Idempotency-Key"],
                body=StepUpdate,
                scope="publish",
            ),
        },
    }


def _documented() -> Part:
    return {
        "/api/conexiones": {
            "parameters": parameter_refs("userId", "X-User-ID"),
            "get": operation(
                "listConnections",
                "List the connections, by their id",
                {"200": json_answer("A page", "ConnectionPage")} | refused(400, 401, 403, 405, 500, 503),
                parameters=["limit", "after", "buscar"],
                scope="operate",
            ),
        },
        "/api/conexiones/quitar-asignacion": _work(
            "quitarAsignacion", "Take a connection's service assignment away", QuitarAsignacion
        ),
        "/api/routers/quitar-conexion": _work(
            "quitarConexion", "Take an address out of its router", QuitarConexion
        ),
        "/api/configuracion/eliminar": _work(
            "eliminarConfiguracion",
            "Delete the configuration of a customer's connection",
            EliminarConfiguracion,
        ),
        "/api/conexiones/eliminar": _work(
            "eliminarConexion", "All three, in this order, as one operation", QuitarAsignacion
        ),
        "/api/routers/pendientes": {
            "parameters": parameter_refs("userId", "X-User-ID"),
            "get": operation(
                "listPending",
                "What may still stand in a router: the user's pending clean-ups",
                {"200": json_answer("They are", "Pending")} | refused(400, 401, 403, 405, 500, 503),
                scope="watch",
            ),
        },
    }


def _work(name: str, summary: str, body: type[BaseModel]) -> Part:
    done = json_answer("The work is done", "Answer", headers=["Location", "Idempotent-Replay"])
    done["content"] |= stream("")["content"]
    done["description"] += "; with `Accept: text/event-stream`, the operation's stream to its end"
    deferred = json_answer("It goes on (`Prefer: respond-async`)", "Answer", headers=["Location", "Link"])
    deferred["headers"] |= header_refs(["Preference-Applied"])
    statuses = (400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 500, 502, 503, 504)
    refusing = refused(*statuses, form="Answer")
    post = operation(
        name,
        summary,
        {"200": done, "202": deferred} | refusing,
        parameters=["X-Operation-ID", "Prefer"],
        body=body,
        scope="operate",
    )
    return {"parameters": parameter_refs("userId", "X-User-ID"), "post": post}


def _others() -> Part:
    fine = json_answer("All is well", "Health")
    prometheus: Part = {
        "description": "The metrics, in Prometheus' text format",
        "content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}},
    }
    own: Part = {
        "description": "This document",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
    page: Part = {
        "description": "It is this",
        "content": {"text/html": {"schema": {"type": "string"}}},
        "headers": header_refs(["ETag"]),
    }
    panel = operation(
        "panel",
        "What all users do, how readers fare, and which clean-ups are pending, at most 200 of each; in mode "
        "`documented` only on the server's own machine, in mode `token` for its operators",
        {"200": json_answer("At this moment", "Panel")} | refused(400, 401, 403, 405, 500),
        scope="operate",
    )
    return (
        {"/api/panel": {"get": panel}}
        | {
            path: {"get": operation(name, summary, {"200": answer} | refused(405, 500, *more))}
            for path, name, summary, answer, more in (
                ("/healthz", "healthz", "Whether the process lives", fine, ()),
                ("/readyz", "readyz", "Whether it can do its work", fine, (503,)),
                ("/metrics", "metrics", "Metrics for Prometheus", prometheus, ()),
                ("/api/metricas", "metricas", "Four figures", json_answer("They are", "Figures"), ()),
                ("/openapi.json", "openapi", "The HTTP interface", own, ()),
                ("/asyncapi.json", "asyncapi", "What streams and sockets say", own, ()),
            )
        }
        | {
            "/docs": {
                "get": operation(
                    "docs",
                    "Both documents, for people",
                    {"200": page, "304": {"description": "It is as it was"}} | refused(405, 500),
                    parameters=["If-None-Match"],
                )
            }
        }
    )
