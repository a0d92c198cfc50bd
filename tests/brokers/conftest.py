"""The brokers that one contract holds: to add one, write its factory and name it in `FACTORIES`."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import pytest

from tests.progress.clock import FakeClock
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.brokers.sql import SqlBroker
from wellnet_sse.brokers.valkey import ValkeyBroker
from wellnet_sse.progress.broker import Broker
from wellnet_sse.storage.database import Database


@dataclass(frozen=True, slots=True)
class Terms:
    """What a broker is made with."""

    history_ms: int
    history_events: int
    clock: Callable[[], int]


Factory = Callable[[pytest.FixtureRequest, Terms], AbstractAsyncContextManager[Broker]]
"""Gives a started broker with an empty store, and closes it."""


@asynccontextmanager
async def memory(_request: pytest.FixtureRequest, terms: Terms) -> AsyncIterator[Broker]:
    broker = MemoryBroker(history_ms=terms.history_ms, history_events=terms.history_events, clock=terms.clock)
    await broker.start()
    yield broker
    await broker.aclose()


def sql(kind: str) -> Factory:
    @asynccontextmanager
    async def make(request: pytest.FixtureRequest, terms: Terms) -> AsyncIterator[Broker]:
        if kind == "sqlite":
            url = f"sqlite:///{request.getfixturevalue('tmp_path')}/wellnet.db"
        else:
            url = await request.getfixturevalue("postgres").empty_database()
        database = Database(url)
        await database.migrate()
        broker = SqlBroker(
            database,
            history_ms=terms.history_ms,
            history_events=terms.history_events,
            lock_wait_seconds=1,
            clock=terms.clock,
        )
        await broker.start()
        yield broker
        await broker.aclose()
        await database.aclose()

    return make


VALKEYS = ("valkey", "valkey_cluster")


def valkey(servers: str) -> Factory:
    @asynccontextmanager
    async def make(request: pytest.FixtureRequest, terms: Terms) -> AsyncIterator[Broker]:
        broker = ValkeyBroker(
            request.getfixturevalue(servers).url,
            history_ms=terms.history_ms,
            history_events=terms.history_events,
            wait_seconds=5,
            clock=terms.clock,
            lease_clock=terms.clock,
        )
        await broker.start()
        yield broker
        await broker.aclose()

    return make


FACTORIES: dict[str, Factory] = {
    "memory": memory,
    "sqlite": sql("sqlite"),
    "postgresql": sql("postgresql"),
    **{servers: valkey(servers) for servers in VALKEYS},
}


class MakeBroker(Protocol):
    """Makes a started broker with an empty store; it is closed with the test."""

    async def __call__(self, *, history_seconds: float = 86400, history_events: int = 10_000) -> Broker: ...


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=FACTORIES)
def kind(request: pytest.FixtureRequest) -> str:
    """Which broker; a server that it needs is started here, where no loop runs yet."""
    name: str = request.param
    if name in VALKEYS:
        request.getfixturevalue(name)
    return name


@pytest.fixture
async def make_broker(
    request: pytest.FixtureRequest, kind: str, clock: FakeClock
) -> AsyncIterator[MakeBroker]:
    async with AsyncExitStack() as stack:

        async def make(*, history_seconds: float = 86400, history_events: int = 10_000) -> Broker:
            terms = Terms(int(history_seconds * 1000), history_events, clock.wall_ms)
            return await stack.enter_async_context(FACTORIES[kind](request, terms))

        yield make


@pytest.fixture
async def broker(make_broker: MakeBroker) -> Broker:
    return await make_broker()
