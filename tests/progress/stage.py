"""A loop, a clock, a broker in trouble, a hub and its witnesses: what the history machine plays on."""

import asyncio
from collections.abc import Awaitable, Collection
from functools import partial
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine

from tests.progress.clock import FakeClock
from tests.progress.truth import TroubledBroker
from tests.progress.witness import BYTES, EVENTS, Witness
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.brokers.sql import SqlBroker
from wellnet_sse.errors import WellnetError
from wellnet_sse.progress.broker import Broker, Change
from wellnet_sse.progress.events import Status, UserId
from wellnet_sse.progress.hub import Hub, Limits
from wellnet_sse.progress.operation import Operation
from wellnet_sse.storage.database import Database
from wellnet_sse.storage.schema import Base

USER = UserId(7)
HISTORY_EVENTS = 12
HISTORY_MS = 3_600_000
ROUNDS = 1000
TURNS = 12
"""So many turns of the loop settle whatever is under way, unless a database is asked."""


Updates = list[tuple[str, Status, int | None]]
"""Steps, their statuses and numbers."""


def changes(updates: Updates, size: int) -> list[Change]:
    """Updates of steps, with a message of so many characters."""
    return [
        partial(Operation.update, step=step, status=status, message="m" * size, progress=progress)
        for step, status, progress in updates
    ]


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose timers follow a clock that somebody turns."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def time(self) -> float:
        return self._clock.monotonic()


class Stage(RuleBasedStateMachine):
    """Hub, broker, outboxes and subscriptions as one; every reader is a witness."""

    async def make_broker(self) -> Broker:
        return MemoryBroker(history_ms=HISTORY_MS, history_events=HISTORY_EVENTS, clock=self.clock.wall_ms)

    async def close_broker(self) -> None:
        await self.broker.aclose()

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.loop = VirtualLoop(self.clock)
        self.witnesses: list[Witness] = []
        self.runs: list[tuple[str, str]] = []
        self.names = ["one", "two", "three"]
        self.count = 0
        self.act(self._begin())

    async def _begin(self) -> None:
        self.broker = TroubledBroker(await self.make_broker(), USER)
        self.hub = Hub(
            self.broker, limits=Limits(outbox_events=EVENTS, outbox_bytes=BYTES), clocks=self.clock.clocks
        )
        await self.broker.start()
        # It never ends, so that the user is never forgotten, epoch and all.
        await self.broker.append(USER, "anchor", partial(Operation.name, steps=()))
        found = await self.broker.operation(USER, "anchor")
        assert found is not None
        self.epoch = found[1].epoch

    async def close(self) -> None:
        """Leave nothing behind, whatever happened."""
        for witness in self.witnesses:
            await witness.leave()
        await self.close_broker()

    def act(self, work: Awaitable[Any]) -> Any:
        """Do it, and let everything come to rest."""

        async def until_rest() -> Any:
            result = await work
            await self.settle()
            for witness in [it for it in self.witnesses if it.closed]:
                self.witnesses.remove(witness)
                await witness.leave()
            return result

        return self.loop.run_until_complete(until_rest())

    async def settle(self) -> None:
        """Let everything that can go on go on; greedy readers take whatever comes."""
        moved, rounds = True, 0
        while moved:
            rounds += 1
            assert rounds < ROUNDS, "it never comes to rest"
            self.clock.now_ms += 3  # past the hub's own tick
            for witness in self.witnesses:
                if witness.greedy:
                    witness.pull()
            await self._turn()
            moved = False
            for witness in self.witnesses:
                moved = (witness.collect() and witness.greedy) or moved

    async def _turn(self) -> None:
        left = TURNS
        while left:
            await asyncio.sleep(0)
            left = TURNS if self.broker.busy else left - 1

    def write(self, user_id: UserId, operation_id: str, *changes: Change, lost: Collection[int] = ()) -> bool:
        """Append them in one go; whether the last was taken. Those at `lost` places never reach the hub."""

        async def work() -> bool:
            taken, losing = False, self.broker.losing
            for place, change in enumerate(changes):
                self.broker.losing = losing or place in lost
                try:
                    await self.broker.append(user_id, operation_id, change)
                except WellnetError:  # refused by the rules, which have tests of their own, or it is away
                    taken = False
                else:
                    taken = True
                    for witness in self.witnesses:
                        witness.note_published()
            self.broker.losing = losing
            return taken

        done: bool = self.act(work())
        return done


class SqlStage(Stage):
    """The same over a database."""

    async def make_broker(self) -> Broker:
        self.database = Database("sqlite://")
        async with self.database.writing() as connection:
            await connection.run_sync(Base.metadata.create_all)
        return SqlBroker(
            self.database,
            history_ms=HISTORY_MS,
            history_events=HISTORY_EVENTS,
            lock_wait_seconds=0,
            clock=self.clock.wall_ms,
        )

    async def close_broker(self) -> None:
        await self.broker.aclose()
        await self.database.aclose()
