"""What may still stand in a router: the user's pending clean-ups (protocol §6)."""

from typing import Any

from quart import Blueprint, Response, jsonify, request

from wellnet_sse.identity.tokens import Scope
from wellnet_sse.progress.events import timestamp
from wellnet_sse.provisioning.cleaner import operation_id_of
from wellnet_sse.provisioning.cleanups import Pending
from wellnet_sse.web.services import Services


def blueprint(services: Services) -> Blueprint:
    """`/api/routers/pendientes`."""
    routers = Blueprint("routers", __name__, url_prefix="/api/routers")

    @routers.get("/pendientes")
    async def pending() -> Response:
        caller = await services.identity.caller(request, Scope.WATCH)
        found = await services.removals.cleanups.of_user(caller.user_id)
        response: Response = jsonify({"pendientes": [describe_pending(one) for one in found]})
        response.headers["Cache-Control"] = "no-cache"
        return response

    return routers


def describe_pending(pending: Pending) -> dict[str, Any]:
    """A clean-up as it is told."""
    return {
        "direccion_ip": pending.address,
        "operation_id": operation_id_of(pending.cleanup_id),
        "escritura": pending.write_state.value,
        "intentos": pending.attempts,
        "creado": timestamp(pending.created_ms),
        "proximo_intento": timestamp(pending.next_ms),
    }
