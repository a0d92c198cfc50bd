"""Random operations as a publisher lives them, and the endings that protocol §5 gives them."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

STEPS = ("remove-service", "remove-router", "remove-config")


def operation_id(user: int, lane: int, number: int) -> str:
    """Operations are named so that readers know of them before they begin."""
    return f"op-{user}-{lane}-{number}"


@dataclass(frozen=True, slots=True)
class Begin:
    """Name the operation and declare its steps."""

    operation_id: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """Tell a step."""

    operation_id: str
    step: str
    status: str
    message: str
    progress: int | None
    reopens: bool
    may_be_lost: bool
    """Nothing that follows depends on it, so it is not made again where no answer comes."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the operation."""

    operation_id: str


Act = Begin | Update | Stop


class Script:
    """One operation: one to three steps, attempts that fail, steps left undone, re-openings.

    The acts must be done in their order, each with its answer before the next. `endings` grows with them.
    """

    def __init__(self, name: str, random: Random) -> None:
        self.operation_id = name
        self.endings: list[str] = []
        self._random = random
        self._steps = STEPS[: random.randint(1, len(STEPS))]
        self._declared = random.random() < 0.5
        self._statuses: dict[str, str] = {}
        self._ended = False
        self._told = 0

    def acts(self) -> Iterator[Act]:
        """What to do, one after another."""
        if self._declared:
            self._statuses = dict.fromkeys(self._steps, "pending")
            yield Begin(self.operation_id, self._steps)
        for step in self._steps:
            yield from self._attempts(step)
        yield from self._end()
        while self._random.random() < 0.2:
            yield from self._reopened(self._random.choice(self._steps))
            yield from self._end()

    def _attempts(self, step: str) -> Iterator[Act]:
        while self._random.random() < 0.2:
            yield from self._updates(step)
            yield self._tell(step, "error", self._random.choice([None, 0, 50]))
        how = self._random.random()
        if how < 0.9:
            yield from self._updates(step)
            yield self._tell(step, "completed", self._random.choice([None, 100]))
        elif how < 0.95:
            yield from self._updates(step)  # left undone
        else:
            yield self._tell(step, "error", None)

    def _reopened(self, step: str) -> Iterator[Act]:
        if self._statuses[step] == "completed":
            yield self._tell(step, "pending", 0)
        yield from self._updates(step)
        if self._random.random() < 0.8:
            yield self._tell(step, "completed", 100)

    def _updates(self, step: str) -> Iterator[Act]:
        number = 0
        for count in range(self._random.randint(1, 5)):
            number = min(99, number + self._random.randint(0, 30))
            progress = self._random.choice([number, number, number, max(0, number - 10), None])
            yield self._tell(step, "in_progress", progress, may_be_lost=count > 0)

    def _end(self) -> Iterator[Act]:
        """Stop it, where it has not ended by itself."""
        if not self._ended:
            statuses = self._statuses.values()
            if "error" in statuses:
                self._note("failed")
            else:
                self._note("completed" if set(statuses) == {"completed"} else "cancelled")
            yield Stop(self.operation_id)

    def _tell(self, step: str, status: str, progress: int | None, *, may_be_lost: bool = False) -> Update:
        reopens, self._ended = self._ended, False
        self._told += 1
        self._statuses[step] = status
        if self._declared and status == "completed" and set(self._statuses.values()) == {"completed"}:
            self._note("completed")
        return Update(
            self.operation_id,
            step,
            status,
            f"{step} nº {self._told}: operación {self.operation_id} …",
            progress,
            reopens,
            may_be_lost and not reopens and self._random.random() < 0.2,
        )

    def _note(self, outcome: str) -> None:
        self._ended = True
        self.endings.append(outcome)
