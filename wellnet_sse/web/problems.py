"""Every refusal as an answer: Problem Details (RFC 9457), or the documented endpoints' own form."""

import logging
from collections.abc import Mapping

from quart import Quart, Response, has_request_context, jsonify, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from wellnet_sse.errors import NotFoundError, PayloadTooLargeError, WellnetError
from wellnet_sse.metrics import Metrics

log = logging.getLogger(__name__)

DOCUMENTED_PATHS = frozenset(
    {
        "/api/conexiones/quitar-asignacion",
        "/api/routers/quitar-conexion",
        "/api/configuracion/eliminar",
        "/api/conexiones/eliminar",
    }
)
"""These answer `{"success": …, "message": …}`, refusals too (protocol §1)."""

_HTTP = {
    404: ("No encontrado", "No existe esa ruta"),
    405: ("Método no permitido", "La ruta no admite ese método"),
    408: ("Tiempo agotado", "El cuerpo tardó demasiado en llegar"),
}
"""What Quart refuses by itself: title and detail."""


def answer(success: bool, message: str, status: int) -> Response:
    """The documented endpoints' answer."""
    response: Response = jsonify({"success": success, "message": message})
    response.status_code = status
    return response


def problem(error: WellnetError) -> Response:
    """`error` in the form that clients of this path expect."""
    headers = {"Retry-After": error.retry_after_seconds, "WWW-Authenticate": error.challenge}
    given = {name: str(value) for name, value in headers.items() if value is not None}
    return _refusal(error.status, error.code, error.title, error.detail, given)


def install(app: Quart, metrics: Metrics) -> None:
    """Answer whatever is raised in a view, a traceback never."""

    @app.errorhandler(WellnetError)
    async def refuse(error: WellnetError) -> Response:
        metrics.refused(error)
        if error.status >= 500:
            metrics.error()
            log.warning("unavailable" if error.status == 503 else "failed", extra={"code": error.code})
        return problem(error)

    @app.errorhandler(HTTPException)
    async def refuse_http(error: HTTPException) -> Response:
        if isinstance(error, RequestEntityTooLarge):
            return problem(PayloadTooLargeError("El cuerpo pasa de 64 KiB"))
        status = error.code or 500
        title, detail = _HTTP.get(status, ("Solicitud rechazada", "La solicitud no se puede atender"))
        code = NotFoundError.code if status == 404 else error.name.lower().replace(" ", "_")
        response = _refusal(status, code, title, detail, {})
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
        return response

    @app.errorhandler(Exception)
    async def fail(error: Exception) -> Response:
        metrics.error()
        log.error("request_failed", exc_info=error)
        return problem(WellnetError("Error interno del servidor"))


def _refusal(status: int, code: str, title: str, detail: str, headers: Mapping[str, str]) -> Response:
    if has_request_context() and request.path in DOCUMENTED_PATHS:
        response = answer(success=False, message=detail, status=status)
    else:
        response = jsonify(
            {
                "type": f"urn:wellnet:problem:{code}",
                "title": title,
                "status": status,
                "detail": detail,
                "code": code,
            }
        )
        response.status_code = status
        response.content_type = "application/problem+json"
    response.headers.update(headers)
    return response
