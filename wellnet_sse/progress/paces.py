"""How long steps take here, and what follows for those at work: when they end, and whether they are stuck.

A kind of steps is a name and a place, such as the router that is worked on; the empty place is all of them.
What is told of a kind comes from those of its steps that were completed, and from nothing else.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from wellnet_sse.progress.broker import Change
from wellnet_sse.progress.events import Event, Status
from wellnet_sse.progress.operation import Entry, Operation
from wellnet_sse.progress.step import Step

KEPT_SAMPLES = 64
"""Of a kind, the newest."""
KEPT_KINDS = 512
"""The ones that were last used: publishers may make up as many names as they like."""
FEWEST_SAMPLES = 5
"""Below that nothing is told."""
STUCK_FACTOR = 1.5
STUCK_MARGIN_MS = 1000
"""A step is stuck that is silent for longer than the longest of its kind, times the one, plus the other."""


class Kind(NamedTuple):
    """Steps that take about as long."""

    step: str
    place: str = ""


class Sample(NamedTuple):
    """A step that was completed, in milliseconds."""

    duration_ms: int
    silence_ms: int
    """The longest that it said nothing."""


class Span(NamedTuple):
    """Half of all end before the one, and nine in ten before the other; in milliseconds."""

    p50_ms: int
    p90_ms: int


class Outlook(NamedTuple):
    """What can be said of an operation that goes on."""

    ends: Span | None = None
    """When it ends, since 1970; None where that is not known."""
    stalled: frozenset[str] = frozenset()
    """Its steps that are silent for longer than they ever usually are."""


NOTHING = Outlook()


class Observed:
    """A change, and the steps that were completed with it when a broker last called it."""

    def __init__(self, change: Change) -> None:
        self._change = change
        self.completed: Sequence[Step] = ()

    def __call__(self, operation: Operation, at_ms: int) -> Sequence[Entry]:
        """See `Change`."""
        entries = self._change(operation, at_ms)
        self.completed = [
            operation.steps[entry.step]
            for entry in entries
            if isinstance(entry, Event) and entry.status is Status.COMPLETED
        ]
        return entries


class Paces:
    """The newest samples of each kind."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[Kind, deque[Sample]] = OrderedDict()
        self.tell: Callable[[Kind, Sample], None] = _to_nobody
        """Where samples of this process are told to whoever keeps them."""

    def note(self, observed: Observed) -> None:
        """What was observed was appended."""
        for step in observed.completed:
            if step.began_ms is not None:
                sample = Sample(step.event.at_ms - step.began_ms, step.silence_ms)
                self.add(Kind(step.event.step, step.place), sample)

    def add(self, kind: Kind, sample: Sample) -> None:
        """A step of this kind was completed in this process."""
        self.learn(kind, sample)
        self.tell(kind, sample)

    def learn(self, kind: Kind, sample: Sample) -> None:
        """A step of this kind was completed."""
        for one in dict.fromkeys((kind, Kind(kind.step))):
            self._kinds.setdefault(one, deque(maxlen=KEPT_SAMPLES)).append(sample)
            self._kinds.move_to_end(one)
        while len(self._kinds) > KEPT_KINDS:
            self._kinds.popitem(last=False)

    def of(self, kind: Kind) -> tuple[Sample, ...]:
        """The samples of a kind, or where they are too few, of its name alone; none if those are, too."""
        for one in (kind, Kind(kind.step)):
            samples = self._kinds.get(one, ())
            if len(samples) >= FEWEST_SAMPLES:
                return tuple(samples)
        return ()

    def outlook(self, operation: Operation, now_ms: int) -> Outlook:
        """What can be said of it now."""
        if operation.outcome is not None:
            return NOTHING
        running = {n: s for n, s in operation.steps.items() if s.event.status is Status.IN_PROGRESS}
        stalled = frozenset(name for name, step in running.items() if self._is_stuck(name, step, now_ms))
        # Where no step was declared, others may follow, unless whoever works on it ends it as well.
        is_all_known = operation.declared or any(run.ends for run in operation.runs.values())
        if not running or stalled or not is_all_known:
            return Outlook(None, stalled)
        ends = [self._end(name, step, now_ms) for name, step in running.items()]
        pending = [n for n, s in operation.steps.items() if s.event.status is Status.PENDING]
        ahead = [self._span(Kind(name)) for name in pending]
        if None in ends or None in ahead:
            return NOTHING
        last, rest = [it for it in ends if it], [it for it in ahead if it]
        # Those that are at work end with the last of them; those that wait come one after the other.
        return Outlook(
            Span(
                max(it.p50_ms for it in last) + sum(it.p50_ms for it in rest),
                max(it.p90_ms for it in last) + sum(it.p90_ms for it in rest),
            )
        )

    def _is_stuck(self, name: str, step: Step, now_ms: int) -> bool:
        samples = self.of(Kind(name, step.place))
        if not samples:
            return False
        longest_ms = max(sample.silence_ms for sample in samples)
        return now_ms - step.event.at_ms > longest_ms * STUCK_FACTOR + STUCK_MARGIN_MS

    def _end(self, name: str, step: Step, now_ms: int) -> Span | None:
        """When a running step ends; None also where it already takes longer than nine in ten do."""
        span = self._span(Kind(name, step.place))
        if span is None or step.began_ms is None or now_ms > step.began_ms + span.p90_ms:
            return None
        return Span(step.began_ms + span.p50_ms, step.began_ms + span.p90_ms)

    def _span(self, kind: Kind) -> Span | None:
        durations = sorted(sample.duration_ms for sample in self.of(kind))
        if not durations:
            return None
        return Span(_quantile(durations, 50), _quantile(durations, 90))


def _to_nobody(_kind: Kind, _sample: Sample) -> None:
    return


def _quantile(ordered: list[int], percent: int) -> int:
    """The nearest-rank quantile: the smallest value that so many in a hundred do not exceed."""
    return ordered[-(-len(ordered) * percent // 100) - 1]
