"""The operation: a state machine without I/O that holds to protocol §5.

Its methods are the changes that may happen to it. Each takes the time, checks, and only then changes the
state; it returns the entries which that change adds to the log, so a refused change leaves no trace. A broker
runs a change where it is atomic (a dict, a transaction, a script), which is what makes the rules hold when
two processes publish at once.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from wellnet_sse.errors import (
    NotFoundError,
    OperationCancelledError,
    OperationEndedError,
    RunLostError,
    StepCompletedError,
    TooManyStepsError,
)
from wellnet_sse.progress.events import MAX_STEPS, Ending, Event, Outcome, Status
from wellnet_sse.progress.step import Run, Step, begins_attempt

Entry = Event | Ending

PENDING, IN_PROGRESS, COMPLETED, ERROR = Status  # Python 3.11 looks members up slowly, and it is often

PENDING_MESSAGE = "Pendiente"
CANCELLED_MESSAGE = "Cancelado por el usuario"
SILENT_MESSAGE = "Interrumpido: el paso {step} dejó de informar y no se sabe si terminó"


@dataclass(slots=True)
class Operation:
    """A user's long job: its steps in the order of their first events, what runs, and how it ended."""

    operation_id: str
    steps: dict[str, Step] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    outcome: Outcome | None = None
    """How it ended; None while it has not."""
    cancelling: bool = False
    """`cancelar` was asked for. It stays: nothing re-opens a cancelled operation."""
    closing: bool = False
    """It ends as soon as nothing runs: it was stopped, or its block is over."""
    failed: bool = False
    """A run was left by an exception."""
    started_ms: int | None = None
    updated_ms: int = 0
    finished_ms: int | None = None
    first_seq: int = 0
    """The place of its first entry; 0 before one."""
    last_seq: int = 0
    """The place of its last entry; 0 before one."""
    ending: Ending | None = None
    """Its latest ending, also after a re-opening."""
    ending_seq: int = 0
    noted_ms: int | None = field(default=None, compare=False)
    """A broker's own: when an index of what is active last noted it; no part of its state."""

    @property
    def begun(self) -> bool:
        """Whether anybody named it yet."""
        return self.started_ms is not None

    @property
    def declared(self) -> bool:
        """Whether at least one step was announced."""
        return any(step.declared for step in self.steps.values())

    @property
    def in_step(self) -> bool:
        """Whether somebody is in the middle of a step."""
        return any(step.event.status is IN_PROGRESS for step in self.steps.values())

    @property
    def progress(self) -> int | None:
        """The mean of the declared steps, null counting as 0, rounded down; None while undeclared."""
        numbers = [step.event.progress or 0 for step in self.steps.values() if step.declared]
        return sum(numbers) // len(numbers) if numbers else None

    # Changes: what anybody may ask for

    def name(self, at_ms: int, *, steps: Iterable[str] = ()) -> Sequence[Entry]:
        """Begin it, or name it again, which may declare steps that are new.

        Once it has ended this changes nothing at all. Raises TooManyStepsError.
        """
        if self.outcome is not None:
            return ()
        entries = self._announce(at_ms, steps)
        if entries or not self.begun:
            self._begin(at_ms)
        return entries

    def update(
        self,
        at_ms: int,
        *,
        step: str,
        status: Status,
        message: str,
        progress: int | None = None,
        run_id: str | None = None,
        place: str = "",
    ) -> Sequence[Entry]:
        """Publish a step's state; `run_id` tells the server's own work from a publisher's.

        `place`: see `Step`. Raises StepCompletedError, OperationCancelledError, TooManyStepsError, and
        RunLostError where the run was taken for dead.
        """
        self._admit(step, run_id)
        current = self.steps.get(step)
        if current is None:
            self._check_room(1)
            attempt, floor, declared = 1, 0, status is PENDING
        else:
            before = current.event.status
            if before is COMPLETED and status is not PENDING:
                raise StepCompletedError(f"El paso {step} ya está completado")
            attempt, floor, declared = current.attempt, current.floor, current.declared
            if begins_attempt(before, status):
                attempt, floor = attempt + 1, 0
        if status is ERROR:
            progress = 0
        elif progress is None:
            progress = 100 if status is COMPLETED else None
        if progress is not None and status is not ERROR:
            progress = floor = max(progress, floor)
        event = Event(self.operation_id, step, status, message, progress, at_ms)
        if self.outcome is not None:
            self._reopen()
        self._begin(at_ms)
        if current is None:
            current = self.steps[step] = Step(event, declared, attempt, floor, 0, run_id)
        else:
            current.timed(at_ms, is_new_attempt=attempt != current.attempt)
            current.event, current.attempt, current.floor, current.run = event, attempt, floor, run_id
        if current.began_ms is None and status is IN_PROGRESS:
            current.began_ms = at_ms
        current.place = place or current.place
        if status is COMPLETED and not self.runs:
            return (event, *self._end_if_due(at_ms))
        return (event,)

    def stop(self, at_ms: int) -> Sequence[Entry]:
        """End it as soon as nothing runs; ended already, nothing changes. Raises NotFoundError."""
        self._check_begun()
        if self.outcome is not None:
            return ()
        self.closing = True
        return self._end_if_due(at_ms)

    def cancel(self, at_ms: int) -> Sequence[Entry]:
        """Begin nothing more: at once on a publisher's step, between steps on the server's own.

        Raises NotFoundError, and OperationEndedError where it has ended.
        """
        self._check_begun()
        if self.outcome is not None:
            raise OperationEndedError("La operación ya terminó")
        self.cancelling = True
        entries = [
            self._fail_step(at_ms, name, CANCELLED_MESSAGE)
            for name, step in self.steps.items()
            if step.event.status is IN_PROGRESS and step.run not in self.runs
        ]
        return (*entries, *self._end_if_due(at_ms))

    def close_undeclared(self, at_ms: int) -> Sequence[Entry]:
        """End it as soon as nothing runs, if no step of it is declared: its one step is all there is."""
        if self.outcome is not None or not self.begun or self.declared:
            return ()
        self.closing = True
        return self._end_if_due(at_ms)

    # Changes: what the server's own work does

    def begin_run(
        self,
        at_ms: int,
        *,
        run_id: str,
        holder: str,
        ends: bool | None = None,
        steps: Iterable[str] = (),
        plan: tuple[str, ...] = (),
    ) -> Sequence[Entry]:
        """Count `run_id` as running; re-opens an ended operation.

        `steps` are declared. `plan`: see `Run`. `ends` says whether the operation ends with the run; None: if
        it is undeclared by then. Raises OperationCancelledError and TooManyStepsError.
        """
        self._check_not_cancelled()
        entries = self._announce(at_ms, steps)
        if self.outcome is not None:
            self._reopen()
        self._begin(at_ms)
        self.runs[run_id] = Run(run_id, holder, not self.declared if ends is None else ends, plan)
        return entries

    def enter_step(self, at_ms: int, *, run_id: str, step: str) -> Sequence[Entry]:
        """Let `run_id` begin `step`; a completed one is announced again, as its next attempt.

        Raises OperationCancelledError (this is "between steps"), RunLostError and TooManyStepsError.
        """
        run = self._run(run_id)
        self._check_not_cancelled()
        current = self.steps.get(step)
        if current is None:
            self._check_room(1)
        run.step = step
        if current is None:
            return ()
        if current.event.status is COMPLETED:
            return self.update(
                at_ms, step=step, status=PENDING, message=PENDING_MESSAGE, progress=0, run_id=run_id
            )
        current.run = run_id
        return ()

    def finish_run(self, at_ms: int, *, run_id: str, failure: str | None = None) -> Sequence[Entry]:
        """The run is over; `failure` says of what, where an exception left it.

        A step of it that could not say so itself is told with that. A run that was lost changes nothing.
        """
        run = self.runs.pop(run_id, None)
        if run is None:
            return ()
        entries = [
            self._fail_step(at_ms, name, failure)
            for name, step in self.steps.items()
            if failure is not None and self.outcome is None
            if step.run == run_id and step.event.status is IN_PROGRESS
        ]
        self.closing = self.closing or run.ends
        self.failed = self.failed or failure is not None
        return (*entries, *self._end_if_due(at_ms))

    # Changes: what time and death do

    def interrupt(
        self, at_ms: int, *, run_ids: Collection[str], message: Callable[[str], str]
    ) -> Sequence[Entry]:
        """These runs died: their steps say so by `message(step)`, and the operation ends at once.

        A run that had completed all of its plan is not interrupted, it is over.
        """
        dead = []
        for run in [self.runs[run_id] for run_id in run_ids if run_id in self.runs]:
            if run.plan and all(self._is_completed(name) for name in run.plan):
                self.closing = self.closing or run.ends
            else:
                dead.append(run)
            del self.runs[run.run_id]
        ids = {run.run_id for run in dead}
        hit = [n for n, s in self.steps.items() if s.run in ids and s.event.status is IN_PROGRESS]
        if self.outcome is not None and hit:
            self._reopen()  # another run's death ended it, and nothing was said of these steps
        if not dead or self.outcome is not None:
            return self._end_if_due(at_ms)
        hit += [name for run in dead if (name := self.step_in_hand(run)) is not None]
        entries = [
            self._fail_step(at_ms, name, message(name))
            for name in dict.fromkeys(hit)
            if name in self.steps or len(self.steps) < MAX_STEPS
        ]
        return (*entries, self._end(at_ms, Outcome.INTERRUPTED))

    def expire(self, at_ms: int, *, idle_ms: int, silence_ms: int) -> Sequence[Entry]:
        """End it if nothing runs and it was silent too long.

        `idle_ms` is for an operation at rest, `silence_ms` for one whose publisher is in the middle of a
        step, which is then interrupted.
        """
        if not self.begun or self.outcome is not None or self.runs:
            return ()
        silent_ms = at_ms - self.updated_ms
        running = [n for n, step in self.steps.items() if step.event.status is IN_PROGRESS]
        if running:
            if silent_ms < silence_ms:
                return ()
            entries = [self._fail_step(at_ms, name, SILENT_MESSAGE.format(step=name)) for name in running]
            return (*entries, self._end(at_ms, Outcome.INTERRUPTED))
        return (self._end(at_ms, self._outcome(Outcome.EXPIRED)),) if silent_ms >= idle_ms else ()

    def placed(self, entry: Entry, seq: int) -> None:
        """Tell the operation where the broker put an entry of its last change."""
        self.first_seq = self.first_seq or seq
        self.last_seq = seq
        if isinstance(entry, Event):
            self.steps[entry.step].seq = seq
        else:
            self.ending_seq = seq

    # The rules behind them

    def _begin(self, at_ms: int) -> None:
        if self.started_ms is None:
            self.started_ms = at_ms
        self.updated_ms = at_ms

    def _reopen(self) -> None:
        self.outcome = self.finished_ms = None
        self.closing = self.failed = False

    def _run(self, run_id: str) -> Run:
        run = self.runs.get(run_id)
        if run is None:
            raise RunLostError("Este trabajo se dio por interrumpido")
        return run

    def _admit(self, step: str, run_id: str | None) -> None:
        is_in_hand = run_id is not None and self._run(run_id).step == step
        if self.cancelling and not is_in_hand:  # a step that runs may finish, cancelled or not
            self._check_not_cancelled()

    def step_in_hand(self, run: Run) -> str | None:
        """The step that a run is at: the one it entered, or before the first and between two the next."""
        if run.step is not None and not self._is_completed(run.step):
            return run.step
        return next((name for name in run.plan or self.steps if not self._is_completed(name)), None)

    def _announce(self, at_ms: int, names: Iterable[str]) -> list[Entry]:
        new = [name for name in dict.fromkeys(names) if name not in self.steps]
        self._check_room(len(new))
        entries: list[Entry] = []
        for name in new:
            event = Event(self.operation_id, name, PENDING, PENDING_MESSAGE, 0, at_ms)
            self.steps[name] = Step(event, declared=True)
            entries.append(event)
        return entries

    def _check_begun(self) -> None:
        if not self.begun:
            raise NotFoundError("No existe esa operación")

    def _check_not_cancelled(self) -> None:
        if self.cancelling:
            raise OperationCancelledError("La operación fue cancelada; use un identificador nuevo")

    def _check_room(self, more: int) -> None:
        if len(self.steps) + more > MAX_STEPS:
            raise TooManyStepsError(f"Una operación tiene como máximo {MAX_STEPS} pasos")

    def _fail_step(self, at_ms: int, name: str, message: str) -> Event:
        event = Event(self.operation_id, name, ERROR, message, 0, at_ms)
        current = self.steps.get(name)
        if current is None:
            self.steps[name] = Step(event, declared=False)
        else:
            current.event, current.run = event, None
        self.updated_ms = at_ms
        return event

    def _end_if_due(self, at_ms: int) -> Sequence[Entry]:
        if self.outcome is not None or self.runs:
            return ()
        if self.closing or self.cancelling or (self.declared and self._all_completed()):
            return (self._end(at_ms, self._outcome(Outcome.CANCELLED)),)
        return ()

    def _is_completed(self, name: str) -> bool:
        return name in self.steps and self.steps[name].event.status is COMPLETED

    def _all_completed(self) -> bool:
        return all(step.event.status is COMPLETED for step in self.steps.values())

    def _outcome(self, otherwise: Outcome) -> Outcome:
        if self.cancelling:
            return Outcome.CANCELLED
        if self.failed or any(step.event.status is ERROR for step in self.steps.values()):
            return Outcome.FAILED
        return Outcome.COMPLETED if self.steps and self._all_completed() else otherwise

    def _end(self, at_ms: int, outcome: Outcome) -> Ending:
        self.outcome = outcome
        self.finished_ms = self.updated_ms = at_ms
        self.ending = Ending(self.operation_id, outcome, self.progress, at_ms)
        return self.ending
