"""`/asyncapi.json`: what the streams and the sockets say, in AsyncAPI 3.0.

Its schemas are those of openapi_parts.py, under the same names: an event is the same on every transport. Seen
from the server: it sends what readers are told, and receives what clients of a socket say.
"""

from collections.abc import Iterable
from typing import Any

from wellnet_sse import __version__
from wellnet_sse.transports.wire import V2_SUBPROTOCOL
from wellnet_sse.web.identity import TICKET_QUERY
from wellnet_sse.web.openapi_parts import Part, ref, schemas
from wellnet_sse.web.schemas import SocketCommand, StepUpdate

DESCRIPTION = """\
Live progress of long operations, as it is pushed. Every event and every ending has a cursor, which is good on
every channel of its user: whoever reconnects names the last one that they saw and gets what they missed."""

HOST = "wellnet-rd.com:444"
"""Where the source document has it; any other host speaks the same."""

_SHOWN = {
    "progress": "Event",
    "operation": "Ending",
    "end": "Ending",
    "closing": "Closing",
    "gap": "Gap",
    "live": "Nothing",
    "error": "SocketError",
}
"""What each message of the server carries."""

_TOLD = {
    "progress": "Something happened to a step",
    "operation": "An operation has ended; the stream goes on",
    "end": "The operation has ended, and so does its stream",
    "closing": "The server closes the connection, not the operation: come back",
    "gap": "Some events after the cursor are gone: the state follows",
    "live": "All there was has been told; from here on it is live",
    "error": "The client's message could not be obeyed",
}
_COMMANDS = {
    "start_operation": "Begin an operation, or declare more steps of it",
    "stop_operation": "End the operation as soon as nothing runs",
    "cancel_operation": "Begin nothing more under this operation, ever",
}
_USED = (
    "Event", "Ending", "Gap", "Closing", "SocketCommand",
    "OperationId", "StepName", "UserId", "Status", "Outcome", "Message", "Cursor", "Percentage", "Timestamp",
)  # fmt: skip
_OF_ALL = ("progress", "operation", "closing", "gap", "live")
_OF_ONE = ("progress", "operation", "end", "closing", "gap", "live")
_OF_V2 = (*_OF_ALL, "error")
_QUERY = {
    "type": "object",
    "properties": {
        "userId": {"$ref": "#/components/schemas/UserId"},
        "lastEventId": {"type": "string", "description": "Where the client left off"},
        TICKET_QUERY: {"type": "string", "description": "In mode `token`: out of `POST /api/tickets`"},
    },
}


def document() -> Part:
    """The whole description."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "wellnet-sse", "version": __version__, "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {
            "streams": {"host": HOST, "protocol": "https", "description": "Server-Sent Events"},
            "sockets": {"host": HOST, "protocol": "wss", "description": "WebSocket"},
        },
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _schemas() -> Part:
    """Those of the HTTP interface that are used here, and what is said here alone."""
    command = {"type": "start_operation", "operation_id": "import-42", "steps": ["copy", "check"]}
    known = schemas({SocketCommand: command, StepUpdate: {}})  # the latter has the statuses
    return {name: known[name] for name in _USED} | {
        "Nothing": {"type": "object", "additionalProperties": False, "examples": [{}]},
        "SocketError": {
            "description": "Why a message was not obeyed. `code` is stable; `detail` is for a person.",
            "type": "object",
            "additionalProperties": False,
            "required": ["code", "detail"],
            "properties": {"code": {"type": "string", "pattern": "^[a-z_]+$"}, "detail": {"type": "string"}},
            "examples": [{"code": "not_found", "detail": "No existe esa operación"}],
        },
    }


def _channels() -> Part:
    one = {"operation_id": {"description": "The operation; it need not exist yet"}}
    return {
        "operation": _channel(
            "/sse/operations/{operation_id}",
            "One operation, to its end. Without a cursor it begins with the operation's state.",
            "streams",
            (f"sse_{name}" for name in _OF_ONE),
        )
        | {"parameters": one},
        "all": _channel(
            "/sse/progress",
            "All operations of the user. Without a cursor it begins with the state of those that go on.",
            "streams",
            (f"sse_{name}" for name in _OF_ALL),
        ),
        "documented": _channel(
            "/ws/progress",
            "The documented dialect, without a subprotocol: the six fields and nothing else.",
            "sockets",
            ("progress", "start_operation", "stop_operation"),
        ),
        "v2": _channel(
            "/ws/progress",
            f"With `Sec-WebSocket-Protocol: {V2_SUBPROTOCOL}`: one to one with `/sse/progress`.",
            "sockets",
            (*(f"v2_{name}" for name in _OF_V2), *_COMMANDS),
        ),
    }


def _channel(address: str, told: str, server: str, messages: Iterable[str]) -> Part:
    part: Part = {
        "address": address,
        "description": told,
        "servers": [{"$ref": f"#/servers/{server}"}],
        "messages": {name: ref("messages", name) for name in messages},
    }
    if server == "sockets":
        part["bindings"] = {"ws": {"method": "GET", "query": _QUERY}}
    return part


def _operations() -> Part:
    http = {"bindings": {"http": {"method": "GET", "query": _QUERY}}}
    sse_one, sse_all = (f"sse_{name}" for name in _OF_ONE), (f"sse_{name}" for name in _OF_ALL)
    documented = ("start_operation", "stop_operation")
    return {
        "tellOperation": _operation("send", "operation", "Tell of one operation", sse_one) | http,
        "tellAll": _operation("send", "all", "Tell of all operations", sse_all) | http,
        "tellDocumented": _operation("send", "documented", "Tell of all operations", ("progress",)),
        "obeyDocumented": _operation(
            "receive", "documented", "Obey; what is malformed is ignored", documented
        ),
        "tellV2": _operation("send", "v2", "Tell of all operations", (f"v2_{name}" for name in _OF_V2)),
        "obeyV2": _operation("receive", "v2", "Obey; what cannot be done is answered by `error`", _COMMANDS),
    }


def _operation(action: str, channel: str, told: str, messages: Iterable[str]) -> Part:
    return {
        "action": action,
        "summary": told,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
    }


def _messages() -> Part:
    documented = {"progress": _message("progress", _TOLD["progress"], ref("schemas", "Event"))}
    streamed = {f"sse_{name}": _streamed(name) for name in _OF_ONE}
    framed = {f"v2_{name}": _message(name, _TOLD[name], _envelope(name)) for name in _OF_V2}
    commands = {name: _message(name, told, _command(name)) for name, told in _COMMANDS.items()}
    return documented | streamed | framed | commands


def _message(name: str, told: str, payload: Part) -> Part:
    return {"name": name, "summary": told, "payload": payload}


def _streamed(name: str) -> Part:
    """A block of an event stream: `data` is the payload, the other lines are headers."""
    lines: dict[str, Any] = {}
    if name != "progress":  # which has no `event:` and so reaches `onmessage`
        lines["event"] = {"const": _event(name)}
    if name not in {"closing", "gap"}:
        lines["id"] = ref("schemas", "Cursor")
    return _message(name, _TOLD[name], ref("schemas", _SHOWN[name])) | {
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "description": "The lines of the block beside `data:`",
            "additionalProperties": False,
            "required": list(lines),
            "properties": lines,
        },
    }


def _envelope(name: str) -> Part:
    """A message of the v2 dialect."""
    without = name in {"closing", "gap", "error"}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["event", "id", "data"],
        "properties": {
            "event": {"const": _event(name)},
            "id": {"type": "null"} if without else ref("schemas", "Cursor"),
            "data": ref("schemas", _SHOWN[name]),
        },
    }


def _event(name: str) -> str:
    """How it is called on the wire: a closing is an `end` as well, without a cursor."""
    return "end" if name == "closing" else name


def _command(name: str) -> Part:
    return {"allOf": [ref("schemas", "SocketCommand"), {"properties": {"type": {"const": name}}}]}
