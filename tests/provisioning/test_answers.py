import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from wellnet_sse.errors import BodyMismatchError
from wellnet_sse.provisioning import AnswerKey, Answers, Completed, Fresh, Running
from wellnet_sse.storage.database import Database

KEY = AnswerKey(7, "remove-config-1", "remove-service")


@pytest.fixture
def dead() -> set[str]:
    return set()


@pytest.fixture
def clock() -> Iterator[int]:
    return iter(range(1_000, 100_000, 1_000))


@pytest.fixture
def answers(database: Database, dead: set[str], clock: Iterator[int]) -> Answers:
    return Answers(database, is_alive=unless(dead), now_ms=lambda: next(clock))


def unless(dead: set[str]) -> Callable[[str], Awaitable[bool]]:
    """Everybody is alive but these."""

    async def is_alive(holder: str) -> bool:
        return holder not in dead

    return is_alive


async def finish(answers: Answers, attempt: int, *, failed: bool = False, key: AnswerKey = KEY) -> bool:
    if failed:
        return await answers.finish(key, attempt, status="failed", http_status=502, message="El router no")
    return await answers.finish(
        key, attempt, status="completed", http_status=200, message="Asignación eliminada"
    )


async def test_the_first_claim_is_fresh_and_the_second_joins_it(answers: Answers) -> None:
    assert await answers.claim(KEY, body_hash="a", holder="one") == Fresh(1)
    assert await answers.claim(KEY, body_hash="a", holder="two") == Running("one")


@pytest.mark.parametrize(
    "other", [KEY._replace(user_id=8), KEY._replace(operation_id="x"), KEY._replace(step="remove-router")]
)
async def test_another_user_operation_or_step_is_another_answer(answers: Answers, other: AnswerKey) -> None:
    await answers.claim(KEY, body_hash="a", holder="one")
    assert await answers.claim(other, body_hash="b", holder="one") == Fresh(1)
    assert await finish(answers, 1, key=other)
    assert await answers.claim(KEY, body_hash="a", holder="two") == Running("one")


async def test_a_completed_step_answers_the_same_again(answers: Answers) -> None:
    await answers.claim(KEY, body_hash="a", holder="one")
    assert await finish(answers, 1)
    assert await answers.claim(KEY, body_hash="a", holder="two") == Completed(200, "Asignación eliminada")


async def test_a_failed_step_is_tried_again_with_any_body(answers: Answers) -> None:
    await answers.claim(KEY, body_hash="a", holder="one")
    assert await finish(answers, 1, failed=True)
    assert await answers.claim(KEY, body_hash="b", holder="two") == Fresh(2)
    assert await answers.claim(KEY, body_hash="b", holder="three") == Running("two")
    with pytest.raises(BodyMismatchError):
        await answers.claim(KEY, body_hash="a", holder="three")


@pytest.mark.parametrize("completed", [False, True])
async def test_another_body_is_refused_while_running_and_once_completed(
    answers: Answers, *, completed: bool
) -> None:
    await answers.claim(KEY, body_hash="a", holder="one")
    if completed:
        await finish(answers, 1)
    with pytest.raises(BodyMismatchError):
        await answers.claim(KEY, body_hash="b", holder="one")


async def test_a_dead_holders_claim_is_taken_over_and_its_late_answer_ignored(
    answers: Answers, dead: set[str]
) -> None:
    await answers.claim(KEY, body_hash="a", holder="one")
    dead.add("one")
    assert await answers.claim(KEY, body_hash="a", holder="two") == Fresh(2, abandoned=True)
    assert not await finish(answers, 1, failed=True)
    assert await finish(answers, 2)
    assert await answers.claim(KEY, body_hash="a", holder="two") == Completed(200, "Asignación eliminada")


async def test_what_was_abandoned_with_another_body_is_simply_done_anew(
    answers: Answers, dead: set[str]
) -> None:
    """Whether the dead one came to its end says nothing of this request."""
    await answers.claim(KEY, body_hash="a", holder="one")
    dead.add("one")
    assert await answers.claim(KEY, body_hash="b", holder="two") == Fresh(2)


async def test_an_answer_is_written_once(answers: Answers) -> None:
    await answers.claim(KEY, body_hash="a", holder="one")
    assert await finish(answers, 1)
    assert not await finish(answers, 1, failed=True)
    assert await answers.claim(KEY, body_hash="a", holder="two") == Completed(200, "Asignación eliminada")


@asynccontextmanager
async def _processes(url: str, dead: set[str]) -> AsyncIterator[list[Answers]]:
    """Give what three processes would have: nothing shared but the database."""
    async with AsyncExitStack() as stack:
        databases = [Database(url) for _ in range(3)]
        for database in databases:
            stack.push_async_callback(database.aclose)
        yield [Answers(database, is_alive=unless(dead)) for database in databases]


@pytest.mark.parametrize("state", ["absent", "failed", "dead"])
async def test_of_many_claims_at_once_exactly_one_is_fresh(
    migrated_url: str, answers: Answers, dead: set[str], state: str
) -> None:
    if state != "absent":
        await answers.claim(KEY, body_hash="a", holder="first")
    if state == "failed":
        await finish(answers, 1, failed=True)
    dead.add("first")
    async with _processes(migrated_url, dead) as processes:
        claims = await asyncio.gather(
            *(processes[n % 3].claim(KEY, body_hash="a", holder=f"h{n}") for n in range(12))
        )
    fresh = [n for n, claim in enumerate(claims) if isinstance(claim, Fresh)]
    assert len(fresh) == 1
    assert claims[fresh[0]] == Fresh(1 if state == "absent" else 2, abandoned=state == "dead")
    assert {claim for n, claim in enumerate(claims) if n != fresh[0]} == {Running(f"h{fresh[0]}")}


async def test_old_answers_are_released_and_running_ones_kept(answers: Answers, dead: set[str]) -> None:
    names = ("running", "abandoned", "old", "new")
    running, abandoned, old, new = (KEY._replace(operation_id=name) for name in names)
    await answers.claim(running, body_hash="a", holder="one")  # at 1,000 ms
    await answers.claim(abandoned, body_hash="a", holder="gone")
    dead.add("gone")
    await answers.claim(old, body_hash="a", holder="one")
    await finish(answers, 1, key=old)  # at 4,000 ms
    await answers.claim(new, body_hash="a", holder="one")
    await finish(answers, 1, key=new)  # at 6,000 ms
    assert await answers.release_expired(6_000) == 2
    assert await answers.claim(old, body_hash="b", holder="two") == Fresh(1)
    assert await answers.claim(abandoned, body_hash="a", holder="two") == Fresh(1)
    assert await answers.claim(new, body_hash="a", holder="two") == Completed(200, "Asignación eliminada")
    assert await answers.claim(running, body_hash="a", holder="two") == Running("one")


async def test_the_outcome_of_somebody_elses_claim_is_followed_to_its_answer(answers: Answers) -> None:
    await answers.claim(KEY, body_hash="a", holder="one")
    assert await answers.outcome(KEY, Running("one")) == Running("one")
    await finish(answers, 1, failed=True)
    assert await answers.outcome(KEY, Running("one")) == Completed(502, "El router no")
    await answers.claim(KEY, body_hash="a", holder="two")
    assert await answers.outcome(KEY, Running("one")) is None  # the next attempt is at it


async def test_a_claim_of_the_dead_has_no_outcome(answers: Answers, dead: set[str]) -> None:
    await answers.claim(KEY, body_hash="a", holder="one")
    dead.add("one")
    assert await answers.outcome(KEY, Running("one")) is None


async def test_what_was_left_undone_has_no_outcome_and_is_anybodys(answers: Answers, dead: set[str]) -> None:
    dead.add("")
    await answers.claim(KEY, body_hash="a", holder="one")
    await answers.abandon(KEY, 1)
    assert await answers.outcome(KEY, Running("one")) is None
    assert await answers.claim(KEY, body_hash="a", holder="two") == Fresh(2, abandoned=True)
    await answers.abandon(KEY, 1)  # too late: it is another's by now
    assert await answers.outcome(KEY, Running("two")) == Running("two")
