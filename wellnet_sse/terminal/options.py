"""What the commands that speak with a server have in common."""

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click

from wellnet_sse.progress.events import UserId, is_operation_id, is_step_name, parse_user_id
from wellnet_sse.terminal.exits import Exit
from wellnet_sse.terminal.remote import Patience, Remote

DEFAULT_URL = "http://127.0.0.1:4440"
PATIENCE_SECONDS = 60.0
CANCEL_AGAIN_SECONDS = 0.1
TOKEN_VARIABLE = "WELLNET_TOKEN"  # noqa: S105 - a name

Function = TypeVar("Function", bound=Callable[..., Any])


def checked(parse: Callable[[str], object], rule: str) -> Callable[[str], object]:
    """A type for click, out of what gives None or False for a text that breaks the `rule`."""

    def convert(text: str) -> object:
        value = parse(text)
        if value is None or value is False:
            raise click.BadParameter(f"must be {rule}")
        return text if value is True else value

    convert.__name__ = "text"
    return convert


user_type = checked(parse_user_id, "a number from 1 to 2^63-1")
operation_id = checked(is_operation_id, "1 to 128 of A-Z a-z 0-9 . _ : -")
step_name = checked(is_step_name, "1 to 64 of A-Z a-z 0-9 . _ : -")

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
cafile_option = click.option(
    "--cafile", type=_file, help="Certificate in PEM that the server is to be trusted by."
)
token_file_option = click.option(
    "--token-file",
    type=_file,
    help=f"Holds the token that names the user; else {TOKEN_VARIABLE} does. All can read a command line.",
)


def token_of(file: Path | None) -> str | None:
    """The token of `file`, else of the environment; None where there is none. Raises UsageError."""
    try:
        words = (os.environ.get(TOKEN_VARIABLE, "") if file is None else file.read_text()).split()
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{file} cannot be read as text") from error
    if file is None and not words:
        return None
    if len(words) != 1 or not words[0].isascii():
        raise click.UsageError(f"{file or TOKEN_VARIABLE} holds no token")
    return words[0]


class Address:
    """Which server, who asks, and how long it is waited for: what the options of `of_server` say."""

    def __init__(
        self,
        url: str,
        user_id: UserId | None,
        token_file: Path | None,
        cafile: Path | None,
        patience_seconds: float,
    ) -> None:
        token = token_of(token_file)
        if user_id is None and token is None:
            raise click.UsageError(f"Say who asks: --user, --token-file or {TOKEN_VARIABLE}.")
        self.patience = Patience(patience_seconds)
        self.remote = functools.partial(Remote, url, user_id=user_id, token=token, cafile=cafile)
        """Makes the server's `Remote`."""


def of_server(function: Function) -> Function:
    """Add the options of a server; `function` gets them as `address`."""

    @functools.wraps(function)
    def command(
        url: str,
        user: UserId | None,
        token_file: Path | None,
        cafile: Path | None,
        patience: float,
        **others: Any,
    ) -> None:
        function(address=Address(url, user, token_file, cafile, patience), **others)

    for option in (
        click.option(
            "--patience",
            metavar="SECONDS",
            type=click.FloatRange(min=0),
            default=PATIENCE_SECONDS,
            show_default=True,
            help="Give up after so long without an answer; 0 never.",
        ),
        cafile_option,
        token_file_option,
        click.option("--user", type=user_type, help="Who asks."),
        click.option("--url", default=DEFAULT_URL, show_default=True, help="Where the server is."),
    ):
        command = option(command)
    return command  # type: ignore[return-value]  # click's options change the signature


def complete(work: Coroutine[Any, Any, Exit]) -> None:
    """Run `work` and end with what it gives; Ctrl-C and SIGTERM let it put the terminal right before."""
    sys.exit(asyncio.run(_unless_asked_to_end(work)))


async def _unless_asked_to_end(work: Coroutine[Any, Any, Exit]) -> Exit:
    loop = asyncio.get_running_loop()
    asked: asyncio.Future[Exit] = loop.create_future()

    def end(exit_: Exit) -> None:
        if not asked.done():
            asked.set_result(exit_)

    def ask(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # the second one ends it at once, whatever it is busy with
        loop.call_soon_threadsafe(end, Exit.CTRL_C if number == signal.SIGINT else Exit.TERMINATED)

    # Not as exceptions, which could be raised where nobody hears them; and also where a shell had them
    # ignored, as it does for what it runs with `&`.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    task = loop.create_task(work)
    await asyncio.wait([task, asked], return_when=asyncio.FIRST_COMPLETED)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    # A cancellation can be lost in what is waited for, and asyncio's own end would wait for ever.
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for one in others:
            one.cancel()
        await asyncio.wait(others, timeout=CANCEL_AGAIN_SECONDS)
    error = None if task.cancelled() else task.exception()
    if asked.done():
        return asked.result()
    if error is not None:
        raise error
    return task.result()
