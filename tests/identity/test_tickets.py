"""Tickets work once, on whichever process, and not for long."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import func, select

from wellnet_sse.errors import InvalidTokenError
from wellnet_sse.identity.tickets import TICKET_SECONDS, Ticket, Tickets
from wellnet_sse.identity.tokens import Claims, Scope
from wellnet_sse.storage.database import Database

CLAIMS = Claims("7", frozenset({Scope.WATCH, Scope.OPERATE}), 2_000_000)


class Clock:
    """Milliseconds since 1970, as somebody sets them."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tickets(database: Database, clock: Clock) -> Tickets:
    return Tickets(database, now_ms=clock)


@pytest.fixture
async def elsewhere(migrated_url: str, clock: Clock) -> AsyncIterator[Tickets]:
    """Another process on the same database."""
    other = Database(migrated_url)
    yield Tickets(other, now_ms=clock)
    await other.aclose()


async def kept(database: Database) -> int:
    async with database.session() as session:
        return await session.scalar(select(func.count()).select_from(Ticket)) or 0


async def test_a_ticket_stands_for_its_token_once(tickets: Tickets) -> None:
    ticket, expires_ms = await tickets.give(CLAIMS)
    assert expires_ms == 1_000_000 + TICKET_SECONDS * 1000
    assert await tickets.take(ticket) == CLAIMS
    with pytest.raises(InvalidTokenError):
        await tickets.take(ticket)


async def test_of_fifty_at_once_on_two_processes_one_wins(tickets: Tickets, elsewhere: Tickets) -> None:
    ticket, _ = await tickets.give(CLAIMS)
    takers = [(tickets if number % 2 else elsewhere).take(ticket) for number in range(50)]
    results = await asyncio.gather(*takers, return_exceptions=True)
    assert [it for it in results if not isinstance(it, InvalidTokenError)] == [CLAIMS]


async def test_a_ticket_is_good_until_its_end_and_not_at_it(tickets: Tickets, clock: Clock) -> None:
    first, _ = await tickets.give(CLAIMS)
    second, expires_ms = await tickets.give(CLAIMS)
    clock.ms = expires_ms - 1
    assert await tickets.take(first) == CLAIMS
    clock.ms = expires_ms
    with pytest.raises(InvalidTokenError):
        await tickets.take(second)


async def test_a_ticket_does_not_outlive_its_token(tickets: Tickets) -> None:
    claims = CLAIMS._replace(expires_ms=1_005_000)
    assert (await tickets.give(claims))[1] == 1_005_000


@pytest.mark.parametrize("ticket", ["", "x", "x" * 100_000, "\ud800", "' OR 1=1 --", "\0"])
async def test_what_is_no_ticket_opens_nothing(tickets: Tickets, ticket: str) -> None:
    await tickets.give(CLAIMS)
    with pytest.raises(InvalidTokenError):
        await tickets.take(ticket)


async def test_tickets_do_not_stand_in_the_database(tickets: Tickets, database: Database) -> None:
    ticket, _ = await tickets.give(CLAIMS)
    async with database.session() as session:
        (row,) = (await session.execute(select(Ticket))).scalars()
    assert ticket not in str(vars(row))


async def test_only_those_are_thrown_away_that_are_too_old(
    tickets: Tickets, database: Database, clock: Clock
) -> None:
    await tickets.give(CLAIMS)
    clock.ms += TICKET_SECONDS * 1000 - 1
    fresh, _ = await tickets.give(CLAIMS)
    await tickets.trim()
    assert await kept(database) == 2
    clock.ms += 1
    await tickets.trim()
    assert await kept(database) == 1
    assert await tickets.take(fresh) == CLAIMS
