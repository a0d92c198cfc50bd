"""An operation without a broker: changes are applied as a broker applies them, and their entries kept."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from wellnet_sse.errors import WellnetError
from wellnet_sse.progress.events import Ending, Event, Outcome, Status
from wellnet_sse.progress.operation import Entry, Operation

PENDING, IN_PROGRESS, COMPLETED, ERROR = Status


def told(entries: Sequence[Entry]) -> list[tuple[str, Status, int | None] | Outcome]:
    """What the entries say, without messages and times."""
    return [e.outcome if isinstance(e, Ending) else (e.step, e.status, e.progress) for e in entries]


class Story:
    """An operation, the time, and all that its changes wrote.

    Each refused change is checked here to leave no trace, so every test of a refusal is a test of that too.
    """

    def __init__(self) -> None:
        self.operation = Operation("op")
        self.at_ms = 1_000_000
        self.log: list[Entry] = []

    def do(self, change: Callable[..., Sequence[Entry]], **arguments: Any) -> list[Entry]:
        """Apply `change` (a method of `Operation`), and return what it added to the log."""
        before = deepcopy(self.operation)
        try:
            entries = list(change(self.operation, self.at_ms, **arguments))
        except WellnetError:
            assert self.operation == before, "a refused change left a trace"
            raise
        for entry in entries:
            self.log.append(entry)
            self.operation.placed(entry, len(self.log))
        return entries

    def name(self, *steps: str) -> list[Entry]:
        return self.do(Operation.name, steps=steps)

    def update(
        self,
        step: str,
        status: Status = IN_PROGRESS,
        progress: int | None = None,
        *,
        run: str | None = None,
        message: str = "m",
    ) -> list[Entry]:
        return self.do(
            Operation.update, step=step, status=status, message=message, progress=progress, run_id=run
        )

    def stop(self) -> list[Entry]:
        return self.do(Operation.stop)

    def cancel(self) -> list[Entry]:
        return self.do(Operation.cancel)

    def begin_run(
        self, run: str, *steps: str, ends: bool | None = True, plan: tuple[str, ...] = ()
    ) -> list[Entry]:
        return self.do(Operation.begin_run, run_id=run, holder="process", ends=ends, steps=steps, plan=plan)

    def enter(self, run: str, step: str) -> list[Entry]:
        return self.do(Operation.enter_step, run_id=run, step=step)

    def finish(self, run: str, *, failed: bool = False) -> list[Entry]:
        return self.do(Operation.finish_run, run_id=run, failure="Error: it failed" if failed else None)

    def interrupt(self, *runs: str) -> list[Entry]:
        return self.do(Operation.interrupt, run_ids=runs, message="{} cut".format)

    def expire(self, *, idle_ms: int = 60_000, silence_ms: int = 900_000) -> list[Entry]:
        return self.do(Operation.expire, idle_ms=idle_ms, silence_ms=silence_ms)

    @property
    def outcome(self) -> Outcome | None:
        return self.operation.outcome

    def last(self, step: str) -> Event:
        """The step's state, out of the log alone."""
        return next(e for e in reversed(self.log) if isinstance(e, Event) and e.step == step)
