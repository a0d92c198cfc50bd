"""Who does a step's work: one process of all on the database, and all who ask meanwhile get its answer."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

from wellnet_sse.errors import UnavailableError, WellnetError
from wellnet_sse.progress.tracker import Progress
from wellnet_sse.progress.work import sentence
from wellnet_sse.provisioning.answers import AnswerKey, Answers, Completed, Fresh, Running
from wellnet_sse.storage.database import Database

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
"""How often a process looks what has become of work that another one does."""


class Answer(NamedTuple):
    """What a business request is told."""

    http_status: int
    message: str

    @property
    def success(self) -> bool:
        """Whether the work was done."""
        return self.http_status < 400


STOPPED = Answer(503, "El servidor se detuvo antes de terminar")


class JoinedStepError(WellnetError):
    """A step that somebody else was at has failed; this is what they were told."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.message)
        self.answer = answer


class Met(Protocol):
    """Is told that somebody else has done the work (`replayed`), or is at it."""

    def __call__(self, *, replayed: bool) -> None:
        """It may be told more than once, when one who was at it died."""


@dataclass(frozen=True, slots=True)
class _Held:
    """The right to do a step's work, and the duty to settle it."""

    key: AnswerKey
    attempt: int
    holder: str
    answer: asyncio.Future[Answer]


class Claims:
    """The work that this process is at, and the answers to what it and others have done.

    `done` looks in the log, which is the truth: what is answered where a step's work is completed, else None.

    A holder is `<process>:<claim>`. One of ours is alive while we hold it; one of another process while
    that process lives.
    """

    def __init__(
        self, database: Database, progress: Progress, *, done: Callable[[AnswerKey], Awaitable[str | None]]
    ) -> None:
        self._progress = progress
        self._done = done
        self._running: dict[str, asyncio.Future[Answer]] = {}
        self._followed: dict[str, asyncio.Task[Answer | None]] = {}
        self._answers = Answers(database, is_alive=self._is_alive)

    async def forget(self, older_than_ms: int) -> None:
        """Let go of what was answered before this moment (milliseconds since 1970)."""
        await self._answers.release_expired(older_than_ms)

    async def answer(
        self,
        key: AnswerKey,
        *,
        body_hash: str,
        work: Callable[[], Awaitable[Answer]],
        met: Met | None = None,
    ) -> Answer:
        """Do the work and keep its answer, or wait for the answer of whoever is at it.

        Where that one dies, the work is ours to do again. Raises what the work raises, and BodyMismatchError.
        """
        while True:
            claim = await self._claim(key, body_hash)
            if isinstance(claim, _Held):
                return await self._settle(claim, work)
            if met is not None:
                met(replayed=isinstance(claim, Answer))
            if isinstance(claim, Answer):
                return claim
            answer = await self._answer_of(key, claim)
            if answer is not None:
                return answer

    async def _is_alive(self, holder: str) -> bool:
        process = holder.partition(":")[0]
        if process == self._progress.holder:
            return holder in self._running
        return process != "" and await self._progress.alive(process)

    async def _claim(self, key: AnswerKey, body_hash: str) -> _Held | Running | Answer:
        holder = f"{self._progress.holder}:{secrets.token_hex(8)}"
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._running[holder] = answer  # before the claim: whoever finds it must find its holder alive
        claim = None
        try:
            claim = await self._answers.claim(key, body_hash=body_hash, holder=holder)
        finally:
            if not isinstance(claim, Fresh):
                del self._running[holder]
        if isinstance(claim, Running):
            return claim
        if isinstance(claim, Completed):
            return Answer(claim.http_status or 200, claim.message or "")
        held = _Held(key, claim.attempt, holder, answer)
        try:
            message = await self._left_by_the_last(held, abandoned=claim.abandoned)
        except BaseException as error:
            self._leave(held, failure(error))
            raise
        if message is None:
            return held
        await self._keep(held, Answer(200, message))
        return Answer(200, message)

    async def _left_by_the_last(self, held: _Held, *, abandoned: bool) -> str | None:
        """What is to be answered already, because whoever was at it died between its last event and that."""
        if held.attempt > 1:
            await self._progress.interrupt_orphans()  # told before the next attempt begins
        return await self._done(held.key) if abandoned else None

    async def _settle(self, held: _Held, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Do the claimed work and keep its answer; raises what the work raises.

        Of work that is cut off nothing is kept: whoever asks next reads in the log how far it came.
        """
        answer = None
        try:
            answer = await work()
        except Exception as error:
            answer = failure(error)
            raise
        finally:
            if answer is None:
                self._leave(held, STOPPED)
            else:
                keeping = self._progress.supervisor.spawn(
                    self._keep(held, answer), name=f"answer {held.key.step}", settles=True
                )
                await asyncio.shield(keeping)
        return answer

    async def _keep(self, held: _Held, answer: Answer) -> None:
        keep = partial(
            self._answers.finish,
            held.key,
            held.attempt,
            status="completed" if answer.success else "failed",
            http_status=answer.http_status,
            message=answer.message,
        )
        try:
            await self._written(held, keep)
        finally:
            self._let_go(held, answer)  # kept or not, who waits is answered

    def _leave(self, held: _Held, answer: Answer) -> None:
        """Hold it no more, and keep no answer: whoever asks next may begin at once, here and elsewhere."""
        self._let_go(held, answer)
        leave = partial(self._answers.abandon, held.key, held.attempt)
        self._progress.supervisor.spawn(
            self._written(held, leave), name=f"leave {held.key.step}", settles=True
        )

    def _let_go(self, held: _Held, answer: Answer) -> None:
        del self._running[held.holder]
        held.answer.set_result(answer)

    async def _written(self, held: _Held, write: Callable[[], Awaitable[object]]) -> None:
        try:
            await write()
        except UnavailableError as error:
            # Until then nobody here holds it, so it counts as abandoned: the log knows what was completed.
            log.warning("answer_not_kept", extra={"step": held.key.step, "detail": error.detail})
            self._progress.put_off(write)

    async def _answer_of(self, key: AnswerKey, claim: Running) -> Answer | None:
        """What they answer who are at it; None where they died, or left it undone."""
        here = self._running.get(claim.holder)
        if here is not None:
            return await asyncio.shield(here)
        following = self._followed.get(claim.holder)
        if following is None:
            following = self._progress.supervisor.spawn(
                self._follow(key, claim), name=f"follow {key.step} {key.operation_id}"
            )
            self._followed[claim.holder] = following
            following.add_done_callback(lambda _: self._followed.pop(claim.holder))
        return await asyncio.shield(following)

    async def _follow(self, key: AnswerKey, claim: Running) -> Answer | None:
        """Look again and again what has become of another process's work: at most as long as that lives."""
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                found = await self._answers.outcome(key, claim)
                if found is None:
                    return None
                if isinstance(found, Completed):
                    return Answer(found.http_status or 200, found.message or "")
        except UnavailableError as error:
            return failure(error)  # whoever asks again joins again


def failure(error: BaseException) -> Answer:
    """What is answered to work that ended with this; its text only where it is meant for persons."""
    if isinstance(error, asyncio.CancelledError):
        return STOPPED
    if isinstance(error, JoinedStepError):
        return error.answer
    status = error.status if isinstance(error, WellnetError) else 500
    return Answer(status, sentence(error))
