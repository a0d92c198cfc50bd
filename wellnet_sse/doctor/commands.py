"""`doctor` looks at everything; `config` at the settings alone."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import click
from pydantic import SecretStr

from wellnet_sse.doctor import installation, reach
from wellnet_sse.doctor.findings import Finding, State
from wellnet_sse.errors import ConfigurationError
from wellnet_sse.progress.events import MAX_USER_ID, UserId
from wellnet_sse.settings import PREFIX, Settings
from wellnet_sse.terminal.options import cafile_option, token_file_option, token_of, user_type
from wellnet_sse.terminal.remote import Remote

NOBODY = UserId(MAX_USER_ID)
"""Whom nobody watches: what is tried out shows on no one's screen."""


@click.command()
@click.option("--url", help="A running server, as its readers reach it; else this installation alone.")
@click.option("--user", type=user_type, help="Who asks there; unless it is said, a number that is nobody's.")
@token_file_option
@cafile_option
def doctor(url: str | None, user: UserId | None, token_file: Path | None, cafile: Path | None) -> None:
    """Look at settings, database, history, routers and this machine, and say what to mend.

    With --url also at a running server through its proxy: whether streams, single events and WebSockets
    arrive at once. There it begins an operation, and cancels it.

    Exit code: 0 all is well, 1 something is wrong.
    """
    if not asyncio.run(_show(url, user, token_of(token_file), cafile)):
        raise SystemExit(1)


async def _show(url: str | None, user: UserId | None, token: str | None, cafile: Path | None) -> bool:
    """Print each finding when it is there; whether nothing is wrong."""
    is_well = True
    async for finding in _findings(url, user, token, cafile):
        is_well &= finding.state is not State.WRONG
        word = click.style(f"{finding.state.word:<5}", fg=finding.state.colour)
        click.echo(f"{word}  {finding.subject:<9}  {finding.seen}")
        if finding.mend:
            click.echo(f"{'':18}{finding.mend}")
    return is_well


async def _findings(
    url: str | None, user: UserId | None, token: str | None, cafile: Path | None
) -> AsyncIterator[Finding]:
    async for finding in installation.examine(os.environ):
        yield finding
    if url is None:
        return
    if user is None and token is None:
        user = NOBODY
    async with Remote(url, user_id=user, token=token, cafile=cafile) as remote:
        async for finding in reach.examine(remote):
            yield finding


@click.group()
def config() -> None:
    """Read the settings as `serve` does."""


@config.command()
def check() -> None:
    """Say whether the settings can be used; exit code 1 if not."""
    _settings()
    click.echo("The settings can be used.")


@config.command()
def show() -> None:
    """Each setting, its value, and whether that is from the environment. Secrets are not shown."""
    settings = _settings()
    for name in Settings.model_fields:
        variable = f"{PREFIX}{name.upper()}"
        source = "environment" if variable in os.environ else "default"
        click.echo(f"{variable:<34} {source:<12} {_shown(getattr(settings, name))}".rstrip())


def _settings() -> Settings:
    try:
        return installation.read_settings(os.environ)
    except ConfigurationError as error:
        raise click.ClickException(error.detail) from error


def _shown(value: object) -> str:
    """A value for the eye; of a secret no more than what an address has without its password."""
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return _shown_secret(value.get_secret_value())
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value)


def _shown_secret(text: str) -> str:
    if "://" not in text:
        return "(hidden)" if text else ""
    try:
        parts = urlsplit(text)
    except ValueError:
        return "(hidden)"
    _, at, host = parts.netloc.rpartition("@")
    hidden = "(hidden)@" if at else ""
    query = "?(hidden)" if parts.query or parts.fragment else ""
    return f"{parts.scheme}://{hidden}{host}{parts.path}{query}"
