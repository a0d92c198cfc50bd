"""How a command ends: what a script may rely on."""

from enum import IntEnum

import click

from wellnet_sse.progress.events import Outcome


class Exit(IntEnum):
    """Exit codes. 2 is click's own, for a command line that cannot be understood."""

    COMPLETED = 0
    REFUSED = 1
    FAILED = 3
    CANCELLED = 4
    INTERRUPTED = 5
    EXPIRED = 6
    UNREACHABLE = 7
    LOST = 8
    CTRL_C = 130
    TERMINATED = 143

    @classmethod
    def of(cls, outcome: str) -> "Exit":
        """The exit code of an operation's outcome; one that this version does not know counts as failed."""
        return _OF_OUTCOMES.get(outcome, cls.FAILED)


_OF_OUTCOMES: dict[str, Exit] = {
    Outcome.COMPLETED: Exit.COMPLETED,
    Outcome.FAILED: Exit.FAILED,
    Outcome.CANCELLED: Exit.CANCELLED,
    Outcome.INTERRUPTED: Exit.INTERRUPTED,
    Outcome.EXPIRED: Exit.EXPIRED,
}

EXITS = """\b
Exit code: 0 completed, 3 failed, 4 cancelled, 5 interrupted, 6 expired,
7 the server could not be reached, 8 its history of the operation is gone,
1 refused, 2 wrong usage, 130 Ctrl-C."""
"""The same, for `--help`."""


class RefusedError(click.ClickException):
    """The server said no, and would say it again."""

    exit_code = Exit.REFUSED


class StrangerError(RefusedError):
    """Somebody else's server answers there: a proxy's page, or another application."""

    def __init__(self) -> None:
        super().__init__("What answers at --url is no wellnet-sse server")


class UnreachableError(click.ClickException):
    """Nobody answered for as long as we were to wait."""

    exit_code = Exit.UNREACHABLE


class LostError(click.ClickException):
    """The operation was there, and the server's history does not know it any more."""

    exit_code = Exit.LOST
