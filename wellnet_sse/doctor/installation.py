"""This installation: its settings, its database, its history, its routers, this machine. Changes nothing."""

import asyncio
import os
import resource
import time
from collections.abc import AsyncIterator, Mapping

from wellnet_sse.brokers.sql.lock import ProcessLock
from wellnet_sse.doctor.findings import Finding, State
from wellnet_sse.errors import ConfigurationError, RouterRefusedError, UnavailableError, WellnetError
from wellnet_sse.identity.keys import Keys
from wellnet_sse.provisioning.inspection import known_routers
from wellnet_sse.provisioning.rest import RouterLimits
from wellnet_sse.provisioning.router import RouterClient
from wellnet_sse.server import tls
from wellnet_sse.settings import AuthMode, Settings
from wellnet_sse.storage import inspection
from wellnet_sse.storage.database import Database

ENOUGH_FILES = 4096
LOCK_SECONDS = 0.2
STORE_SECONDS = 5.0
ROUTERS_AT_ONCE = 10
CLOCK_SECONDS = 60


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings, with the files that they name looked into. Raises ConfigurationError, as `serve` does."""
    settings = Settings.from_environment(environment)
    tls.server_context(settings.tls_certificate, settings.tls_key)
    if settings.auth is AuthMode.TOKEN:
        Keys.read(settings)
    return settings


async def examine(environment: Mapping[str, str]) -> AsyncIterator[Finding]:
    """Look at everything that can be looked at, in the order in which one rests on another."""
    try:
        settings = read_settings(environment)
    except ConfigurationError as error:
        yield Finding.wrong("settings", error.detail, "Correct the variable; the README lists all of them.")
        return
    yield Finding.fine("settings", f"can be read; listens on {settings.bind}")
    yield _files()
    try:
        database = Database(
            settings.database_url.get_secret_value(), sqlite_synchronous=settings.sqlite_synchronous.value
        )
    except ConfigurationError as error:
        yield Finding.wrong("database", error.detail, "Correct WELLNET_DATABASE_URL.")
        return
    try:
        async for finding in _stored(settings, database):
            yield finding
    finally:
        await database.aclose()


def _files() -> Finding:
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    seen = f"{soft} may be open at once; each stream and socket takes one"
    if soft != resource.RLIM_INFINITY and soft < ENOUGH_FILES:
        return Finding.doubtful(
            "files", seen, "Raise it (`ulimit -n`, or LimitNOFILE= as deploy/ has it) for many readers."
        )
    return Finding.fine("files", seen)


async def _stored(settings: Settings, database: Database) -> AsyncIterator[Finding]:
    if database.path is not None and not database.path.exists():
        folder = database.path.absolute().parent
        if not os.access(folder, os.W_OK):
            yield Finding.wrong(
                "database", f"cannot be made in {folder}", "Let the server's user write there."
            )
        else:
            yield Finding.fine("database", f"{database.path} is not there yet; `serve` makes it")
        return
    try:
        schema = await _schema(database)
        yield schema
        yield await _writing(database)
    except (UnavailableError, ConfigurationError) as error:
        yield Finding.wrong(
            "database", error.detail, "Start it, and see that WELLNET_DATABASE_URL names it and its password."
        )
        return
    yield _clock(database)
    yield await _history(settings, database)
    if schema.state is State.FINE:
        async for finding in _routers(settings, database):
            yield finding


async def _schema(database: Database) -> Finding:
    current, newest = await inspection.schema_versions(database)
    if current == newest:
        return Finding.fine("database", f"{database.dialect} answers, and has the newest tables ({newest})")
    return Finding.doubtful(
        "database",
        f"its tables are of version {current or 'none'}, this program's of {newest}",
        "`wellnet-sse serve` brings older ones up to date; for newer ones install the newer program.",
    )


async def _writing(database: Database) -> Finding:
    try:
        await inspection.check_writes(database)
    except UnavailableError:
        return Finding.wrong(
            "database", "it can be read and not written", "See that it is not full, locked or read-only."
        )
    return Finding.fine("database", "can be written")


def _clock(database: Database) -> Finding:
    ahead = 0.0 if database.path is None else database.path.stat().st_mtime - time.time()
    if ahead > CLOCK_SECONDS:
        return Finding.wrong(
            "clock",
            f"the database was written {ahead:.0f} s in the future",
            "Set the clock; let NTP keep it.",
        )
    return Finding.fine("clock", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


async def _history(settings: Settings, database: Database) -> Finding:
    url = settings.broker_url.get_secret_value()
    if url == "memory://":
        return Finding.doubtful(
            "history", "memory://: it ends with the process", "Use sql:// where events are to outlive it."
        )
    if url != "sql://":
        return await _valkey(url)
    lasting = "a power loss" if database.survives_power_loss else "`kill -9`, and not a power loss"
    lock = ProcessLock(database)
    try:
        await lock.acquire(wait_seconds=LOCK_SECONDS)
    except ConfigurationError:
        return Finding.fine("history", f"sql://, which a server has open; an event survives {lasting}")
    await lock.release()
    return Finding.fine("history", f"sql://, which no server has open; an event survives {lasting}")


async def _valkey(url: str) -> Finding:
    try:
        from wellnet_sse.brokers.valkey.link import Link  # noqa: PLC0415 - an extra, which may be missing
        from wellnet_sse.brokers.valkey.url import parse  # noqa: PLC0415
    except ModuleNotFoundError:
        return Finding.wrong("history", "this needs an extra", "Install `wellnet-sse[valkey]`.")
    try:
        link = Link(parse(url), wait_seconds=STORE_SECONDS)
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await link.open()
        finally:
            await link.aclose()
    except ConfigurationError as error:
        return Finding.wrong("history", error.detail, "Correct WELLNET_BROKER_URL.")
    except (UnavailableError, TimeoutError):
        mend = "Start it, and see that WELLNET_BROKER_URL names it."
        return Finding.wrong("history", "Valkey does not answer", mend)
    return Finding.fine("history", "Valkey answers; how long an event lasts is its own settings' to say")


async def _routers(settings: Settings, database: Database) -> AsyncIterator[Finding]:
    routers = await known_routers(database)
    if not routers:
        yield Finding.fine("routers", "none is known yet")
        return
    seconds = settings.router_timeout_seconds
    client = RouterClient(
        settings.router_username,
        settings.router_password.get_secret_value(),
        limits=RouterLimits(
            connect_seconds=min(seconds, 3.0), read_seconds=seconds, call_seconds=seconds, attempts=1
        ),
    )
    turns = asyncio.Semaphore(ROUTERS_AT_ONCE)

    async def ask(name: str, url: str) -> Finding:
        async with turns:
            return await _router(client, name, url)

    try:
        for answer in asyncio.as_completed([ask(name, url) for name, url in routers]):
            yield await answer
    finally:
        await client.aclose()


async def _router(client: RouterClient, name: str, url: str) -> Finding:
    try:
        await client.router(url).check()
    except WellnetError as error:
        mend = (
            "See that WELLNET_ROUTER_USERNAME and WELLNET_ROUTER_PASSWORD are an account of it for REST."
            if isinstance(error, RouterRefusedError)
            else "See that it is on and reached from here, and that its service `www-ssl` or `www` is on."
        )
        return Finding.wrong("router", f"{name}: {error.detail}", mend)
    return Finding.fine("router", f"{name} answers")
