"""`publish`: a step of an operation, from a shell script."""

import functools
import secrets
from urllib.parse import quote

import click

from wellnet_sse.progress.events import Status
from wellnet_sse.terminal.exits import Exit, StrangerError
from wellnet_sse.terminal.options import Address, complete, of_server, operation_id, step_name
from wellnet_sse.terminal.remote import body_of, insist


@click.command(epilog="Exit code: 0 when the event is kept, 1 refused, 2 wrong usage, 7 unreachable.")
@click.argument("operation", type=operation_id)
@click.argument("step", type=step_name)
@click.argument("status", type=click.Choice([status.value for status in Status]))
@click.option("--progress", type=click.IntRange(0, 100), help="From 0 to 100.")
@click.option("--message", default="", help="A sentence for the person who waits.")
@of_server
def publish(
    *, operation: str, step: str, status: str, progress: int | None, message: str, address: Address
) -> None:
    """Publish that STEP of OPERATION is at STATUS, and return once that is kept.

    While the server is away it is tried again; it is one event, however often.
    """
    body: dict[str, object] = {"status": status, "message": message, "progress": progress}
    complete(_publish(address, f"/api/operaciones/{quote(operation)}/pasos/{quote(step)}", body))


async def _publish(address: Address, path: str, body: dict[str, object]) -> Exit:
    async with address.remote() as remote:
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        attempt = functools.partial(remote.ask, "POST", path, json=body, headers=headers)
        response = await insist(attempt, address.patience, functools.partial(click.echo, err=True))
    if response.status_code != 201 or "cursor" not in await body_of(response):
        raise StrangerError
    return Exit.COMPLETED
