"""Another backend publishes a step: the Node server of old, a script, a worker (protocol §5)."""

import hashlib

from quart import Blueprint, Response, jsonify, request

from wellnet_sse.errors import BadRequestError
from wellnet_sse.identity.tokens import Scope
from wellnet_sse.progress.broker import IdempotencyKey
from wellnet_sse.progress.events import STEP_NAME_RULE, is_step_name
from wellnet_sse.web.schemas import StepUpdate, read_body
from wellnet_sse.web.services import Services
from wellnet_sse.web.streams import checked_operation_id


def blueprint(services: Services) -> Blueprint:
    """`POST /api/operaciones/{id}/pasos/{step}`."""
    publishing = Blueprint("publishing", __name__, url_prefix="/api/operaciones")
    progress = services.progress

    @publishing.post("/<text:operation_id>/pasos/<text:step>")
    async def publish(operation_id: str, step: str) -> Response:
        caller = await services.actor(request, Scope.PUBLISH)
        checked_operation_id(operation_id)
        if not is_step_name(step):
            raise BadRequestError(f"step: {STEP_NAME_RULE}")
        body = await read_body(StepUpdate)
        cursor = await progress.publish(
            caller.user_id,
            operation_id,
            step=step,
            status=body.status,
            message=body.message,
            progress=body.progress,
            key=_idempotency_key(f"{operation_id} {step} {body.model_dump_json()}"),
        )
        response: Response = jsonify({"cursor": str(cursor)})
        response.status_code = 201
        return response

    return publishing


def _idempotency_key(content: str) -> IdempotencyKey | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= 255 or not key.isprintable():
        raise BadRequestError("Idempotency-Key: 1 a 255 caracteres imprimibles")
    return IdempotencyKey(key, hashlib.sha256(content.encode()).hexdigest())
