"""Whether the server lives, is ready, and how it does."""

import asyncio

from quart import Blueprint, Response, jsonify

from wellnet_sse.errors import UnavailableError
from wellnet_sse.metrics import CONTENT_TYPE_LATEST
from wellnet_sse.web.services import Services

READY_TIMEOUT_SECONDS = 2.0
SAMPLE_SECONDS = 1.0


def blueprint(services: Services) -> Blueprint:
    """`/healthz`, `/readyz`, `/metrics` and `/api/metricas`."""
    health = Blueprint("health", __name__)
    metrics, progress = services.metrics, services.progress

    async def sample() -> None:
        metrics.sample_deliveries(progress.hub.deliveries)

    is_up = False

    async def look() -> None:
        nonlocal is_up
        try:
            async with asyncio.timeout(READY_TIMEOUT_SECONDS):
                await progress.broker.check()
            is_up = True
        except (UnavailableError, TimeoutError):
            is_up = False

    progress.keeper.add("sample", SAMPLE_SECONDS, sample)
    progress.keeper.add("look", SAMPLE_SECONDS, look)
    metrics.expose("broker_up", "Whether history can be read and written", lambda: is_up)
    metrics.expose("connections", "Open streams and sockets", lambda: len(services.slots))
    metrics.expose("active_operations", "Operations that have not ended", progress.broker.active_operations)
    metrics.expose("running_work", "Supervised tasks", lambda: len(progress.supervisor))
    metrics.expose("events", "Events and endings fed", lambda: progress.hub.records, counts=True)
    metrics.expose(
        "conflated", "Updates that slow readers skipped", lambda: progress.hub.conflated, counts=True
    )
    metrics.expose("deliveries", "Events offered to readers", lambda: progress.hub.deliveries, counts=True)

    @health.get("/healthz")
    async def healthz() -> Response:
        response: Response = jsonify({"status": "ok"})
        return response

    @health.get("/readyz")
    async def readyz() -> Response:
        services.check_accepts_work()
        try:
            async with asyncio.timeout(READY_TIMEOUT_SECONDS):
                await services.database.ping()
                await progress.broker.check()
        except TimeoutError as error:
            raise UnavailableError(
                "La base de datos o el historial tardan demasiado", retry_after_seconds=5
            ) from error
        response: Response = jsonify({"status": "ok"})
        return response

    @health.get("/metrics")
    async def prometheus() -> Response:
        return Response(metrics.exposition(), content_type=CONTENT_TYPE_LATEST)

    @health.get("/api/metricas")
    async def metricas() -> Response:
        response: Response = jsonify(services.figures())
        return response

    return health
