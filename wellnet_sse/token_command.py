"""`wellnet-sse token`: a token that the server takes, made from the server's own settings."""

import os
from pathlib import Path

import click

from wellnet_sse.errors import ConfigurationError
from wellnet_sse.identity.keys import Keys
from wellnet_sse.identity.minting import mint
from wellnet_sse.identity.tokens import Scope, is_service
from wellnet_sse.progress.events import MAX_USER_ID
from wellnet_sse.settings import Settings

LONGEST_MINUTES = 366 * 24 * 60


@click.command()
@click.option("--user", type=click.IntRange(1, MAX_USER_ID), help="The person that it is for.")
@click.option("--service", metavar="NAME", help="Or the service: a name of a-z 0-9 . _ -, a letter first.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="May be repeated.",
)
@click.option("--minutes", type=click.IntRange(1, LONGEST_MINUTES), default=60, show_default=True)
@click.option(
    "--private-key",
    type=click.Path(path_type=Path),
    help="PEM file that signs it, where the settings have public keys.",
)
def token(
    user: int | None, service: str | None, scopes: tuple[str, ...], minutes: int, private_key: Path | None
) -> None:
    """Print a token; the settings are those of the server."""
    if (user is None) == (service is None):
        raise click.UsageError("name a person with --user, or a service with --service")
    if service is not None and not is_service(service):
        raise click.BadParameter("1 to 64 of a-z 0-9 . _ -, a letter first", param_hint="--service")
    if service is not None and set(scopes) != {Scope.PUBLISH}:
        raise click.UsageError("a service may publish, and nothing else: --scope publish")
    try:
        settings = Settings.from_environment(os.environ)
        minted = mint(
            Keys.read(settings),
            subject=str(user) if service is None else service,
            scopes=[Scope(scope) for scope in scopes],
            audience=settings.token_audience,
            seconds=minutes * 60,
            private_key=private_key,
        )
    except ConfigurationError as error:
        raise click.ClickException(error.detail) from error
    click.echo(minted)
