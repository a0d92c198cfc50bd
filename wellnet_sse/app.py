"""The composition root: every part is made here, once, and handed to those who use it."""

import asyncio
import contextlib
import random
import time
from functools import partial

from quart import Quart, Response, g, request

from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.brokers.sql import SqlBroker
from wellnet_sse.errors import ConfigurationError, UnavailableError
from wellnet_sse.extension import QuartProgress
from wellnet_sse.identity.keys import Keys
from wellnet_sse.identity.tickets import TRIM_SECONDS, Tickets
from wellnet_sse.identity.tokens import Verifier
from wellnet_sse.metrics import Metrics
from wellnet_sse.progress.broker import Broker, Rate
from wellnet_sse.progress.hub import Limits, wall_clock_ms
from wellnet_sse.progress.items import CloseReason
from wellnet_sse.progress.keeper import Keeper
from wellnet_sse.progress.tracker import Lifetimes, Progress
from wellnet_sse.provisioning.cleaner import Cleaner
from wellnet_sse.provisioning.removal import Pace, Removals
from wellnet_sse.provisioning.rest import RouterLimits
from wellnet_sse.provisioning.router import RouterClient
from wellnet_sse.provisioning.service import RemovalService
from wellnet_sse.provisioning.timings import KEEP_SECONDS, Timings
from wellnet_sse.settings import AuthMode, Settings
from wellnet_sse.storage.database import Database
from wellnet_sse.storage.identity import name_of
from wellnet_sse.web import (
    connections,
    documented,
    health,
    operations,
    pages,
    panel,
    problems,
    publishing,
    reference,
    routers,
    sessions,
    streams,
)
from wellnet_sse.web.actions import Actions
from wellnet_sse.web.converters import AnyId, AnyText
from wellnet_sse.web.identity import DocumentedIdentity, Identity, TokenIdentity
from wellnet_sse.web.origins import OriginPolicy
from wellnet_sse.web.services import Services
from wellnet_sse.web.slots import StreamSlots

MAX_BODY_BYTES = 64 * 1024
METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"})
"""The methods that are counted by name: a client may make up as many as it likes."""
READERS_GRACE_SECONDS = 0.6
CHECKPOINT_SECONDS = 2.0
SLOTS_SECONDS = 1.0
ALL_SLOTS_SECONDS = 3600.0
LOCK_MARGIN_SECONDS = 5.0
"""How much longer than its grace another process may take to end."""


def create_app(settings: Settings, *, pace_seconds: float = 0.0, demo_user: int | None = None) -> Quart:
    """The whole application; `services(app)` gives its parts.

    `pace_seconds`: about how long each step of the work takes longer than it must, for people who watch.
    `demo_user`: who a visitor of the page is until they say otherwise.
    """
    app = Quart(__name__, static_folder=None)
    app.url_map.converters |= {"text": AnyText, "id": AnyId}
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.url_map.merge_slashes = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # only preflights are answered, see web/origins.py
    app.json.sort_keys = False  # type: ignore[attr-defined]  # Quart types the abstract provider
    app.json.ensure_ascii = False  # type: ignore[attr-defined]  # the same
    parts = _compose(app, settings, pace_seconds)
    parts.demo_user = demo_user
    app.extensions["wellnet"] = parts
    problems.install(app, parts.metrics)
    parts.origins.install(app)
    _observe(app, parts.metrics)
    for module in (
        streams,
        operations,
        publishing,
        connections,
        documented,
        routers,
        sessions,
        health,
        reference,
        pages,
        panel,
    ):
        app.register_blueprint(module.blueprint(parts))
    return app


def services(app: Quart) -> Services:
    """The parts of an application that `create_app` made."""
    parts: Services = app.extensions["wellnet"]
    return parts


def _compose(app: Quart, settings: Settings, pace_seconds: float) -> Services:
    database = Database(
        settings.database_url.get_secret_value(), sqlite_synchronous=settings.sqlite_synchronous.value
    )
    # First of all, before the extension starts the broker: both may live in this database.
    app.before_serving(database.migrate)
    progress = QuartProgress(
        broker=_broker(settings, database),
        limits=Limits(
            outbox_events=settings.outbox_events,
            outbox_bytes=settings.outbox_bytes,
            heartbeat_seconds=settings.heartbeat_seconds,
            slow_seconds=settings.slow_seconds,
        ),
        lifetimes=Lifetimes(
            idle_seconds=settings.idle_seconds,
            silence_seconds=settings.silence_seconds,
            lease_seconds=settings.lease_seconds,
        ),
    )
    app.config["QUART_PROGRESS_GRACE_SECONDS"] = settings.grace_seconds
    progress.init_app(app)
    progress.progress.keeper.add("checkpoint", CHECKPOINT_SECONDS, database.checkpoint)
    routers = RouterClient(
        settings.router_username,
        settings.router_password.get_secret_value(),
        limits=RouterLimits(
            connect_seconds=min(settings.router_timeout_seconds, 3.0),
            read_seconds=settings.router_timeout_seconds,
            call_seconds=settings.router_timeout_seconds * 2,
            attempts=settings.router_attempts,
        ),
    )
    timings = Timings(database, progress.progress.paces)
    app.before_serving(timings.keep)
    progress.progress.keeper.add("timings", KEEP_SECONDS, timings.keep)
    removals = Removals(database, routers, pace=_pace(pace_seconds))
    removal_service = RemovalService(
        database, removals, progress.progress, answers_seconds=settings.answers_seconds
    )

    async def close() -> None:
        with contextlib.suppress(UnavailableError):
            await timings.keep()
        await routers.aclose()
        await database.aclose()

    app.after_serving(close)
    Cleaner(removals, progress.progress)
    origins = OriginPolicy(settings.origins, on_loopback=settings.on_loopback)
    return Services(
        settings=settings,
        progress=progress.progress,
        database=database,
        removals=removals,
        removal_service=removal_service,
        identity=_identity(settings, database, origins, progress.progress.keeper),
        origins=origins,
        slots=_slots(settings, progress.progress),
        actions=_actions(settings, progress.progress),
        metrics=Metrics(),
    )


def _slots(settings: Settings, progress: Progress) -> StreamSlots:
    slots = StreamSlots(settings.streams_per_user, progress.broker, holder=progress.holder)
    progress.keeper.add("slots", SLOTS_SECONDS, slots.tell)
    progress.keeper.add("all slots", ALL_SLOTS_SECONDS, slots.tell_all)
    return slots


def _actions(settings: Settings, progress: Progress) -> Actions:
    rate = Rate(settings.actions_per_second, settings.actions_burst) if settings.actions_per_second else None
    return Actions(rate, progress.broker)


def _broker(settings: Settings, database: Database) -> Broker:
    url = settings.broker_url.get_secret_value()
    history_ms = int(settings.history_seconds * 1000)
    if url == "memory://":
        return MemoryBroker(
            history_ms=history_ms, history_events=settings.history_events, clock=wall_clock_ms
        )
    if url == "sql://":
        return SqlBroker(
            database,
            history_ms=history_ms,
            history_events=settings.history_events,
            lock_wait_seconds=settings.grace_seconds + LOCK_MARGIN_SECONDS,
            clock=wall_clock_ms,
        )
    return _valkey_broker(settings, url, history_ms, database)


def _valkey_broker(settings: Settings, url: str, history_ms: int, database: Database) -> Broker:
    try:
        from wellnet_sse.brokers.valkey import ValkeyBroker  # noqa: PLC0415 - an extra, which may be missing
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "WELLNET_BROKER_URL: this version knows sql:// and memory://, and with the extra "
            "wellnet-sse[valkey] also redis://"
        ) from error
    return ValkeyBroker(
        url,
        history_ms=history_ms,
        history_events=settings.history_events,
        wait_seconds=settings.broker_wait_seconds,
        clock=wall_clock_ms,
        # One in memory is a single process's own, and gone with it: for trials.
        database=None if database.in_memory else partial(name_of, database),
    )


def _identity(settings: Settings, database: Database, origins: OriginPolicy, keeper: Keeper) -> Identity:
    if settings.auth is not AuthMode.TOKEN:
        return DocumentedIdentity(on_loopback=settings.on_loopback)
    tickets = Tickets(database, now_ms=wall_clock_ms)
    keeper.add("tickets", TRIM_SECONDS, tickets.trim)
    verifier = Verifier(Keys.read(settings), audience=settings.token_audience)
    return TokenIdentity(verifier, tickets, origins, operators=settings.operators)


def _pace(seconds: float) -> Pace:
    """Wait so that a step takes `seconds`, give or take a half: each waits once or twice."""

    async def pace() -> None:
        if seconds:
            await asyncio.sleep(seconds * random.uniform(0.25, 0.75))  # noqa: S311 - for the eye only

    return pace


def _observe(app: Quart, metrics: Metrics) -> None:
    @app.before_request
    async def begin() -> None:
        g.began_at = time.perf_counter()

    @app.after_request
    async def count(response: Response) -> Response:
        method = request.method if request.method in METHODS else "other"
        metrics.requests.labels(method, response.status_code).inc()
        metrics.request_seconds.observe(time.perf_counter() - g.get("began_at", time.perf_counter()))
        return response


async def open_history(app: Quart) -> None:
    """Open the database and the broker; what died before is told. Opened already, nothing is done."""
    parts = services(app)
    await parts.database.migrate()
    await parts.progress.start()


async def drain(app: Quart) -> None:
    """Stop in the order that loses nothing: no new work, let work end, tell the readers."""
    parts = services(app)
    parts.draining = True
    await parts.progress.supervisor.drain(grace_seconds=parts.settings.grace_seconds)
    await parts.slots.leave()
    parts.progress.hub.close(CloseReason.DRAIN)
    with contextlib.suppress(TimeoutError):  # a reader that takes nothing cannot be told
        async with asyncio.timeout(READERS_GRACE_SECONDS):
            await parts.progress.hub.emptied.wait()
