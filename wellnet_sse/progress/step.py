"""What an operation is made of: its steps, and the runs that work on them."""

from dataclasses import dataclass

from wellnet_sse.progress.events import Event, Status


@dataclass(slots=True)
class Step:
    """A step's state: its last event, and what the next one is judged by."""

    event: Event
    declared: bool
    """Whether it was announced, that is, whether its first event was `pending`."""
    attempt: int = 1
    floor: int = 0
    """The highest number sent in this attempt, 0..100: progress never falls below it."""
    seq: int = 0
    """The place of `event` in the user's history."""
    run: str | None = None
    """The run that works on it, or None where a publisher does."""
    began_ms: int | None = None
    """When this attempt was first in progress; None before that."""
    silence_ms: int = 0
    """The longest that this attempt has said nothing, so far, since it began."""
    place: str = ""
    """Where it is at work, as far as that says how long it takes: a router, for one."""

    def timed(self, at_ms: int, *, is_new_attempt: bool) -> None:
        """Something happens to it at `at_ms`, and until then nothing had since its last event."""
        if is_new_attempt:
            self.began_ms, self.silence_ms, self.place = None, 0, ""
        elif self.began_ms is not None:
            self.silence_ms = max(self.silence_ms, at_ms - self.event.at_ms)


@dataclass(slots=True)
class Run:
    """Work of this server on an operation: an `async with` block or a business request."""

    run_id: str
    holder: str
    """The process that does the work."""
    ends: bool
    """Whether the operation is to end when this run is over."""
    plan: tuple[str, ...] = ()
    """The steps that it is to do; when all are completed it is over, even if it died before it said so."""
    step: str | None = None
    """The step that it entered last."""


def begins_attempt(before: Status, status: Status) -> bool:
    """After an error the next update begins another attempt, and so does `pending` after anything else."""
    if status is Status.PENDING:
        return before is not Status.PENDING
    return before is Status.ERROR and status is not Status.ERROR
