"""The documented business endpoints, and `POST /api/conexiones/eliminar` (protocol §6)."""

import asyncio
from urllib.parse import quote

from quart import Blueprint, Response, request

from wellnet_sse.errors import BadRequestError
from wellnet_sse.identity.tokens import Scope
from wellnet_sse.progress.broker import Wanted
from wellnet_sse.progress.events import UserId
from wellnet_sse.provisioning.claims import Answer
from wellnet_sse.provisioning.service import Job, Request
from wellnet_sse.web.identity import Caller
from wellnet_sse.web.operations import location, new_operation_id
from wellnet_sse.web.problems import answer
from wellnet_sse.web.schemas import EliminarConfiguracion, QuitarAsignacion, QuitarConexion, read_body
from wellnet_sse.web.services import Services
from wellnet_sse.web.streams import checked_operation_id, open_stream

OPERATION_HEADER = "X-Operation-ID"
RETRY_AFTER_SECONDS = 5


def blueprint(services: Services) -> Blueprint:
    """The four POSTs that do the work."""
    documented = Blueprint("documented", __name__, url_prefix="/api")
    removals, service = services.removals, services.removal_service

    @documented.post("/conexiones/quitar-asignacion")
    async def quitar_asignacion() -> Response:
        caller = await _caller()
        body = await read_body(QuitarAsignacion)
        return await _do(caller, service.single(removals.service(body.id_conexion)))

    @documented.post("/routers/quitar-conexion")
    async def quitar_conexion() -> Response:
        caller = await _caller()
        body = await read_body(QuitarConexion)
        return await _do(caller, service.single(removals.router(body.direccion_ip)))

    @documented.post("/configuracion/eliminar")
    async def eliminar_configuracion() -> Response:
        caller = await _caller()
        body = await read_body(EliminarConfiguracion)
        return await _do(caller, service.single(removals.config(body.id_conexion, body.id_usuario)))

    @documented.post("/conexiones/eliminar")
    async def eliminar() -> Response:
        caller = await _caller()
        body = await read_body(QuitarAsignacion)
        return await _do(caller, service.whole(body.id_conexion), ends=True)

    async def _caller() -> Caller | None:
        """Who asks, which counts as one more action of theirs; nobody's is counted for nobody."""
        caller = await services.identity.caller_if_named(request, Scope.OPERATE)
        if caller is not None:
            await services.actions.count(caller.user_id)
        return caller

    async def _do(caller: Caller | None, work: Request, *, ends: bool = False) -> Response:
        """Do the work for whoever asks, and answer in the way that they prefer."""
        services.check_accepts_work()
        streamed = "text/event-stream" in request.accept_mimetypes.values()
        deferred = "respond-async" in _preferences()
        operation_id = _operation_id()
        if operation_id is None and not streamed and not deferred:
            return _answer(services, await service.run_untold(work))
        if caller is None:  # somebody is to be told: then somebody must be named
            caller = await services.identity.caller(request, Scope.OPERATE)
        user_id = caller.user_id
        operation_id = operation_id or new_operation_id()
        # A single step that is watched or deferred ends an operation that declared nothing (protocol §5).
        alone = None if streamed or deferred else False
        if streamed:
            return await _streamed(work, caller, operation_id, ends=ends or alone)
        job = await service.begin(work, user_id=user_id, operation_id=operation_id, ends=ends or alone)
        if deferred and not job.replayed:
            return _deferred(user_id, operation_id)
        return _replayable(_answer(services, await asyncio.shield(job.answer)), job)

    async def _streamed(work: Request, caller: Caller, operation_id: str, *, ends: bool | None) -> Response:
        """The answer is the operation's stream: from before the work's first event, or with its state."""
        hub, broker, user_id = services.progress.hub, services.progress.broker, caller.user_id
        before = (await broker.state(user_id, Wanted(operation_id))).cursor
        hold = await services.slots.take(user_id)
        job = await service.begin(work, user_id=user_id, operation_id=operation_id, ends=ends)
        if job.replayed and await broker.operation(user_id, operation_id) is None:
            return _replayable(
                _answer(services, job.answer.result()), job
            )  # its history is gone: no stream would end
        cursor = str(before) if job.fresh else None
        subscription = hub.subscribe(
            user_id, operation_id=operation_id, cursor=cursor, expires_ms=caller.expires_ms, via="sse"
        )
        stream = open_stream(services, subscription, hold)
        stream.headers["Location"] = location(operation_id)
        return _replayable(stream, job)

    return documented


def _answer(services: Services, given: Answer) -> Response:
    if given.http_status >= 500:
        services.metrics.error()
    response = answer(success=given.success, message=given.message, status=given.http_status)
    if given.http_status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _replayable(response: Response, job: Job) -> Response:
    if job.replayed:
        response.headers["Idempotent-Replay"] = "true"
    return response


def _deferred(user_id: UserId, operation_id: str) -> Response:
    response = answer(success=True, message="Operación en curso", status=202)
    stream = f"/sse/operations/{quote(operation_id)}?userId={user_id}"
    response.headers["Location"] = location(operation_id)
    response.headers["Link"] = f'<{stream}>; rel="monitor"'
    response.headers["Preference-Applied"] = "respond-async"
    return response


def _preferences() -> set[str]:
    """The names of RFC 7240's preferences."""
    values = ",".join(request.headers.getlist("Prefer")).split(",")
    return {value.split(";")[0].split("=")[0].strip().lower() for value in values}


def _operation_id() -> str | None:
    named = request.headers.getlist(OPERATION_HEADER)
    if not named:
        return None
    if len(set(named)) > 1:
        raise BadRequestError("X-Operation-ID nombra operaciones distintas")
    return checked_operation_id(named[0])
