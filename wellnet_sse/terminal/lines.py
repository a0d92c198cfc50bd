"""What was told as lines: for people who read a pipe or a log, and as JSON for programs."""

import json
import re
from typing import Self

import click

from wellnet_sse.terminal.following import Stalled, Told, Waiting
from wellnet_sse.terminal.story import OperationStory

_CONTROL = re.compile("[\0-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """`text` without what would steer a terminal: messages come from whoever may publish."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def waiting(told: Waiting) -> str:
    """One sentence about a lost connection."""
    return printable(f"{told.reason}; trying again in {told.seconds:.1f} s")


class JsonLines:
    """Each event as one line, in the form of `wellnet.progress.v2`; trouble on stderr."""

    def show(self, told: Told | Waiting | Stalled, _story: OperationStory | None) -> None:
        """Write it down."""
        if isinstance(told, Waiting):
            click.echo(waiting(told), err=True)
        if not isinstance(told, Told):
            return
        message = {"event": told.event, "id": told.id, "data": told.data}
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        click.echo(_CONTROL.sub(lambda control: f"\\u{ord(control[0]):04x}", text))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        return


class PlainLines:
    """Each event as a line for the eye; with `several` each names its operation. Trouble on stderr."""

    def __init__(self, *, several: bool) -> None:
        self._several = several

    def show(self, told: Told | Waiting | Stalled, _story: OperationStory | None) -> None:
        """Write it down."""
        if isinstance(told, Waiting):
            click.echo(waiting(told), err=True)
        elif isinstance(told, Stalled):
            name = f"{told.operation_id}: {told.step}" if self._several else told.step
            click.echo(printable(f"{name} is silent for longer than usual"), err=True)
        elif told.event == "gap":
            click.echo("some events are gone; what follows is the state", err=True)
        elif told.event in {"progress", "operation"}:
            click.echo(printable(self._line(told)))

    def _line(self, told: Told) -> str:
        data = told.data
        clock = str(data.get("timestamp", ""))[11:19]
        begin = f"{clock:8}  {data['operation_id']}  " if self._several else f"{clock:8}  "
        if told.event == "operation":
            return f"{begin}{data['outcome']}"
        number = "" if data["progress"] is None else f"{data['progress']} %"
        return f"{begin}{data['step']:<16} {data['status']:<12} {number:>5}  {data['message']}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        return
