"""`wellnet-sse`: its commands, each of which lives in a module of its own."""

from importlib import import_module

import click

from wellnet_sse import __version__

COMMANDS = {
    "config": "doctor.commands",
    "demo": "serve_command",
    "doctor": "doctor.commands",
    "publish": "terminal.publishing",
    "run": "terminal.watching",
    "serve": "serve_command",
    "token": "token_command",
    "watch": "terminal.watching",
}
"""Where each is, under its own name."""


class _Commands(click.Group):
    """Imports only the command that is asked for: a client need not wait for what makes a server."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"wellnet_sse.{COMMANDS[cmd_name]}"), cmd_name)
        return command


@click.group(cls=_Commands)
@click.version_option(__version__, prog_name="wellnet-sse")
def main() -> None:
    """Live progress of long operations: SSE, a WebSocket shim and curl."""
