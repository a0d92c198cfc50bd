"""What an application holds: it publishes, watches, stops and cancels operations through `Progress`."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from wellnet_sse.errors import OperationCancelledError, UnavailableError, UnprocessableError
from wellnet_sse.progress.broker import LEASE_MS, Appended, Broker, Change, IdempotencyKey
from wellnet_sse.progress.events import OPERATION_ID_RULE, Cursor, Status, UserId, is_message, is_operation_id
from wellnet_sse.progress.hub import CLOCKS, Hub, Limits
from wellnet_sse.progress.items import Clocks
from wellnet_sse.progress.keeper import Keeper
from wellnet_sse.progress.operation import Entry, Operation
from wellnet_sse.progress.paces import Observed, Outlook, Paces
from wellnet_sse.progress.supervisor import Supervisor
from wellnet_sse.progress.work import RunningOperation, check_step_name, sentence

log = logging.getLogger(__name__)

PERCENTAGES = range(101)
TICK_SECONDS = 1.0
TRIM_SECONDS = 10.0
LEASE_SHARE = 6
"""So many times within its lease a process says that it lives, and looks for work of those that do not."""
SETTLE_SECONDS = 5.0
SETTLE_WAITS_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)

Explain = Callable[[UserId, str, str], Awaitable[str]]
"""What to tell of an interrupted step, given the user, the operation and the step."""


async def explain_nothing(_user_id: UserId, _operation_id: str, step: str) -> str:
    """For work of which nothing more is known."""
    return f"Interrumpido en el paso {step}: no se sabe si terminó"


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long an operation may be silent before it is ended for it."""

    idle_seconds: float = 60.0
    """With nothing running."""
    silence_seconds: float = 900.0
    """In the middle of a publisher's step."""
    lease_seconds: float = LEASE_MS / 1000
    """How long this process is not heard of before others take it for dead, and tell what it was at."""


class Progress:
    """Operations over a broker, with their readers in a hub. Start it, and close it, on the serving loop."""

    def __init__(
        self,
        broker: Broker,
        *,
        limits: Limits | None = None,
        lifetimes: Lifetimes | None = None,
        clocks: Clocks = CLOCKS,
    ) -> None:
        self.broker = broker
        self.hub = Hub(broker, limits=limits or Limits(), clocks=clocks)
        self.supervisor = Supervisor()
        self.holder = secrets.token_hex(8)
        """This process, as the holder of runs."""
        self._lifetimes = lifetimes or Lifetimes()
        self._clocks = clocks
        self.explain: Explain = explain_nothing
        self.paces = Paces()
        self._unsettled: list[Callable[[], Awaitable[object]]] = []
        self._renewed_at: float | None = None
        self._patient_until = 0.0
        self.keeper = Keeper()
        self.keeper.add("tick", TICK_SECONDS, self._tick)
        self.keeper.add("expire", TICK_SECONDS, self.expire_silent)
        self.keeper.add("trim", TRIM_SECONDS, broker.trim)
        self.keeper.add("leases", self._lifetimes.lease_seconds / LEASE_SHARE, self.interrupt_orphans)
        self.keeper.add("settle", SETTLE_SECONDS, self.settle)

    async def start(self) -> None:
        """Open the broker, tell what died before, and begin to look after operations and readers.

        Started already, nothing is done.
        """
        if not self.keeper.started:
            await self.broker.start()
            await self.interrupt_orphans()
            self.keeper.start()

    async def aclose(self, *, grace_seconds: float = 0.0) -> None:
        """End the work, within `grace_seconds` or by cancelling it; then let go of the broker."""
        await self.supervisor.drain(grace_seconds=grace_seconds)
        await self.keeper.aclose()
        await self.broker.aclose()

    # Publishing

    async def name(self, user_id: UserId, operation_id: str, *, steps: Sequence[str] = ()) -> bool:
        """Begin an operation, or name it again; whether it began with this.

        Raises UnprocessableError where a name is none, as all that publishes here does.
        """
        steps = tuple(steps)
        _check(operation_id, steps)
        change = partial(Operation.name, steps=steps)
        return (await self.broker.append(user_id, operation_id, change)).created

    async def publish(
        self,
        user_id: UserId,
        operation_id: str,
        *,
        step: str,
        status: Status,
        message: str,
        progress: int | None,
        key: IdempotencyKey | None = None,
    ) -> Cursor:
        """Publish a step for somebody outside; durable when it returns. Raises as `Operation.update` does."""
        _check(operation_id, (step,))
        if not is_message(message) or (progress is not None and progress not in PERCENTAGES):
            raise UnprocessableError("Mensaje o progreso no válido")

        def change(operation: Operation, at_ms: int) -> Sequence[Entry]:
            return operation.update(at_ms, step=step, status=status, message=message, progress=progress)

        append = self._append if status is Status.COMPLETED else self.broker.append
        appended = await append(user_id, operation_id, change, key=key)
        if appended.cursor is None:
            raise RuntimeError("an update adds an entry")
        return appended.cursor

    async def stop(self, user_id: UserId, operation_id: str) -> None:
        """End the operation as soon as nothing runs. Raises NotFoundError."""
        await self.broker.append(user_id, operation_id, Operation.stop)

    async def cancel(self, user_id: UserId, operation_id: str) -> None:
        """Begin nothing more under this operation. Raises NotFoundError and OperationEndedError."""
        await self.broker.append(user_id, operation_id, Operation.cancel)

    @asynccontextmanager
    async def operation(
        self,
        operation_id: str,
        *,
        user_id: UserId,
        steps: Iterable[str] = (),
        plan: Iterable[str] | None = None,
        ends: bool | None = True,
    ) -> AsyncIterator[RunningOperation]:
        """Work on an operation; it counts as running until the block is over.

        `steps` are declared at once. `plan` are the steps that the block is to do, where they are others:
        when all are completed it is over, even if the process dies before it can say so. `ends`: whether the
        operation ends with the block; None: if it has no declared step. Raises OperationCancelledError where
        it was cancelled before.
        """
        run_id = f"{self.holder}:{secrets.token_hex(4)}"
        declared = tuple(steps)

        async def append(change: Change) -> Appended:
            return await self._append(user_id, operation_id, change)

        _check(operation_id, (*declared, *(plan or ())))
        begun = interrupted = False
        failure: str | None = None
        try:
            begin = partial(Operation.begin_run, run_id=run_id, holder=self.holder, ends=ends)
            await append(partial(begin, steps=declared, plan=declared if plan is None else tuple(plan)))
            begun = True
            yield RunningOperation(operation_id, append, run_id)
        except asyncio.CancelledError:
            interrupted = True
            raise
        except OperationCancelledError:
            raise
        except BaseException as error:
            failure = f"Error: {sentence(error)}"
            raise
        finally:
            if begun or interrupted:  # what was refused has not begun; what was cut while it began may have
                finish: Callable[[], Awaitable[object]] = (
                    partial(self._interrupt, user_id, operation_id, (run_id,))
                    if interrupted
                    else partial(append, partial(Operation.finish_run, run_id=run_id, failure=failure))
                )
                # Shielded: the ending must be written although the work is being cancelled.
                settling = self.supervisor.spawn(
                    self._settled(finish), name=f"finish {operation_id}", settles=True
                )
                await asyncio.shield(settling)

    async def _append(
        self, user_id: UserId, operation_id: str, change: Change, *, key: IdempotencyKey | None = None
    ) -> Appended:
        """Append, and learn from a step that is completed with it how long such a step takes."""
        observed = Observed(change)
        appended = await self.broker.append(user_id, operation_id, observed, key=key)
        self.paces.note(observed)
        return appended

    def outlook(self, operation: Operation) -> Outlook:
        """When an operation ends, as far as that can be known, and what of it is stuck."""
        return self.paces.outlook(operation, self._clocks.wall_ms())

    # Looking after them

    async def _tick(self) -> None:
        self.hub.tick()

    async def expire_silent(self) -> None:
        """End what nobody works on any more; see `Lifetimes`."""
        idle_ms = int(self._lifetimes.idle_seconds * 1000)
        silence_ms = int(self._lifetimes.silence_seconds * 1000)
        expire = partial(Operation.expire, idle_ms=idle_ms, silence_ms=silence_ms)
        now_ms = self._clocks.wall_ms()
        silent = await self.broker.silent(
            now_ms - min(idle_ms, silence_ms), in_step_before_ms=now_ms - silence_ms
        )
        await asyncio.gather(*(self.broker.append(*place, expire) for place in silent))

    async def alive(self, holder: str) -> bool:
        """Whether another process lives; it does as long as nobody can say otherwise."""
        return await self.broker.alive(holder) or self._is_patient()

    def _is_patient(self) -> bool:
        """Whether the broker was away for a whole lease, and others had no time yet to say that they live."""
        now, lease_seconds = self._clocks.monotonic(), self._lifetimes.lease_seconds
        if self._renewed_at is not None and now - self._renewed_at > lease_seconds:
            self._patient_until = now + lease_seconds
        return now < self._patient_until

    async def interrupt_orphans(self) -> None:
        """Say that this process lives, and tell as interrupted what those had begun that do not."""
        await self.broker.renew(self.holder, lease_ms=int(self._lifetimes.lease_seconds * 1000))
        is_patient, self._renewed_at = self._is_patient(), self._clocks.monotonic()
        if is_patient:
            return
        for user_id, operation_id, run_ids in await self.broker.orphans():
            log.warning("work_interrupted", extra={"user_id": user_id, "operation_id": operation_id})
            await self._interrupt(user_id, operation_id, run_ids)

    async def _interrupt(self, user_id: UserId, operation_id: str, run_ids: Sequence[str]) -> None:
        found = await self.broker.operation(user_id, operation_id)
        if found is None:
            return
        operation = found[0]
        in_hand = {operation.step_in_hand(operation.runs[it]) for it in run_ids if it in operation.runs}
        told = {step: await self.explain(user_id, operation_id, step) for step in in_hand if step is not None}

        def message(step: str) -> str:
            return told.get(step, f"Interrumpido en el paso {step}")

        interrupt = partial(Operation.interrupt, run_ids=run_ids, message=message)
        await self.broker.append(user_id, operation_id, interrupt)

    async def _settled(self, write: Callable[[], Awaitable[object]]) -> None:
        """Write what must be in the log, as soon as the broker takes it: it may be away for a while."""
        for wait_seconds in SETTLE_WAITS_SECONDS:
            try:
                await write()
            except UnavailableError:
                await asyncio.sleep(wait_seconds)
            else:
                return
        self.put_off(write)  # whoever waits has waited long enough; a chore goes on with it

    def put_off(self, write: Callable[[], Awaitable[object]]) -> None:
        """Have `settle` do a write that was not taken, with UnavailableError, when its time was."""
        self._unsettled.append(write)

    async def settle(self) -> None:
        """Write what was not taken when its time was."""
        unsettled, self._unsettled = self._unsettled, []
        for write in unsettled:
            try:
                await write()
            except UnavailableError:
                self._unsettled.append(write)


def _check(operation_id: str, steps: Iterable[str]) -> None:
    """Names stand unescaped in ids and JSON, so nothing is begun under one that is none."""
    if not is_operation_id(operation_id):
        raise UnprocessableError(f"operation_id: {OPERATION_ID_RULE}")
    for step in steps:
        check_step_name(step)
