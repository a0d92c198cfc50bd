"""`wellnet-sse serve`; and `wellnet-sse demo`, which also shows what there is to see."""

import asyncio
import contextlib
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from wellnet_sse import __version__, logs
from wellnet_sse.app import create_app, drain, open_history, services
from wellnet_sse.errors import ConfigurationError, UnavailableError
from wellnet_sse.provisioning.demo import demo_router_entries, seed
from wellnet_sse.server import runner, sockets, tls
from wellnet_sse.server.place import Place
from wellnet_sse.server.processes import MAX_PROCESSES, supervise
from wellnet_sse.settings import LogFormat, Settings, split_bind
from wellnet_sse.simulator import RouterSimulator

T = TypeVar("T")

DEMO_USER = 7


@click.command()
@click.option("--bind", metavar="HOST:PORT", help="Where to listen; default WELLNET_BIND or 127.0.0.1:4440.")
@click.option("--demo", is_flag=True, help="With demonstration data and a simulated router.")
@click.option(
    "--processes",
    type=click.IntRange(1, MAX_PROCESSES),
    default=1,
    metavar="N",
    help="So many processes; SIGHUP replaces them one after another. They need a broker that they share.",
)
@click.option("--inherited", hidden=True, help="Listening sockets of one of them: descriptors, n,n,…")
def serve(bind: str | None, demo: bool, processes: int, inherited: str | None) -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = _settings(bind)
    if inherited is None and processes > 1:
        if demo:
            raise click.UsageError("--demo is for one process: its router is simulated there")
        sys.exit(_run(supervise(settings, processes)))
    _run(_serve(settings, demo=demo, inherited=inherited))


@click.command()
@click.option("--bind", metavar="HOST:PORT", help="Where to listen; default WELLNET_BIND or 127.0.0.1:4440.")
def demo(bind: str | None) -> None:
    """Serve with demonstration data, run one operation and show it, and keep serving."""
    _run(_serve(_settings(bind, quiet=True), demo=True, show=True))


def _settings(bind: str | None, *, quiet: bool = False) -> Settings:
    """Read the settings, and log as they say; `quiet`: of what goes well, nothing."""
    try:
        settings = Settings.from_environment(os.environ, **({} if bind is None else {"bind": bind}))
    except ConfigurationError as error:
        raise click.ClickException(error.detail) from error
    logs.configure(
        json_lines=settings.log_format is LogFormat.JSON,
        level="WARNING" if quiet and settings.log_level == "INFO" else settings.log_level,
    )
    return settings


def _run(main: Coroutine[Any, Any, T]) -> T:
    try:
        return runner.run(main)
    except ConfigurationError as error:
        raise click.ClickException(error.detail) from error
    except UnavailableError as error:
        raise click.ClickException(f"{error.detail}; see `wellnet-sse doctor`") from error


async def _serve(settings: Settings, *, demo: bool, show: bool = False, inherited: str | None = None) -> None:
    context = tls.server_context(settings.tls_certificate, settings.tls_key)
    app = (
        create_app(settings, pace_seconds=settings.demo_pace_seconds, demo_user=DEMO_USER)
        if demo
        else create_app(settings)
    )
    stop = runner.stop_requested()
    # Before anybody can connect: another process may still hold the history, and is waited for.
    await open_history(app)
    place = Place.own(settings) if inherited is None else Place.inherited(inherited)
    url = sockets.url_of(place.listener, is_tls=context is not None)
    async with contextlib.AsyncExitStack() as stack:
        if demo:
            router_url = await stack.enter_async_context(_simulated_router(settings))
            database = services(app).database

            async def fill() -> None:
                await seed(database, router_url)

            app.before_serving(fill)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        tasks.create_task(place.serve(app, stop=stop, drain=lambda: drain(app), tls=context))
        if show:
            showing = tasks.create_task(_show(url, settings.tls_certificate))
            tasks.create_task(_cancel_when(stop, showing))


@contextlib.asynccontextmanager
async def _simulated_router(settings: Settings) -> AsyncIterator[str]:
    """A router over real HTTP, for as long as the server may need it."""
    simulator = RouterSimulator(
        demo_router_entries(),
        username=settings.router_username,
        password=settings.router_password.get_secret_value(),
    )
    listener = sockets.listen(*split_bind(settings.demo_router_bind))
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runner.serve(simulator.app, listener, stop=stop, tell=None))
        try:
            yield sockets.url_of(listener)
        finally:
            stop.set()


async def _cancel_when(stop: asyncio.Event, task: asyncio.Task[None]) -> None:
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait([stopped, task], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    task.cancel()


async def _show(url: str, certificate: Path | None) -> None:
    """Run one operation and print its progress, as anybody could with the line that is printed after it."""
    import httpx  # noqa: PLC0415 - whoever only serves is no client

    # Its certificate need not name this address, nor be of an issuer that this machine knows.
    verify = True if certificate is None else tls.client_context(certificate)
    click.echo(f"wellnet-sse {__version__} at {url}, with demonstration data\n")
    click.echo("Removing connection 3, in one operation of three steps:\n")
    headers = {
        "X-User-ID": str(DEMO_USER),
        "X-Operation-ID": f"demo-{secrets.token_hex(4)}",
        "Accept": "text/event-stream",
    }
    async with (
        httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, verify=verify) as client,
        client.stream(
            "POST", "/api/conexiones/eliminar", json={"id_conexion": 3}, headers=headers
        ) as response,
    ):
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                _print_event(json.loads(line.removeprefix("data: ")))
    click.echo(
        "\nTry it yourself, in another terminal:\n\n"
        f"  curl -N '{url}/sse/progress?userId={DEMO_USER}'\n\n"
        f"  curl -N {url}/api/conexiones/eliminar -H 'X-User-ID: {DEMO_USER}' \\\n"
        "    -H 'Content-Type: application/json' -H 'Accept: text/event-stream' "
        "-d '{\"id_conexion\": 5}'\n\n"
        "Serving until Ctrl-C."
    )


def _print_event(event: dict[str, Any]) -> None:
    if "step" in event:
        number = "" if event["progress"] is None else f"{event['progress']} %"
        click.echo(f"  {number:>6}  {event['step']:<15} {event['status']:<12} {event['message']}")
    elif "outcome" in event:
        click.echo(f"\n  {event['outcome']}")
