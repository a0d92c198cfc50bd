"""For `mixed`: the moment of each `step.update`, carried to the reader in its sentence."""

import time

from wellnet_sse.progress.work import RunningStep


class Stamps:
    """From now on, in this process, every update's message ends with the moment when it was called for."""

    def __init__(self) -> None:
        self.updates = 0
        update = RunningStep.update

        async def stamped(step: RunningStep, progress: float | None, message: str) -> None:
            self.updates += 1
            await update(step, progress, f"{message} t={time.monotonic_ns():019d}")

        RunningStep.update = stamped  # type: ignore[method-assign, assignment]  # that is what this class is for
