"""Cleans routers later: what could not be removed, or is not certain, is tried until it is (protocol §6)."""

import asyncio
import logging

from wellnet_sse.errors import WellnetError
from wellnet_sse.progress.events import Status, UserId
from wellnet_sse.progress.tracker import Progress
from wellnet_sse.provisioning.cleanups import Cleanups, Pending
from wellnet_sse.provisioning.removal import REMOVE_ROUTER, Removals, StepWork, Untold
from wellnet_sse.provisioning.router import WriteState

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
AT_ONCE = 10
"""How many clean-ups run at the same time."""

_SAFE = "Puede repetir la operación sin riesgo."
_TOLD = {
    WriteState.NOT_SENT: f"no se había enviado nada al router. {_SAFE}",
    WriteState.UNKNOWN: (
        "se envió la eliminación al router y no se sabe si terminó; "
        f"el sistema lo comprobará y terminará la limpieza. {_SAFE}"
    ),
    WriteState.CONFIRMED: f"el router ya confirmó la eliminación. {_SAFE}",
}


def operation_id_of(cleanup_id: int) -> str:
    """Under which operation a clean-up is told."""
    return f"limpieza-{cleanup_id}"


class Cleaner:
    """Looks for clean-ups that are due, and does them, each as an operation of its user."""

    def __init__(self, removals: Removals, progress: Progress) -> None:
        self._removals = removals
        self._cleanups: Cleanups = removals.cleanups
        self._progress = progress
        self._running = 0
        progress.keeper.add("cleanups", LOOK_SECONDS, self.clean_due)
        progress.explain = self.explain

    async def explain(self, user_id: UserId, operation_id: str, step: str) -> str:
        """What is known of the router after a step was interrupted, and what is safe to do."""
        found = await self._progress.broker.operation(user_id, operation_id)
        router = None if found is None else found[0].steps.get(REMOVE_ROUTER)
        done = router is not None and router.event.status is Status.COMPLETED
        known = WriteState.CONFIRMED if done else WriteState.NOT_SENT
        for pending in await self._cleanups.of_user(user_id):
            # It is the operation's own, or the operation is the clean-up itself.
            if operation_id in (pending.owner.operation_id, operation_id_of(pending.cleanup_id)):
                known = pending.write_state
                await self._cleanups.hurry(pending.cleanup_id)
        return f"Interrumpido en el paso {step}: {_TOLD[known]}"

    async def clean_due(self) -> None:
        """Begin what is due; each runs by itself, so that a slow router holds up nobody else."""
        room = AT_ONCE - self._running
        if room <= 0:
            return
        for pending in await self._cleanups.take_due(limit=room):
            self._running += 1
            name = operation_id_of(pending.cleanup_id)
            task = self._progress.supervisor.spawn(self._clean(pending), name=name)
            task.add_done_callback(self._done)

    def _done(self, _task: asyncio.Task[None]) -> None:
        self._running -= 1

    async def _clean(self, pending: Pending) -> None:
        try:
            # Quietly at first: whoever waits was told, and need not hear of every attempt.
            await self._removals.reach(pending.address)
            work = self._removals.router(pending.address)
            if await self._is_told(pending):
                await self._clean_told(pending, work)
            else:
                await work.run(Untold(), pending.owner)
            await work.settle()
        except WellnetError as error:
            log.info("cleanup_postponed", extra={"cleanup": pending.cleanup_id, "code": error.code})
            await self._cleanups.postpone(pending.cleanup_id, attempts=pending.attempts + 1)

    async def _is_told(self, pending: Pending) -> bool:
        """Whether there is somebody to tell, who did not cancel being told."""
        user_id = pending.owner.user_id
        if user_id is None:
            return False
        found = await self._progress.broker.operation(user_id, operation_id_of(pending.cleanup_id))
        return found is None or not found[0].cancelling

    async def _clean_told(self, pending: Pending, work: StepWork) -> None:
        operation_id = operation_id_of(pending.cleanup_id)
        user_id = UserId(pending.owner.user_id or 0)
        async with (
            self._progress.operation(operation_id, user_id=user_id, steps=(work.step,)) as operation,
            operation.step(work.step, done=work.done_message) as step,
        ):
            await work.run(step, pending.owner)
