"""The records of pending clean-ups, on both databases."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.progress.clock import FakeClock
from tests.provisioning.support import ANA
from wellnet_sse.progress.events import UserId
from wellnet_sse.provisioning import WriteState
from wellnet_sse.provisioning.cleanups import WORK_MS, Cleanups, Owner
from wellnet_sse.storage.database import Database

ADDRESS, OTHER = "10.0.0.3", "10.0.0.4"
HERS = Owner(ANA, "baja-3")
HIS = Owner(UserId(8), "baja-3")
NOBODYS = Owner()
WORK_SECONDS = WORK_MS / 1000


@pytest.fixture
def cleanups(database: Database, clock: FakeClock) -> Cleanups:
    return Cleanups(database, now_ms=clock.wall_ms)


@pytest.fixture
async def another_process(migrated_url: str, clock: FakeClock) -> AsyncIterator[Cleanups]:
    database = Database(migrated_url)
    yield Cleanups(database, now_ms=clock.wall_ms)
    await database.aclose()


async def due(cleanups: Cleanups) -> list[int]:
    return [pending.cleanup_id for pending in await cleanups.take_due(limit=10)]


async def test_a_record_tells_whose_it_is_and_what_is_known(cleanups: Cleanups, clock: FakeClock) -> None:
    cleanup_id = await cleanups.begin(HERS, ADDRESS, WriteState.UNKNOWN)
    (pending,) = await cleanups.of_user(ANA)
    assert pending == (
        cleanup_id,
        HERS,
        ADDRESS,
        WriteState.UNKNOWN,
        0,
        clock.wall_ms(),
        clock.wall_ms() + WORK_MS,
    )
    await cleanups.confirm(cleanup_id)
    assert (await cleanups.of_user(ANA))[0].write_state is WriteState.CONFIRMED


async def test_whoever_begins_at_the_same_moment_has_one_record(
    cleanups: Cleanups, another_process: Cleanups
) -> None:
    both = [cleanups, another_process] * 4
    await asyncio.gather(*(each.of_user(ANA) for each in both))  # each has its connections now
    begun = await asyncio.gather(*(each.begin(HERS, ADDRESS, WriteState.UNKNOWN) for each in both))
    (pending,) = await cleanups.of_user(ANA)
    assert begun == [pending.cleanup_id] * len(both)


async def test_each_sees_what_is_pending_for_him_oldest_first(cleanups: Cleanups) -> None:
    for owner, address in ((HERS, OTHER), (HIS, ADDRESS), (HERS, ADDRESS), (NOBODYS, ADDRESS)):
        await cleanups.begin(owner, address, WriteState.UNKNOWN)
    assert [it.address for it in await cleanups.of_user(ANA)] == [OTHER, ADDRESS]
    assert [it.address for it in await cleanups.of_user(UserId(8))] == [ADDRESS]


@pytest.mark.parametrize("owner", [HERS, NOBODYS])
async def test_a_repeat_goes_on_with_the_same_record(
    cleanups: Cleanups, clock: FakeClock, owner: Owner
) -> None:
    first = await cleanups.begin(owner, ADDRESS, WriteState.UNKNOWN)
    await cleanups.postpone(first, attempts=3)
    clock.advance(1)
    again = owner._replace(operation_id="baja-3-otra-vez") if owner.user_id else owner
    assert await cleanups.begin(again, ADDRESS, WriteState.UNKNOWN) == first
    clock.advance(WORK_SECONDS)
    (pending,) = await cleanups.take_due(limit=10)
    assert (pending.owner, pending.attempts) == (again, 3)
    assert pending.created_ms == clock.wall_ms() - WORK_MS - 1000


async def test_what_was_sent_before_stays_sent_although_a_repeat_sends_nothing(cleanups: Cleanups) -> None:
    """A router that took half of a removal, and is unreachable for the next attempt, is not untouched."""
    for state in (WriteState.NOT_SENT, WriteState.UNKNOWN, WriteState.NOT_SENT):
        await cleanups.begin(HERS, ADDRESS, state)
    (pending,) = await cleanups.of_user(ANA)
    assert pending.write_state is WriteState.UNKNOWN


async def test_an_address_that_is_out_is_pending_for_nobody(cleanups: Cleanups) -> None:
    for owner in (HERS, HIS, NOBODYS):
        await cleanups.begin(owner, ADDRESS, WriteState.UNKNOWN)
    other = await cleanups.begin(HERS, OTHER, WriteState.UNKNOWN)
    await cleanups.resolve(ADDRESS)
    assert [it.cleanup_id for it in await cleanups.of_user(ANA)] == [other]
    assert await cleanups.of_user(UserId(8)) == []


async def test_an_id_is_never_given_again(cleanups: Cleanups) -> None:
    """It names the operation under which the clean-up is told, and that one may be remembered still."""
    first = await cleanups.begin(HERS, ADDRESS, WriteState.UNKNOWN)
    await cleanups.resolve(ADDRESS)
    assert await cleanups.begin(HERS, ADDRESS, WriteState.UNKNOWN) > first


async def test_a_record_is_let_alone_while_its_work_may_be_going_on(
    cleanups: Cleanups, clock: FakeClock
) -> None:
    cleanup_id = await cleanups.begin(HERS, ADDRESS, WriteState.UNKNOWN)
    clock.advance(WORK_SECONDS - 0.001)
    assert await due(cleanups) == []
    clock.advance(0.001)
    assert await due(cleanups) == [cleanup_id]


async def test_the_record_of_dead_work_is_due_at_once(cleanups: Cleanups) -> None:
    dead = await cleanups.begin(HERS, ADDRESS, WriteState.UNKNOWN)
    await cleanups.begin(HIS, ADDRESS, WriteState.UNKNOWN)
    await cleanups.hurry(dead)
    assert await due(cleanups) == [dead]


async def test_what_was_taken_is_not_given_again_unless_its_taker_is_never_heard_of(
    cleanups: Cleanups, clock: FakeClock
) -> None:
    cleanup_id = await cleanups.begin(HERS, ADDRESS, WriteState.UNKNOWN)
    await cleanups.hurry(cleanup_id)
    assert await due(cleanups) == [cleanup_id]
    assert await due(cleanups) == []
    clock.advance(WORK_SECONDS)
    assert await due(cleanups) == [cleanup_id]


async def test_of_two_processes_that_look_at_once_one_takes_it(
    cleanups: Cleanups, another_process: Cleanups
) -> None:
    every = [await cleanups.begin(HERS, f"10.0.0.{n}", WriteState.UNKNOWN) for n in range(1, 6)]
    for cleanup_id in every:
        await cleanups.hurry(cleanup_id)
    mine, yours = await asyncio.gather(due(cleanups), due(another_process))
    assert sorted(mine + yours) == every


async def test_who_waits_longest_comes_first_and_no_more_than_wanted_are_taken(
    cleanups: Cleanups, clock: FakeClock
) -> None:
    ids = [await cleanups.begin(HERS, f"10.0.0.{n}", WriteState.UNKNOWN) for n in range(1, 4)]
    for cleanup_id in reversed(ids):
        await cleanups.hurry(cleanup_id)
        clock.advance(1)
    taken = await cleanups.take_due(limit=2)
    assert [pending.cleanup_id for pending in taken] == [ids[2], ids[1]]
    assert await due(cleanups) == [ids[0]]


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(0, 5), (1, 10), (2, 20), (6, 320), (7, 600), (10_000, 600)]
)
async def test_the_wait_grows_with_every_attempt_up_to_ten_minutes(
    cleanups: Cleanups, clock: FakeClock, attempts: int, seconds: int
) -> None:
    cleanup_id = await cleanups.begin(HERS, ADDRESS, WriteState.UNKNOWN)
    await cleanups.postpone(cleanup_id, attempts=attempts)
    clock.advance(seconds - 0.001)
    assert await due(cleanups) == []
    clock.advance(0.001)
    (pending,) = await cleanups.take_due(limit=10)
    assert pending.attempts == attempts
