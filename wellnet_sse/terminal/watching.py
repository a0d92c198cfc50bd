"""`watch` follows operations; `run` starts one and follows it."""

import asyncio
import secrets
import sys
from typing import Any, Protocol, Self

import click

from wellnet_sse.terminal.exits import EXITS, Exit
from wellnet_sse.terminal.following import Following, Stalled, Start, Told, Waiting
from wellnet_sse.terminal.foreseeing import foresee
from wellnet_sse.terminal.lines import JsonLines, PlainLines
from wellnet_sse.terminal.options import Address, complete, of_server, operation_id
from wellnet_sse.terminal.story import OperationStory, Story


class Screen(Protocol):
    """Where what happens is shown; `async with` it."""

    def show(self, told: Told | Waiting | Stalled, story: OperationStory | None) -> None:
        """Show it; `story` is the operation that it is about."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *error: object) -> None: ...


as_json = click.option("--json", "is_json", is_flag=True, help="Each event as one line of JSON.")


@click.command(epilog=EXITS)
@click.argument("operation", type=operation_id, required=False)
@click.option("--all", "is_all", is_flag=True, help="All operations of the user, until Ctrl-C.")
@as_json
@of_server
def watch(operation: str | None, is_all: bool, is_json: bool, address: Address) -> None:
    """Follow OPERATION to its end, which is also the exit code.

    Bars on a terminal, lines in a pipe. A lost connection is made again, and nothing is shown twice.
    """
    if is_all == bool(operation):
        raise click.UsageError("Name an operation, or say --all.")
    complete(follow(address, operation, is_json=is_json))


@click.group(epilog=EXITS)
def run() -> None:
    """Start work on the server and follow it to its end, which is also the exit code.

    The work is the server's: Ctrl-C ends the following, and not the work.
    """


def _work(name: str, path: str, told: str, **fields: type) -> None:
    """Add the command `run NAME`, which sends `fields` to `path`."""

    def command(operation: str | None, is_json: bool, address: Address, **body: Any) -> None:
        one = operation or f"{name}-{secrets.token_hex(6)}"
        complete(follow(address, one, is_json=is_json, start=Start(path, body, is_new=operation is None)))

    command = of_server(as_json(command))
    command = click.option(
        "--operation", type=operation_id, help="The operation's id; a new one unless it is said."
    )(command)
    for field, kind in reversed(fields.items()):
        command = click.option(f"--{field.replace('_', '-')}", field, type=kind, required=True)(command)
    run.command(name, help=told, epilog=EXITS)(command)


_work("quitar-asignacion", "/api/conexiones/quitar-asignacion", "Take the service away.", id_conexion=int)
_work(
    "quitar-conexion", "/api/routers/quitar-conexion", "Take an address out of its router.", direccion_ip=str
)
_work(
    "eliminar-configuracion",
    "/api/configuracion/eliminar",
    "Delete the configuration of a customer's connection.",
    id_conexion=int,
    id_usuario=int,
)
_work("eliminar", "/api/conexiones/eliminar", "All three, as one operation.", id_conexion=int)


async def follow(
    address: Address, operation: str | None, *, is_json: bool, start: Start | None = None
) -> Exit:
    """Show what happens, to the end of `operation`; without one, for ever."""
    story = Story()
    async with address.remote() as remote:
        following = Following(remote, operation, patience=address.patience, start=start)
        async with _screen(story, following, is_json=is_json, several=operation is None) as screen:
            ahead = None if is_json else asyncio.create_task(foresee(remote, operation, story, screen.show))
            try:
                async for told in following.events():
                    screen.show(told, story.hear(told) if isinstance(told, Told) else None)
                    if isinstance(told, Told) and told.final:
                        return Exit.of(told.data["outcome"])
            finally:
                if ahead is not None:
                    ahead.cancel()
    raise AssertionError("what is followed ends with its ending, or with an error")


def _screen(story: Story, following: Following, *, is_json: bool, several: bool) -> Screen:
    if is_json:
        return JsonLines()
    if not sys.stdout.isatty():
        return PlainLines(several=several)
    from wellnet_sse.terminal.bars import Bars  # noqa: PLC0415 - Rich takes a while, and lines need it not

    return Bars(story, now=following.server_time)
