"""What stands in for a token where it cannot be sent: a cookie, and tickets (mode `token` alone)."""

from quart import Blueprint, Response, jsonify, request

from wellnet_sse.errors import ForbiddenError, NotFoundError
from wellnet_sse.identity.tokens import Claims, Scope
from wellnet_sse.progress.events import timestamp
from wellnet_sse.progress.hub import wall_clock_ms
from wellnet_sse.web.identity import COOKIE, TokenIdentity
from wellnet_sse.web.schemas import Empty, read_body
from wellnet_sse.web.services import Services


def blueprint(services: Services) -> Blueprint:
    """`/api/tickets` and `/api/sesion`."""
    sessions = Blueprint("sessions", __name__, url_prefix="/api")

    def identity() -> TokenIdentity:
        if not isinstance(services.identity, TokenIdentity):
            raise NotFoundError("No existe esa ruta")  # there is no token that it could be made of
        return services.identity

    @sessions.post("/tickets")
    async def give_ticket() -> Response:
        tokens = identity()
        caller = await tokens.caller(request, Scope.WATCH)
        await services.actions.count(caller.user_id)
        await read_body(Empty)
        claims = Claims(str(caller.user_id), caller.scopes, caller.expires_ms or 0)
        ticket, expires_ms = await tokens.tickets.give(claims)
        response: Response = jsonify({"ticket": ticket, "expires_at": timestamp(expires_ms)})
        response.status_code = 201
        response.headers["Cache-Control"] = "no-store"
        return response

    @sessions.get("/sesion")
    async def tell_session() -> Response:
        caller = await identity().holder(request)  # a page cannot read its cookie, and has to name its user
        told = {
            "userId": str(caller.user_id),
            "scope": " ".join(sorted(caller.scopes)),
            "expires_at": timestamp(caller.expires_ms or 0),
        }
        response: Response = jsonify(told)
        response.headers["Cache-Control"] = "no-store"
        return response

    @sessions.post("/sesion")
    async def open_session() -> Response:
        token, claims = identity().bearer(request)
        await read_body(Empty)
        if claims.user_id is None:
            raise ForbiddenError("La credencial es de un servicio: solo sirve para publicar")
        response: Response = jsonify({"expires_at": timestamp(claims.expires_ms)})
        _set_cookie(response, token, seconds=max(0, claims.expires_ms - wall_clock_ms()) // 1000)
        return response

    @sessions.post("/sesion/cerrar")
    async def close_session() -> Response:
        identity()
        await read_body(Empty)
        response = Response("", 204)
        _set_cookie(response, "", seconds=0)
        return response

    return sessions


def _set_cookie(response: Response, value: str, *, seconds: int) -> None:
    response.set_cookie(COOKIE, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="Lax")
    response.headers["Cache-Control"] = "no-store"
