"""What is known of operations, out of what was told: what the screens draw."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wellnet_sse.terminal.following import Told


@dataclass(slots=True)
class StepStory:
    """A step as its last event has it."""

    status: str = "pending"
    message: str = ""
    progress: int | None = None
    at: float = 0.0
    is_stalled: bool = False
    """Silent for longer than such steps ever are; until it is heard of again."""


@dataclass(slots=True)
class OperationStory:
    """An operation, its steps in the order in which they were first told; times in seconds since 1970."""

    operation_id: str
    began: float
    updated: float
    steps: dict[str, StepStory] = field(default_factory=dict)
    declared: bool = False
    """Whether a step was seen to wait, or the server's state says so: then all of them are known."""
    outcome: str | None = None
    ended_progress: int | None = None
    ends: tuple[float, float] | None = None
    """When it ends, one time in two before the one and nine in ten before the other."""

    @property
    def progress(self) -> int | None:
        """The ending's, or the mean of the steps, rounded down (protocol §5); None where more may follow."""
        if self.outcome is not None:
            return self.ended_progress
        if not self.declared or not self.steps:
            return None
        return sum(step.progress or 0 for step in self.steps.values()) // len(self.steps)

    def foresee(self, state: dict[str, Any]) -> list[str]:
        """Take in what the server's state of it tells and no stream does; gives the steps that got stuck."""
        self.declared = state.get("progress") is not None
        estimate = state.get("estimate")
        self.ends = None if estimate is None else (_seconds(estimate["p50"]), _seconds(estimate["p90"]))
        stuck = []
        for told in state.get("steps", ()):
            step = self.steps.get(told["step"])
            if step is not None and step.at == _seconds(told["timestamp"]):
                was_stalled, step.is_stalled = step.is_stalled, told.get("stalled", False)
                if step.is_stalled and not was_stalled:
                    stuck.append(told["step"])
        return stuck


class Story:
    """All operations that were told of, in the order in which they were first heard of."""

    def __init__(self) -> None:
        self.operations: dict[str, OperationStory] = {}

    def hear(self, told: Told) -> OperationStory | None:
        """Take in what was told; gives the operation that it was about."""
        if told.event not in {"progress", "operation"}:
            return None
        data = told.data
        at = _seconds(data.get("timestamp"))
        operation_id = str(data["operation_id"])
        story = self.operations.setdefault(operation_id, OperationStory(operation_id, at, at))
        story.began, story.updated = min(story.began, at or story.began), max(story.updated, at)
        if told.event == "operation":
            story.outcome, story.ended_progress = str(data["outcome"]), data["progress"]
        else:
            story.outcome = None  # it was opened again, if it had ended
            story.declared |= data["status"] == "pending"
            story.steps[str(data["step"])] = StepStory(data["status"], data["message"], data["progress"], at)
        return story


def _seconds(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0
