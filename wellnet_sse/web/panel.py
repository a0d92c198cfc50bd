"""What the operator's page shows: what everybody does, how readers fare, and what is left to clean up."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from quart import Blueprint, Response, jsonify, request

from wellnet_sse.errors import UnavailableError
from wellnet_sse.progress.events import UserId, timestamp
from wellnet_sse.progress.glances import Glance
from wellnet_sse.progress.hub import wall_clock_ms
from wellnet_sse.progress.operation import Operation
from wellnet_sse.provisioning.cleanups import Pending
from wellnet_sse.web.routers import describe_pending
from wellnet_sse.web.services import Services

LIMIT = 200
"""So many of each kind are told, whatever there is."""
PATIENCE_SECONDS = 2.0

T = TypeVar("T")


def blueprint(services: Services) -> Blueprint:
    """`GET /api/panel`."""
    panel = Blueprint("panel", __name__, url_prefix="/api/panel")
    progress = services.progress
    process = f"{socket.gethostname()}/{os.getpid()}"

    @panel.get("")
    async def tell() -> Response:
        await services.identity.check_operator(request)
        operations, pending = await asyncio.gather(
            _known(progress.broker.active(limit=LIMIT)),
            _known(services.removals.cleanups.oldest(limit=LIMIT)),
        )
        glances = progress.hub.glance(limit=LIMIT)
        now_ms = wall_clock_ms()
        response: Response = jsonify(
            {
                "at": timestamp(now_ms),
                "process": process,
                "figures": {
                    **services.figures(),
                    "latencyP50": progress.hub.delays.percentile_ms(50, now_ms),
                    "latencyP99": progress.hub.delays.percentile_ms(99, now_ms),
                    "readers": glances.total,
                    "slowReaders": glances.slow,
                    "pendingCleanups": None if pending is None else pending.total,
                },
                "operations": None if operations is None else _operations(operations),
                "readers": [_reader(one) for one in glances.readers],
                "cleanups": None if pending is None else [_cleanup(one) for one in pending.oldest],
            }
        )
        response.headers["Cache-Control"] = "no-store"
        return response

    return panel


async def _known(question: Awaitable[T]) -> T | None:
    """The answer; None where nobody can tell: whoever looks then needs the rest all the more."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await question
    except (UnavailableError, TimeoutError):
        return None


def _operations(found: Sequence[tuple[UserId, Operation]]) -> list[dict[str, Any]]:
    """The newest first."""
    newest_first = sorted(found, key=lambda it: (-(it[1].started_ms or 0), it[1].operation_id))
    return [_operation(*one) for one in newest_first]


def _operation(user_id: UserId, operation: Operation) -> dict[str, Any]:
    """As the panel needs it: its steps by number, and the newest event."""
    newest = max(operation.steps.values(), key=lambda step: step.seq, default=None)
    return {
        "userId": str(user_id),
        "operation_id": operation.operation_id,
        "progress": operation.progress,
        "step": None if newest is None else newest.event.step,
        "status": None if newest is None else newest.event.status,
        "message": None if newest is None else newest.event.message,
        "running": bool(operation.runs),
        "started_at": timestamp(operation.started_ms or 0),
        "updated_at": timestamp(operation.updated_ms),
    }


def _reader(reader: Glance) -> dict[str, Any]:
    return {
        "userId": str(reader.user_id),
        "operation_id": reader.operation_id,
        "via": reader.via,
        "opened_at": timestamp(reader.opened_ms),
        "waiting_events": reader.waiting_events,
        "waiting_bytes": reader.waiting_bytes,
        "skipped": reader.skipped,
        "stuck_seconds": round(reader.stuck_seconds, 1),
        "slow": reader.is_slow,
    }


def _cleanup(pending: Pending) -> dict[str, Any]:
    user_id = pending.owner.user_id
    return {"userId": None if user_id is None else str(user_id), **describe_pending(pending)}
