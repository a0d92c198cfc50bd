"""The blocks that business code writes: an operation around steps, whose outcome follows control flow."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from wellnet_sse.errors import RunLostError, UnprocessableError, WellnetError
from wellnet_sse.progress.broker import Appended, Change
from wellnet_sse.progress.events import MAX_MESSAGE_CHARACTERS, STEP_NAME_RULE, Status, is_step_name
from wellnet_sse.progress.operation import Operation

COMPLETED_MESSAGE = "Completado"

Append = Callable[[Change], Awaitable[Appended]]


def sentence(error: BaseException) -> str:
    """What a person may read of `error`: its own sentence if it has one, else nothing of it."""
    return error.detail if isinstance(error, WellnetError) else "error interno del servidor"


def check_step_name(name: str) -> None:
    """Raise UnprocessableError where `name` is no step's."""
    if not is_step_name(name):
        raise UnprocessableError(f"step: {STEP_NAME_RULE}")


class RunningStep:
    """A step at work; given by `RunningOperation.step`."""

    def __init__(self, name: str, append: Append, run_id: str, done: str) -> None:
        self.name = name
        self.done = done
        """The message of its `completed`."""
        self._append = append
        self._run_id = run_id
        self._place = ""

    def at(self, place: str) -> None:
        """Say where it is at work: steps of one name take about as long at one place, such as a router."""
        self._place = place

    async def update(self, progress: float | None, message: str) -> None:
        """Publish `in_progress` with `progress` 0..100 or None; a lower number is sent as the last one.

        Progress must not be what work fails of: a number is rounded down and brought into its range, a
        message cut to 2,000 characters, and what cannot be written as UTF-8 replaced by `?`.
        """
        number = None if progress is None or progress != progress else int(max(0, min(100, progress)))  # noqa: PLR0124 - NaN
        await self._publish(Status.IN_PROGRESS, message, number)

    async def _publish(self, status: Status, message: str, progress: int | None) -> None:
        await self._append(
            partial(
                Operation.update,
                step=self.name,
                status=status,
                message=message[:MAX_MESSAGE_CHARACTERS].encode(errors="replace").decode(),
                progress=progress,
                run_id=self._run_id,
                place=self._place,
            )
        )


class RunningOperation:
    """An operation at work; given by `Progress.operation`."""

    def __init__(self, operation_id: str, append: Append, run_id: str) -> None:
        self.operation_id = operation_id
        self._append = append
        self._run_id = run_id

    @asynccontextmanager
    async def step(self, name: str, *, done: str = COMPLETED_MESSAGE) -> AsyncIterator[RunningStep]:
        """A block that ends publishes `completed` with `done`; one that raises publishes `error`, and raises.

        Raises OperationCancelledError at its beginning where `cancelar` was asked for. A block that is
        cancelled as a task says so through the operation, which is then interrupted.
        """
        check_step_name(name)
        await self._append(partial(Operation.enter_step, run_id=self._run_id, step=name))
        step = RunningStep(name, self._append, self._run_id, done)
        try:
            yield step
        except (asyncio.CancelledError, RunLostError):
            raise
        except Exception as error:
            await step._publish(Status.ERROR, f"Error: {sentence(error)}", 0)  # noqa: SLF001 - same module
            raise
        await step._publish(Status.COMPLETED, step.done, 100)  # noqa: SLF001 - same module
