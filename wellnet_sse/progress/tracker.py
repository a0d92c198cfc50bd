"""What an application holds: it publishes, watches, stops and cancels operations through `Progress`."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from wellnet_sse.errors import OperationCancelledError, UnavailableError
from wellnet_sse.progress.broker import Appended, Broker, Change, IdempotencyKey
from wellnet_sse.progress.events import Cursor, Status, UserId
from wellnet_sse.progress.hub import CLOCKS, Hub, Limits
from wellnet_sse.progress.operation import Operation
from wellnet_sse.progress.subscription import Clocks
from wellnet_sse.progress.supervisor import Supervisor
from wellnet_sse.progress.work import RunningOperation

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
TRIM_SECONDS = 10.0
INTERRUPTED_MESSAGE = "Interrumpido: el paso {step} no terminó"


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long an operation may be silent before it is ended for it."""

    idle_seconds: float = 60.0
    """With nothing running."""
    silence_seconds: float = 900.0
    """In the middle of a publisher's step."""


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
        self._keepers: list[asyncio.Task[None]] = []
        self._kept: list[tuple[str, float, Callable[[], Awaitable[None]]]] = []
        self.keep("tick", TICK_SECONDS, self._tick)
        self.keep("expire", TICK_SECONDS, self.expire_silent)
        self.keep("trim", TRIM_SECONDS, broker.trim)

    def keep(self, name: str, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        """Have `work` done every so many seconds, from `start` to `aclose`."""
        self._kept.append((name, seconds, work))

    async def start(self) -> None:
        """Open the broker and begin to look after operations and readers."""
        await self.broker.start()
        loop = asyncio.get_running_loop()
        self._keepers = [
            loop.create_task(self._every(seconds, work), name=name) for name, seconds, work in self._kept
        ]

    async def aclose(self, *, grace_seconds: float = 0.0) -> None:
        """End the work, within `grace_seconds` or by cancelling it; then let go of the broker."""
        await self.supervisor.drain(grace_seconds=grace_seconds)
        for keeper in self._keepers:
            keeper.cancel()
        if self._keepers:
            await asyncio.wait(self._keepers)
        await self.broker.aclose()

    # Publishing

    async def name(self, user_id: UserId, operation_id: str, *, steps: Iterable[str] = ()) -> bool:
        """Begin an operation, or name it again; whether it began with this."""
        change = partial(Operation.name, steps=tuple(steps))
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
        change = partial(Operation.update, step=step, status=status, message=message, progress=progress)
        appended = await self.broker.append(user_id, operation_id, change, key=key)
        return appended.records[0].cursor

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
        ends: bool | None = True,
    ) -> AsyncIterator[RunningOperation]:
        """Work on an operation; it counts as running until the block is over.

        `steps` are declared at once. `ends`: whether the operation ends with the block; None: if it has no
        declared step. Raises OperationCancelledError where it was cancelled before.
        """
        run_id = f"{self.holder}:{secrets.token_hex(4)}"

        async def append(change: Change) -> Appended:
            return await self.broker.append(user_id, operation_id, change)

        await append(
            partial(Operation.begin_run, run_id=run_id, holder=self.holder, ends=ends, steps=tuple(steps))
        )
        finish: Change = partial(Operation.finish_run, run_id=run_id)
        try:
            yield RunningOperation(operation_id, append, run_id)
        except asyncio.CancelledError:
            finish = partial(
                Operation.interrupt,
                run_ids=(run_id,),
                message=lambda step: INTERRUPTED_MESSAGE.format(step=step),
            )
            raise
        except OperationCancelledError:
            raise
        except BaseException:
            finish = partial(Operation.finish_run, run_id=run_id, failed=True)
            raise
        finally:
            # Shielded: the ending must be written although the work is being cancelled.
            await asyncio.shield(self.supervisor.spawn(append(finish), name=f"finish {operation_id}"))

    # Looking after them

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except UnavailableError as error:
                log.warning("broker_unavailable", extra={"detail": error.detail})
            except Exception:
                log.exception("keeper_failed")  # it must outlive whatever befalls one round

    async def _tick(self) -> None:
        self.hub.tick()

    async def expire_silent(self) -> None:
        """End what nobody works on any more; see `Lifetimes`."""
        idle_ms = int(self._lifetimes.idle_seconds * 1000)
        silence_ms = int(self._lifetimes.silence_seconds * 1000)
        expire = partial(Operation.expire, idle_ms=idle_ms, silence_ms=silence_ms)
        before_ms = self._clocks.wall_ms() - min(idle_ms, silence_ms)
        for user_id, operation_id in await self.broker.silent(before_ms):
            await self.broker.append(user_id, operation_id, expire)
