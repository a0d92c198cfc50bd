"""Every failure a client may meet: a stable code, an HTTP status and a sentence for a person.

`detail` is shown to people and is therefore Spanish; it never carries exception text, addresses or secrets.
"""

from typing import ClassVar

_BEARER = 'Bearer realm="wellnet-sse"'


class WellnetError(Exception):
    """The root of the tree. `code` is stable; `status` is what HTTP answers (RFC 9110)."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Error interno"
    challenge: str | None = None
    """What `WWW-Authenticate` says beside it (RFC 9110 §11.6.1, RFC 6750 §3)."""

    def __init__(self, detail: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds


class ConfigurationError(WellnetError):
    """A setting is unknown or unusable; raised at start, before anything listens."""

    code = "bad_configuration"
    title = "Configuración no válida"


class BadRequestError(WellnetError):
    """The path, the query, a header or the shape of the body cannot be understood."""

    code = "bad_request"
    status = 400
    title = "Solicitud no válida"


class UnauthenticatedError(WellnetError):
    """Nobody is named, or the name is not a user's."""

    code = "unauthenticated"
    status = 401
    title = "Usuario no identificado"


class CredentialMissingError(UnauthenticatedError):
    """No token came with the request, or it names nobody to publish for."""

    challenge = _BEARER


class InvalidTokenError(UnauthenticatedError):
    """The token or ticket is forged, malformed, of another audience, expired or used up."""

    code = "invalid_token"
    title = "Credencial no válida"
    challenge = f'{_BEARER}, error="invalid_token"'


class CredentialsDifferError(BadRequestError):
    """The request comes with tokens of different people."""

    challenge = f'{_BEARER}, error="invalid_request"'


class ForbiddenError(WellnetError):
    """Somebody is named who may not do this, or the request comes from a foreign page."""

    code = "forbidden"
    status = 403
    title = "No permitido"


class InsufficientScopeError(ForbiddenError):
    """The token is good, and not for this."""

    code = "insufficient_scope"
    title = "Permiso insuficiente"

    def __init__(self, scope: str) -> None:
        super().__init__(f"La credencial no permite esto: hace falta el permiso {scope}")
        self.challenge = f'{_BEARER}, error="insufficient_scope", scope="{scope}"'


class NotFoundError(WellnetError):
    """There is no such thing, or it is another user's: the two are told apart to nobody."""

    code = "not_found"
    status = 404
    title = "No encontrado"


class ConflictError(WellnetError):
    """The request is fine, but not for the state that things are in."""

    code = "conflict"
    status = 409
    title = "Conflicto"


class OperationEndedError(ConflictError):
    """The operation has its ending already."""

    code = "operation_ended"
    title = "La operación ya terminó"


class OperationCancelledError(ConflictError):
    """`cancelar` was asked for: nothing more is begun under this operation."""

    code = "operation_cancelled"
    title = "La operación fue cancelada"


class StepCompletedError(ConflictError):
    """A completed step takes no update unless `pending` comes first (protocol §5)."""

    code = "step_completed"
    title = "El paso ya está completado"


class RunLostError(ConflictError):
    """This work was taken for dead and told as interrupted; it may publish nothing more."""

    code = "run_lost"
    title = "Trabajo interrumpido"


class PayloadTooLargeError(WellnetError):
    """The body is larger than any that makes sense here."""

    code = "payload_too_large"
    status = 413
    title = "Cuerpo demasiado grande"


class UnsupportedMediaTypeError(WellnetError):
    """A body that is not declared as JSON."""

    code = "unsupported_media_type"
    status = 415
    title = "Tipo de contenido no admitido"


class UnprocessableError(WellnetError):
    """The body was understood and is not valid."""

    code = "unprocessable"
    status = 422
    title = "Datos no válidos"


class TooManyStepsError(UnprocessableError):
    """An operation has at most 100 steps (protocol §1)."""

    code = "too_many_steps"
    title = "Demasiados pasos"


class BodyMismatchError(UnprocessableError):
    """The step is running or completed under this operation, with another body (protocol §6)."""

    code = "body_mismatch"
    title = "La operación ya tiene otro contenido"


class UpgradeRequiredError(WellnetError):
    """The path speaks WebSocket only (RFC 9110 §15.5.22)."""

    code = "upgrade_required"
    status = 426
    title = "Se requiere WebSocket"


class TooManyStreamsError(WellnetError):
    """The user's cap of open streams and sockets is reached; the newcomer is refused."""

    code = "too_many_streams"
    status = 429
    title = "Demasiadas conexiones abiertas"


class TooManyActionsError(WellnetError):
    """The user acts faster than they may, at all processes together; nothing was done."""

    code = "too_many_actions"
    status = 429
    title = "Demasiadas acciones"


class UnavailableError(WellnetError):
    """The server is draining, or its broker or database is away."""

    code = "unavailable"
    status = 503
    title = "Servicio no disponible"


class RouterRefusedError(WellnetError):
    """The router answered, and said no."""

    code = "router_refused"
    status = 502
    title = "El router rechazó la operación"


class RouterUnreachableError(WellnetError):
    """The router did not answer in time, or not at all."""

    code = "router_unreachable"
    status = 504
    title = "El router no responde"
