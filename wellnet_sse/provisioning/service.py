"""Business requests as supervised work: each step runs once, and repeats join it or are answered again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from wellnet_sse.errors import OperationCancelledError, UnavailableError, WellnetError
from wellnet_sse.progress.events import Status, UserId
from wellnet_sse.progress.hub import wall_clock_ms
from wellnet_sse.progress.operation import Operation
from wellnet_sse.progress.tracker import Progress
from wellnet_sse.progress.work import RunningOperation
from wellnet_sse.provisioning.answers import AnswerKey
from wellnet_sse.provisioning.claims import STOPPED, Answer, Claims, JoinedStepError, failure
from wellnet_sse.provisioning.cleanups import Owner
from wellnet_sse.provisioning.removal import ALL_REMOVED, ANSWERS, STEPS, Removals, StepWork, Untold
from wellnet_sse.storage.database import Database

log = logging.getLogger(__name__)

ELIMINAR = "eliminar"
"""The name under which the answer to the whole removal is kept."""


SWEEP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Job:
    """A request's work, whoever began it. Await `answer` shielded: it belongs to all who joined."""

    answer: asyncio.Future[Answer]
    fresh: bool
    """Whether this request began it."""
    replayed: bool = False
    """Whether it was over before this request came."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be done as one: a single step, or all of them in order."""

    step: str
    body_hash: str
    works: Callable[[], Awaitable[Sequence[StepWork]]]
    message: str
    declared: tuple[str, ...] = ()


class RemovalService:
    """Runs removals for users, told through `progress` where they belong to an operation.

    The work is the server's: a client that goes away changes nothing (protocol §6). Answers are kept for
    `answers_seconds`.
    """

    def __init__(
        self, database: Database, removals: Removals, progress: Progress, *, answers_seconds: float
    ) -> None:
        self._removals = removals
        self._progress = progress
        self._answers_ms = int(answers_seconds * 1000)
        self._claims = Claims(database, progress, done=self._done_in_log)
        progress.keeper.add("answers", SWEEP_SECONDS, self.forget_old_answers)

    async def forget_old_answers(self) -> None:
        """Let go of answers that are older than they are kept."""
        await self._claims.forget(wall_clock_ms() - self._answers_ms)

    def single(self, work: StepWork) -> Request:
        """A request for one step."""

        async def works() -> Sequence[StepWork]:
            return (work,)

        return Request(work.step, work.body_hash, works, work.answer_message)

    def whole(self, id_conexion: int) -> Request:
        """A request for all steps of a connection's removal, in order."""
        body_hash = self._removals.service(id_conexion).body_hash
        return Request(ELIMINAR, body_hash, lambda: self._removals.plan(id_conexion), ALL_REMOVED, STEPS)

    async def run_untold(self, request: Request) -> Answer:
        """Do the work for nobody's operation: no events, and no memory of the answer."""

        async def work() -> Answer:
            try:
                for step_work in await request.works():
                    await step_work.run(Untold(), Owner())
                    await step_work.settle()
            except Exception as error:
                return _failure(error)
            return Answer(200, request.message)

        task = self._progress.supervisor.spawn(work(), name=f"untold {request.step}")
        return await asyncio.shield(task)

    async def begin(self, request: Request, *, user_id: UserId, operation_id: str, ends: bool | None) -> Job:
        """Begin the work, join it where it runs, or find its answer where it is done.

        `ends`: whether the operation ends with the work; None: if it has no declared step. Raises
        OperationCancelledError, and BodyMismatchError.
        """
        found = await self._progress.broker.operation(user_id, operation_id)
        if found is not None and found[0].cancelling:
            raise OperationCancelledError("La operación fue cancelada; use un identificador nuevo")
        begun: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        key = AnswerKey(user_id, operation_id, request.step)
        self._progress.supervisor.spawn(
            self._perform(request, key, ends, begun), name=f"{request.step} {operation_id}"
        )
        job = await asyncio.shield(begun)
        if ends is None and not job.fresh:
            # Whoever joins or comes later waits for the same end as whoever began.
            await self._progress.broker.append(user_id, operation_id, Operation.close_undeclared)
        return job

    async def _perform(
        self, request: Request, key: AnswerKey, ends: bool | None, begun: asyncio.Future[Job]
    ) -> None:
        """Claim, tell `begun` what is, and do the work: all in one task, which no client can cut in two."""
        structlog.contextvars.bind_contextvars(user_id=key.user_id, operation_id=key.operation_id)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def begin(*, fresh: bool = False, replayed: bool = False) -> None:
            if not begun.done():
                begun.set_result(Job(answer, fresh, replayed))

        try:
            given = await self._claims.answer(
                key,
                body_hash=request.body_hash,
                work=lambda: self._told(request, key, ends, lambda: begin(fresh=True)),
                met=begin,
            )
            answer.set_result(given)
        except BaseException as error:
            if begun.done():
                answer.set_result(_failure(error))
            else:
                stopped = UnavailableError(STOPPED.message)
                begun.set_exception(error if isinstance(error, Exception) else stopped)
            if not isinstance(error, Exception):
                raise

    async def _told(
        self, request: Request, key: AnswerKey, ends: bool | None, begin: Callable[[], None]
    ) -> Answer:
        owner = Owner(UserId(key.user_id), key.operation_id)
        async with self._progress.operation(
            key.operation_id,
            user_id=UserId(key.user_id),
            steps=request.declared,
            plan=request.declared or (request.step,),
            ends=ends,
        ) as operation:
            begin()
            for work in await request.works():
                if work.step == request.step:
                    await _run_step(operation, work, owner)
                else:
                    await self._part(operation, key._replace(step=work.step), work)
        return Answer(200, request.message)

    async def _part(self, operation: RunningOperation, key: AnswerKey, work: StepWork) -> None:
        """Do one step of several, unless it is done, or somebody is at it."""
        owner = Owner(UserId(key.user_id), key.operation_id)
        answer = await self._claims.answer(
            key,
            body_hash=work.body_hash,
            work=lambda: _run_step(operation, work, owner),
        )
        if not answer.success:
            raise JoinedStepError(answer)

    async def _done_in_log(self, key: AnswerKey) -> str | None:
        """What is answered to a request whose steps are all completed; None where they are not."""
        found = await self._progress.broker.operation(UserId(key.user_id), key.operation_id)
        steps = {} if found is None else found[0].steps
        plan = STEPS if key.step == ELIMINAR else (key.step,)
        done = all(name in steps and steps[name].event.status is Status.COMPLETED for name in plan)
        return {**ANSWERS, ELIMINAR: ALL_REMOVED}[key.step] if done else None


async def _run_step(operation: RunningOperation, work: StepWork, owner: Owner) -> Answer:
    async with operation.step(work.step, done=work.done_message) as step:
        await work.run(step, owner)
    try:
        await work.settle()
    except UnavailableError as error:
        # It is done, and told: what is left to tidy up must not make a failure of it.
        log.warning("settling_put_off", extra={"step": work.step, "detail": error.detail})
    return Answer(200, work.answer_message)


def _failure(error: BaseException) -> Answer:
    if isinstance(error, Exception) and not isinstance(error, WellnetError):
        log.error("work_failed", exc_info=error)
    return failure(error)
