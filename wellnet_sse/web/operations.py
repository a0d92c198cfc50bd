"""Operations over HTTP: begin, read, list, stop and cancel (protocol §5)."""

import secrets
from urllib.parse import quote, urlencode

from quart import Blueprint, Response, jsonify, request

from wellnet_sse.errors import BadRequestError, NotFoundError
from wellnet_sse.identity.tokens import Scope
from wellnet_sse.progress.events import UserId
from wellnet_sse.web.etags import etag_of, unless_known
from wellnet_sse.web.schemas import Empty, NewOperation, describe, page_limit, read_body
from wellnet_sse.web.services import Services
from wellnet_sse.web.streams import checked_operation_id

RETRY_AFTER_SECONDS = 1


def new_operation_id() -> str:
    """An id for an operation that its client did not name."""
    return f"op-{secrets.token_hex(12)}"


def location(operation_id: str) -> str:
    """Where an operation is read."""
    return f"/api/operaciones/{quote(operation_id)}"


def blueprint(services: Services) -> Blueprint:
    """`/api/operaciones…`."""
    operations = Blueprint("operations", __name__, url_prefix="/api/operaciones")
    progress = services.progress

    @operations.post("")
    async def begin() -> Response:
        caller = await services.actor(request, Scope.OPERATE)
        body = await read_body(NewOperation)
        operation_id = body.operation_id or new_operation_id()
        created = await progress.name(caller.user_id, operation_id, steps=body.steps)
        response = await _state(caller.user_id, operation_id)
        response.status_code = 201 if created else 200
        response.headers["Location"] = location(operation_id)
        return response

    @operations.get("/<id:operation_id>")
    async def read(operation_id: str) -> Response:
        caller = await services.identity.caller(request, Scope.WATCH)
        return await _state(caller.user_id, checked_operation_id(operation_id))

    async def _state(user_id: UserId, operation_id: str) -> Response:
        found = await progress.broker.operation(user_id, operation_id)
        if found is None or not found[0].begun:
            raise NotFoundError("No existe esa operación")
        response: Response = jsonify(describe(*found, progress.outlook(found[0])))
        response.headers["Cache-Control"] = "no-cache"
        if found[0].outcome is None:
            response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return unless_known(response, etag_of(await response.get_data(as_text=False)))

    @operations.get("")
    async def list_newest_first() -> Response:
        caller = await services.identity.caller(request, Scope.WATCH)
        limit = page_limit(request.args.get("limit"))
        found = await progress.broker.operations(
            caller.user_id, limit=limit + 1, before=_before(request.args.get("before"))
        )
        page = found[:limit]
        following = None
        if len(found) > limit:
            last = page[-1][0]
            query = {
                "userId": caller.user_id,
                "limit": limit,
                "before": f"{last.started_ms}~{last.operation_id}",
            }
            following = f"/api/operaciones?{urlencode(query)}"
        response: Response = jsonify(
            {
                "operations": [describe(*one, progress.outlook(one[0])) for one in page],
                "next": following,
            }
        )
        response.headers["Cache-Control"] = "no-cache"
        return response

    @operations.post("/<text:operation_id>/detener")
    async def stop(operation_id: str) -> Response:
        caller = await services.actor(request, Scope.OPERATE)
        checked_operation_id(operation_id)
        await read_body(Empty)
        found = await progress.broker.operation(caller.user_id, operation_id)
        ended = found is not None and found[0].outcome is not None
        await progress.stop(caller.user_id, operation_id)
        response = await _state(caller.user_id, operation_id)
        response.status_code = 200 if ended else 202
        return response

    @operations.post("/<text:operation_id>/cancelar")
    async def cancel(operation_id: str) -> Response:
        caller = await services.actor(request, Scope.OPERATE)
        checked_operation_id(operation_id)
        await read_body(Empty)
        await progress.cancel(caller.user_id, operation_id)
        response = await _state(caller.user_id, operation_id)
        response.status_code = 202
        return response

    return operations


def _before(text: str | None) -> tuple[int, str] | None:
    if not text:
        return None
    started_ms, _, operation_id = text.partition("~")
    if not started_ms.isascii() or not started_ms.isdigit() or len(started_ms) > 15:
        raise BadRequestError("before no es un lugar de esta lista")
    return int(started_ms), checked_operation_id(operation_id)
