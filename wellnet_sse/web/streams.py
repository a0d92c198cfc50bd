"""Watching: the SSE streams, and the documented WebSocket with its v2 dialect."""

import contextlib
from typing import Any

from quart import Blueprint, Response, has_websocket_context, request, websocket

from wellnet_sse.errors import BadRequestError, NotFoundError, UnavailableError, UpgradeRequiredError
from wellnet_sse.identity.tokens import Scope
from wellnet_sse.progress.events import OPERATION_ID_RULE, Cursor, UserId, is_operation_id
from wellnet_sse.progress.subscription import Subscription
from wellnet_sse.transports import wire
from wellnet_sse.transports.sse import EventSourceResponse, Hold
from wellnet_sse.transports.websocket import MessageRate, ProgressSocket
from wellnet_sse.web.identity import Caller
from wellnet_sse.web.problems import problem
from wellnet_sse.web.schemas import SocketCommand, parse
from wellnet_sse.web.services import Services

RECENT_MS = 60_000
"""The documented socket is told on connect of operations that ended less than this ago (protocol §4)."""


def checked_operation_id(text: str) -> str:
    """`text`, if it is an operation's id. Raises BadRequestError."""
    if not is_operation_id(text):
        raise BadRequestError(f"operation_id: {OPERATION_ID_RULE}")
    return text


def open_stream(services: Services, subscription: Subscription, hold: Hold) -> Response:
    """The stream of `subscription`; the view has taken its slot, which `hold` keeps."""
    return EventSourceResponse(subscription, retry_ms=services.settings.retry_ms, hold=hold)


def blueprint(services: Services) -> Blueprint:
    """`/sse/…` and `/ws/progress`."""
    streams = Blueprint("streams", __name__)
    progress = services.progress

    @streams.route("/sse/progress", methods=["GET", "HEAD"])
    async def watch_all() -> Response:
        caller = await services.identity.caller(request, Scope.WATCH, takes_ticket=True)
        if request.method == "HEAD":
            return Response("", headers=wire.SSE_HEADERS)
        hold = await services.slots.take(caller.user_id)
        subscription = progress.hub.subscribe(
            caller.user_id, cursor=_cursor(), expires_ms=caller.expires_ms, via="sse"
        )
        return open_stream(services, subscription, hold)

    @streams.route("/sse/operations/<text:operation_id>", methods=["GET", "HEAD"])
    async def watch_one(operation_id: str) -> Response:
        caller = await services.identity.caller(request, Scope.WATCH, takes_ticket=True)
        checked_operation_id(operation_id)
        cursor = _cursor()
        if await _is_over(caller.user_id, operation_id, cursor):
            return Response("", 204)
        if request.method == "HEAD":
            return Response("", headers=wire.SSE_HEADERS)
        hold = await services.slots.take(caller.user_id)
        subscription = progress.hub.subscribe(
            caller.user_id, operation_id=operation_id, cursor=cursor, expires_ms=caller.expires_ms, via="sse"
        )
        return open_stream(services, subscription, hold)

    async def _is_over(user_id: UserId, operation_id: str, cursor: str | None) -> bool:
        """Whether the cursor is usable and nothing of the operation follows it: EventSource may stop."""
        place = Cursor.parse(cursor or "")
        if place is None:
            return False
        try:
            found = await progress.broker.operation(user_id, operation_id)
            newest = (await progress.broker.bounds(user_id))[1]
        except UnavailableError:
            return False  # a stream never answers 503: EventSource would take it as final
        if found is None or newest is None or found[0].outcome is None:
            return False
        return place.epoch == newest.epoch and found[0].ending_seq <= place.seq <= newest.seq

    @streams.websocket("/ws/progress")
    async def socket() -> None:
        services.origins.check_websocket(websocket.headers.get("Origin"), websocket.host)
        caller = await services.identity.caller(websocket, Scope.WATCH, takes_ticket=True)
        user_id, expires_ms = caller.user_id, caller.expires_ms
        is_v2 = wire.V2_SUBPROTOCOL in websocket.requested_subprotocols
        subprotocol = wire.V2_SUBPROTOCOL if is_v2 else None
        await services.slots.take(user_id)
        subscription = (
            progress.hub.subscribe(
                user_id, cursor=websocket.args.get("lastEventId"), expires_ms=expires_ms, via="websocket-v2"
            )
            if is_v2
            else progress.hub.subscribe(user_id, recent_ms=RECENT_MS, expires_ms=expires_ms, via="websocket")
        )
        await websocket.accept(subprotocol=subprotocol)

        async def command(message: dict[str, Any]) -> None:
            await _obey(caller, parse(SocketCommand, message), is_v2=is_v2)

        await ProgressSocket(
            websocket,
            subscription,
            command,
            subprotocol=subprotocol,
            rate=MessageRate(services.settings.messages_per_second, services.settings.messages_burst),
            on_refused=services.metrics.refused_message,
        ).serve()

    async def _obey(caller: Caller, message: SocketCommand, *, is_v2: bool) -> None:
        caller.check(Scope.OPERATE)
        user_id = caller.user_id
        await services.actions.count(user_id)
        match message.type:
            case "start_operation":
                services.check_accepts_work()
                await progress.name(user_id, message.operation_id, steps=message.steps)
            case "stop_operation":
                with contextlib.nullcontext() if is_v2 else contextlib.suppress(NotFoundError):
                    await progress.stop(user_id, message.operation_id)
            case "cancel_operation" if is_v2:
                await progress.cancel(user_id, message.operation_id)
            case _:
                raise BadRequestError("Tipo de mensaje desconocido")

    @streams.errorhandler(UnavailableError)
    async def away(error: UnavailableError) -> Response:
        """Nobody can tell whether a ticket is good: a stream ends at once, and EventSource asks again."""
        if has_websocket_context():
            return problem(error)
        return Response(wire.sse_retry(services.settings.retry_ms), headers=wire.SSE_HEADERS)

    @streams.get("/ws/progress")
    async def no_socket() -> Response:
        response = problem(UpgradeRequiredError("Aquí se habla WebSocket"))
        response.headers["Upgrade"] = "websocket"  # a 426 must name it (RFC 9110 §15.5.22)
        return response

    return streams


def _cursor() -> str | None:
    """Where the client left off: the header wins over the query, and empty is none (protocol §3)."""
    return request.headers.get("Last-Event-ID") or request.args.get("lastEventId") or None
