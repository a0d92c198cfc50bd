"""`wellnet-sse serve` that kills itself: at the N-th boundary of its work, with SIGKILL.

Run as a script. A boundary is the moment before, or after, one thing that outlives the process: a commit of
the history, a call to a router, a claim or an answer that is stored, a write of a pending clean-up, a write
to the business tables. `BOUNDARIES` names a file to which each is appended, one a line, as it is reached;
`DIES_AT` is the one at which to die, by its number (from 1) or by its name: it is the file's last line then.

Nothing of the product knows of this: its methods are wrapped here, from outside.
"""

import functools
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from wellnet_sse.brokers.sql.store import Store, Writes
from wellnet_sse.cli import main
from wellnet_sse.provisioning.answers import AnswerKey, Answers
from wellnet_sse.provisioning.cleanups import Cleanups
from wellnet_sse.provisioning.removal import Removals
from wellnet_sse.provisioning.rest import Rest

Method = Callable[..., Awaitable[Any]]


class Boundaries:
    """Counts them, writes them down, and ends the process at the one that was asked for."""

    def __init__(self, path: Path, dies_at: str | None) -> None:
        self._path = path
        self._dies_at = dies_at
        self._count = 0

    def reach(self, name: str) -> None:
        """This is one."""
        self._count += 1
        with self._path.open("a") as file:
            file.write(f"{name}\n")
        if self._dies_at in {name, str(self._count)}:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: type, method: str, name: Callable[..., str]) -> None:
        """Let `owner.method` have one before and one after it; `name` is given its arguments."""
        inner: Method = getattr(owner, method)

        @functools.wraps(inner)
        async def wrapped(self: object, *args: Any, **kwargs: Any) -> Any:
            named = name(*args, **kwargs)
            boundaries.reach(f"before {named}")
            result = await inner(self, *args, **kwargs)
            boundaries.reach(f"after {named}")
            return result

        setattr(owner, method, wrapped)


def commit(writes: Writes) -> str:
    """Name a commit by what it tells: steps, statuses and outcomes, or nothing where only state moves on."""
    told = [" ".join(str(it) for it in (row[3], row[4], row[6]) if it is not None) for row in writes.entries]
    return f"commit [{', '.join(told)}]"


def call(method: str, url: str, _query: object) -> str:
    """Name a call to the router; entries' ids are left out."""
    return f"router {method} {url.partition('/rest/')[2].partition('/*')[0]}"


def stored(verb: str) -> Callable[..., str]:
    """Name what is done to an answer."""

    def name(key: AnswerKey, *_: object, **__: object) -> str:
        return f"{verb} {key.step}"

    return name


def plain(name: str) -> Callable[..., str]:
    """Name what has one name."""
    return lambda *_args, **_kwargs: name


if __name__ == "__main__":
    boundaries = Boundaries(Path(os.environ["BOUNDARIES"]), os.environ.get("DIES_AT"))
    boundaries.around(Store, "commit", commit)
    boundaries.around(Rest, "call", call)
    boundaries.around(Answers, "claim", stored("claim"))
    boundaries.around(Answers, "finish", stored("answer"))
    for write in ("begin", "confirm", "postpone", "hurry", "resolve"):
        boundaries.around(Cleanups, write, plain(f"clean-up {write}"))
    boundaries.around(Removals, "_delete", lambda statement: f"delete {statement.table.name}")
    main(["serve", *sys.argv[1:]])
