"""What was told as bars, redrawn in place: for people at a terminal.

Rich is imported where this module is, and this module only where bars are drawn.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from wellnet_sse.terminal.following import Stalled, Told, Waiting
from wellnet_sse.terminal.lines import printable, waiting
from wellnet_sse.terminal.story import OperationStory, StepStory, Story

REFRESH_PER_SECOND = 8
BAR_WIDTH = 24
_STYLES = {
    "pending": "dim",
    "in_progress": "cyan",
    "completed": "green",
    "error": "red",
    "failed": "red",
    "cancelled": "yellow",
    "interrupted": "magenta",
    "expired": "yellow",
}
_MARKS = {"pending": "·", "completed": "✔", "error": "✘"}


class Bars:
    """The operations of `story` that have not ended, each step with its bar; ended ones stay above them."""

    def __init__(
        self,
        story: Story,
        *,
        console: Console | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._story = story
        self._now = now
        self._console = console or Console()
        self._spinner = Spinner("dots", style="cyan")
        self._connection: Told | Waiting | None = None
        self._left: set[str] = set()
        # Drawn by a task of ours: Rich's own thread would read the story while it is written.
        self._live = Live(get_renderable=self._draw, console=self._console, auto_refresh=False)

    async def __aenter__(self) -> Self:
        self._live.start(refresh=True)
        self._ticking = asyncio.create_task(self._tick(), name="bars")
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._ticking.cancel()
        self._live.stop()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1 / REFRESH_PER_SECOND)
            self._live.refresh()

    def show(self, told: Told | Waiting | Stalled, story: OperationStory | None) -> None:
        """Draw it with the next picture."""
        if isinstance(told, Stalled):
            return  # it is drawn with its step
        if isinstance(told, Waiting) or told.event in {"live", "progress", "operation"}:
            self._connection = told
        if isinstance(told, Told) and told.event == "gap":
            self._live.console.print(Text("some events are gone; what follows is the state", style="yellow"))
        if story is not None and story.outcome is None:
            self._left.discard(story.operation_id)
        elif story is not None and story.operation_id not in self._left:
            # What has ended is printed once and scrolls away; what goes on is drawn below it.
            self._left.add(story.operation_id)
            self._live.console.print(self._operation(story))

    def _draw(self) -> RenderableType:
        going_on = (one for one in self._story.operations.values() if one.operation_id not in self._left)
        return Group(*map(self._operation, going_on), *self._status())

    def _status(self) -> Iterator[RenderableType]:
        if isinstance(self._connection, Waiting):
            yield Text(waiting(self._connection), style="yellow")
        elif self._connection is None:
            yield Text("connecting...", style="dim")
        elif not self._story.operations:
            yield Text("nothing has happened yet", style="dim")

    def _operation(self, story: OperationStory) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        table.add_column(width=1)
        table.add_column(no_wrap=True)
        table.add_column(width=BAR_WIDTH)
        table.add_column(width=5, justify="right")
        table.add_column(overflow="fold")
        status = story.outcome or "in_progress"
        for name, step in story.steps.items():
            mark = self._mark(step, is_over=story.outcome is not None)
            table.add_row(mark, printable(name), *_bar(step.status, step.progress), _message(step))
        end = story.updated if story.outcome else max(self._now(), story.updated)
        told = Text.assemble((story.outcome or "in all", _style(status)), f"  {_elapsed(end - story.began)}")
        told.append(self._left_over(story), "dim")
        table.add_row("", "", *_bar(status, story.progress), told)
        return Group(Text(printable(story.operation_id), style="bold"), table)

    def _left_over(self, story: OperationStory) -> str:
        """How long it still takes, as far as anybody can tell."""
        if story.outcome is not None or story.ends is None:
            return ""
        median, latest = (end - self._now() for end in story.ends)
        if latest <= 0:
            return ""
        return (
            f"  about {_elapsed(median)} left" if median >= 1 else f"  less than {_elapsed(latest + 1)} left"
        )

    def _mark(self, step: StepStory, *, is_over: bool) -> RenderableType:
        if step.status == "in_progress" and not is_over:
            return self._spinner
        return Text(_MARKS.get(step.status, "·"), style=_style(step.status))


def _bar(status: str, progress: int | None) -> tuple[RenderableType, Text]:
    """The bar and its number; one that moves by itself where there is no number."""
    style = _style(status)
    if progress is None and status == "in_progress":
        return ProgressBar(pulse=True, width=BAR_WIDTH, pulse_style=style), Text("")
    bar = ProgressBar(completed=progress or 0, width=BAR_WIDTH, complete_style=style, finished_style=style)
    return bar, Text("" if progress is None else f"{progress} %")


def _message(step: StepStory) -> Text:
    text = Text(printable(step.message), style=_style(step.status) if step.status == "error" else "")
    return text.append("  silent for longer than usual", "yellow") if step.is_stalled else text


def _style(status: str) -> str:
    return _STYLES.get(status, "")


def _elapsed(seconds: float) -> str:
    minutes, rest = divmod(max(int(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
