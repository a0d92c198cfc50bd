"""Nodes: brokers, each with a hub of its own, over one Valkey."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import NamedTuple, Protocol

import pytest

from tests.harness import ValkeyServer
from wellnet_sse.brokers.valkey import ValkeyBroker
from wellnet_sse.progress.hub import Hub, Limits, wall_clock_ms


class Node(NamedTuple):
    """A process, as far as history goes."""

    broker: ValkeyBroker
    hub: Hub


class MakeNode(Protocol):
    """Starts one more node, which ends with the test."""

    async def __call__(
        self, url: str | None = None, *, wait_seconds: float = 5.0, database: str | None = None
    ) -> Node: ...


@pytest.fixture
async def make_node(valkey: ValkeyServer) -> AsyncIterator[MakeNode]:
    async with AsyncExitStack() as stack:

        async def make(
            url: str | None = None, *, wait_seconds: float = 5.0, database: str | None = None
        ) -> Node:
            async def name() -> str:
                return database or ""

            broker = ValkeyBroker(
                url or valkey.url,
                history_ms=86_400_000,
                history_events=10_000,
                wait_seconds=wait_seconds,
                clock=wall_clock_ms,
                database=None if database is None else name,
            )
            hub = Hub(broker, limits=Limits())
            await broker.start()
            stack.push_async_callback(broker.aclose)
            return Node(broker, hub)

        yield make
