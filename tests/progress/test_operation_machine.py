"""Any sequence of changes keeps an operation to the invariants of protocol §5."""

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
)

from tests.progress.story import COMPLETED, ERROR, IN_PROGRESS, PENDING, Story
from tests.properties import CALM
from wellnet_sse.errors import (
    ConflictError,
    NotFoundError,
    OperationCancelledError,
    OperationEndedError,
    RunLostError,
    StepCompletedError,
)
from wellnet_sse.progress import codec
from wellnet_sse.progress.events import Ending, Event, Outcome, Status
from wellnet_sse.progress.operation import Entry

NAMES = st.sampled_from("abcd")
STATUSES = st.sampled_from(Status)
NUMBERS = st.none() | st.integers(0, 100)


class OperationMachine(RuleBasedStateMachine):
    """Everybody who may change an operation does so at random; the log alone is the judge.

    What the machine keeps for itself is only what the log does not tell: who runs, who is at which step,
    and what was asked for.
    """

    runs: Bundle[str] = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.story = Story()
        self.count = 0
        self.alive: set[str] = set()
        self.at_work: dict[str, str | None] = {}  # step -> the run whose update was its last
        self.entered: dict[str, str] = {}
        self.openings = 0
        self.cancel_asked = False
        self.run_failed = False

    def change(
        self, act: Callable[[], list[Entry]], *, reopens: bool = False, outcome: Outcome | None = None
    ) -> list[Entry]:
        """Do it, and hold what it wrote to the rules about endings.

        `reopens`: whether this change may re-open; `outcome`: of an ending that the steps do not decide.
        """
        operation = self.story.operation
        was_begun, was_ended = operation.begun, operation.outcome is not None
        entries = act()
        if not was_begun and operation.begun:
            self.openings = 1
        reopened = was_ended and (bool(entries) or operation.outcome is None)
        if reopened:
            assert reopens, "only work and accepted updates re-open"
            self.openings += 1
            self.run_failed = False
        assert [type(e) for e in entries[:-1]] == [Event] * len(entries[:-1]), "an ending comes last"
        assert all(e.operation_id == "op" and e.at_ms == self.story.at_ms for e in entries)
        if entries and isinstance(entries[-1], Ending):
            assert operation.outcome is entries[-1].outcome
            assert operation.finished_ms == self.story.at_ms
            assert entries[-1].outcome is (outcome or self.expected(Outcome.CANCELLED))
        elif entries:
            assert operation.outcome is None
        return entries

    def status(self, step: str) -> Status | None:
        """The step's, out of the log alone."""
        return next(
            (e.status for e in reversed(self.story.log) if isinstance(e, Event) and e.step == step), None
        )

    def expected(self, otherwise: Outcome) -> Outcome:
        last = {e.step: e.status for e in self.story.log if isinstance(e, Event)}
        if self.cancel_asked:
            return Outcome.CANCELLED
        if self.run_failed or ERROR in last.values():
            return Outcome.FAILED
        return Outcome.COMPLETED if last and set(last.values()) == {COMPLETED} else otherwise

    # Those outside

    @rule(milliseconds=st.sampled_from([0, 1, 100, 59_999, 60_000, 900_000]))
    def time_passes(self, milliseconds: int) -> None:
        self.story.at_ms += milliseconds

    @rule(steps=st.lists(NAMES, max_size=3))
    def name(self, steps: list[str]) -> None:
        new = [step for step in dict.fromkeys(steps) if step not in self.story.operation.steps]
        was_ended = self.story.outcome is not None
        entries = self.change(lambda: self.story.name(*steps))
        assert [e.step for e in entries if isinstance(e, Event)] == ([] if was_ended else new)

    @rule(step=NAMES, status=STATUSES, progress=NUMBERS)
    def publish(self, step: str, status: Status, progress: int | None) -> None:
        before = self.status(step)
        try:
            self.change(lambda: self.story.update(step, status, progress), reopens=True)
        except OperationCancelledError:
            assert self.cancel_asked
        except StepCompletedError:
            assert before is COMPLETED
            assert status is not PENDING
        else:
            assert not self.cancel_asked
            assert before is not COMPLETED or status is PENDING
            self.at_work[step] = None

    @rule()
    def stop(self) -> None:
        try:
            self.change(self.story.stop)
        except NotFoundError:
            assert self.openings == 0
        else:
            assert self.story.outcome is not None or self.alive

    @rule()
    def cancel(self) -> None:
        operation = self.story.operation
        was_ended, asked_before = operation.outcome is not None, self.cancel_asked
        self.cancel_asked = operation.begun and (asked_before or not was_ended)
        try:
            self.change(self.story.cancel, outcome=Outcome.CANCELLED)
        except NotFoundError:
            assert self.openings == 0
        except OperationEndedError:
            assert was_ended
            self.cancel_asked = asked_before
        else:
            assert not was_ended
            for step, run in self.at_work.items():
                assert run in self.alive or self.status(step) is not IN_PROGRESS

    @rule(idle_ms=st.sampled_from([60_000, 100]))
    def expire(self, idle_ms: int) -> None:
        operation = self.story.operation
        silent_ms = self.story.at_ms - operation.updated_ms
        busy = any(step.event.status is IN_PROGRESS for step in operation.steps.values())
        due = silent_ms >= (900_000 if busy else idle_ms) and operation.begun and not self.alive
        was_ended = operation.outcome is not None
        outcome = Outcome.INTERRUPTED if busy else self.expected(Outcome.EXPIRED)
        entries = self.change(lambda: self.story.expire(idle_ms=idle_ms), outcome=outcome)
        assert bool(entries) == (due and not was_ended)

    # The server's own work

    @rule(target=runs, steps=st.lists(NAMES, max_size=2), ends=st.sampled_from([True, False, None]))
    def begin_run(self, steps: list[str], ends: bool | None) -> str:
        self.count += 1
        run = f"r{self.count}"
        try:
            self.change(lambda: self.story.begin_run(run, *steps, ends=ends), reopens=True)
        except OperationCancelledError:
            assert self.cancel_asked
        else:
            assert not self.cancel_asked
            self.alive.add(run)
        return run

    @rule(run=runs, step=NAMES)
    def enter(self, run: str, step: str) -> None:
        try:
            entries = self.change(lambda: self.story.enter(run, step), reopens=True)
        except RunLostError:
            assert run not in self.alive
        except OperationCancelledError:
            assert self.cancel_asked
        else:
            assert run in self.alive
            assert [e.status for e in entries if isinstance(e, Event)] in ([], [PENDING])
            self.entered[run] = step
            self.at_work[step] = run

    @rule(run=runs, status=STATUSES, progress=NUMBERS, data=st.data())
    def work(self, run: str, status: Status, progress: int | None, data: st.DataObject) -> None:
        step = data.draw(NAMES) if run not in self.entered else self.entered[run]
        try:
            self.change(lambda: self.story.update(step, status, progress, run=run), reopens=True)
        except ConflictError as error:
            if isinstance(error, RunLostError):
                assert run not in self.alive
            if isinstance(error, OperationCancelledError):
                assert self.cancel_asked
                assert run not in self.entered
        else:
            assert run in self.alive
            self.at_work[step] = run

    @rule(run=consumes(runs), failed=st.booleans())
    def finish(self, run: str, failed: bool) -> None:
        was_ended = self.story.outcome is not None
        if run in self.alive and not was_ended:
            self.run_failed = self.run_failed or failed
        self.alive.discard(run)
        self.change(lambda: self.story.finish(run, failed=failed))

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def interrupt(self, data: st.DataObject) -> None:
        dead = data.draw(st.sets(st.sampled_from(sorted(self.alive)), min_size=1))
        self.alive -= dead
        self.change(lambda: self.story.interrupt(*sorted(dead)), reopens=True, outcome=Outcome.INTERRUPTED)
        assert self.story.outcome is Outcome.INTERRUPTED
        for step, run in self.at_work.items():
            assert run not in dead or self.status(step) is not IN_PROGRESS

    # What always holds

    @invariant()
    def each_opening_has_one_ending(self) -> None:
        endings = sum(isinstance(entry, Ending) for entry in self.story.log)
        still_open = self.story.operation.begun and self.story.outcome is None
        assert endings == self.openings - still_open

    @invariant()
    def the_state_is_a_projection_of_the_log(self) -> None:
        log, operation = self.story.log, self.story.operation
        last = {e.step: (e, seq) for seq, e in enumerate(log, 1) if isinstance(e, Event)}
        assert {name: (step.event, step.seq) for name, step in operation.steps.items()} == last
        endings = [(e, seq) for seq, e in enumerate(log, 1) if isinstance(e, Ending)]
        assert (operation.ending, operation.ending_seq) == (endings[-1] if endings else (None, 0))
        assert operation.last_seq == len(log)
        first = {e.step: e.status for e in reversed(log) if isinstance(e, Event)}
        numbers = [last[step][0].progress or 0 for step, status in first.items() if status is PENDING]
        assert operation.progress == (sum(numbers) // len(numbers) if numbers else None)

    @invariant()
    def it_can_be_kept_as_text_and_copied(self) -> None:
        operation = self.story.operation
        assert codec.load("op", codec.dump(operation)) == operation
        copy = codec.copy(operation)
        assert copy == operation
        assert not any(copy.steps[name] is step for name, step in operation.steps.items())
        assert not any(copy.runs[name] is run for name, run in operation.runs.items())

    @invariant()
    def progress_never_falls_within_an_attempt(self) -> None:
        attempt: dict[str, int] = {}
        reached: dict[str, int] = {}
        before: dict[str, Status] = {}
        for event in self.story.log:
            if isinstance(event, Ending):
                continue
            step, was = event.step, before.get(event.step)
            assert was is not COMPLETED or event.status is PENDING
            again = was is ERROR and event.status is not ERROR
            if again or (event.status is PENDING and was not in {None, PENDING}):
                attempt[step], reached[step] = attempt.get(step, 1) + 1, 0
            if event.status is ERROR:
                assert event.progress == 0
            elif event.progress is not None:
                assert reached.get(step, 0) <= event.progress <= 100
                reached[step] = event.progress
            before[step] = event.status
        steps = self.story.operation.steps
        assert {n: s.attempt for n, s in steps.items()} == {n: attempt.get(n, 1) for n in steps}

    @invariant()
    def it_ends_as_soon_as_it_must_and_not_while_something_runs(self) -> None:
        operation = self.story.operation
        assert set(operation.runs) == self.alive
        if operation.outcome is not None and self.alive:
            assert operation.outcome is Outcome.INTERRUPTED
        completed = all(step.event.status is COMPLETED for step in operation.steps.values())
        if operation.declared and completed and not self.alive:
            assert operation.outcome is not None
        if self.cancel_asked and not self.alive:
            assert operation.outcome in {Outcome.CANCELLED, Outcome.INTERRUPTED}


TestOperationMachine = OperationMachine.TestCase
TestOperationMachine.settings = settings(CALM, max_examples=60, stateful_step_count=30)
