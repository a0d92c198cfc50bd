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


@dataclass(slots=True)
class OperationStory:
    """An operation, its steps in the order in which they were first told; times in seconds since 1970."""

    operation_id: str
    began: float
    updated: float
    steps: dict[str, StepStory] = field(default_factory=dict)
    declared: bool = False
    """Whether a step was seen to wait: then all of them are known, as far as can be told from here."""
    outcome: str | None = None
    ended_progress: int | None = None

    @property
    def progress(self) -> int | None:
        """The ending's, or the mean of the steps, rounded down (protocol §5); None where more may follow."""
        if self.outcome is not None:
            return self.ended_progress
        if not self.declared:
            return None
        return sum(step.progress or 0 for step in self.steps.values()) // len(self.steps)


class Story:
    """All operations that were told of, in the order in which they were first heard of."""

    def __init__(self) -> None:
        self.operations: dict[str, OperationStory] = {}

    def hear(self, told: Told) -> OperationStory | None:
        """Take in what was told; gives the operation that it was about."""
        if told.event not in {"progress", "operation"}:
            return None
        data = told.data
        at = _seconds(data)
        operation_id = str(data["operation_id"])
        story = self.operations.setdefault(operation_id, OperationStory(operation_id, at, at))
        story.began, story.updated = min(story.began, at or story.began), max(story.updated, at)
        if told.event == "operation":
            story.outcome, story.ended_progress = str(data["outcome"]), data["progress"]
        else:
            story.outcome = None  # it was opened again, if it had ended
            story.declared |= data["status"] == "pending"
            story.steps[str(data["step"])] = StepStory(data["status"], data["message"], data["progress"])
        return story


def _seconds(data: dict[str, Any]) -> float:
    text = data.get("timestamp")
    return datetime.fromisoformat(text).timestamp() if text else 0.0
