"""A server whose whole history somebody has seen, so that any answer can be held to it."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import NamedTuple

from tests.chaos.clients import Data, SseClient
from tests.chaos.ledger import Ledger, Seen, seq_of, split_cursor
from tests.chaos.publisher import Publisher
from tests.chaos.resuming import Told, Watch, Way, resume, verify
from tests.harness import ServerProcess, eventually

USER, OTHER = 1, 2
AT_A_TIME = 8
"""How many resume at once."""


class World(NamedTuple):
    """A server, and somebody who saw the whole history of each user."""

    server: ServerProcess
    ledger: Ledger
    watchers: dict[int, SseClient]
    before: list[Seen]
    """What `USER` had in history before anybody watched."""

    @property
    def epoch(self) -> str:
        """What `USER`'s cursors begin with."""
        return split_cursor(self.watchers[USER].lives[0].cursor)[0]

    def truth(self, user: int = USER) -> list[Seen]:
        """The user's whole history."""
        seen = self.watchers[user].log.events()
        if user != USER or not self.before:
            return seen
        before = [replace(it, cursor=f"{self.epoch}-{seq_of(it.cursor)}") for it in self.before]
        return before + [it for it in seen if seq_of(it.cursor) > len(before)]

    async def publish(self, *, operations: int, seed: int, user: int = USER) -> None:
        """Do some operations, and wait until the watcher has seen all of it."""
        publisher = Publisher(
            self.server.port, user, seed, seed=seed, ledger=self.ledger, interval_seconds=0.001
        )
        await publisher.run(operations=operations)
        answered = max(seq_of(it.cursor) for it in self.ledger.publishes if it.user == user)
        probe = await resume(self.server.port, Watch(user), None)
        assert seq_of(probe.live) >= answered
        await eventually(lambda: self.watchers[user].position == seq_of(probe.live))


@asynccontextmanager
async def world(server: ServerProcess, *, before: Sequence[Seen] = ()) -> AsyncIterator[World]:
    """Watch from now on; `before` is what `USER`'s history holds already."""
    watchers = {
        user: SseClient(f"watcher-{user}", server.port, user, seed=0, data=Data()) for user in (USER, OTHER)
    }
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(watcher.run()) for watcher in watchers.values()]
        await eventually(lambda: all(it.lives for it in watchers.values()))
        yield World(server, Ledger(), watchers, list(before))
        for task in running:
            task.cancel()


def watches(operation_ids: Iterable[str], user: int = USER) -> list[Watch]:
    """Every way of watching everything, and each operation."""
    ways = [Watch(user, None, way) for way in Way]
    one = [
        Watch(user, operation_id, way) for operation_id in operation_ids for way in (Way.HEADER, Way.QUERY)
    ]
    return [*ways, *one]


def operations(truth: Iterable[Seen]) -> list[str]:
    """The operations, in the order of their first events."""
    return list(dict.fromkeys(it.data["operation_id"] for it in truth))


async def resume_everywhere(
    port: int, truth: list[Seen], cursors: Iterable[str]
) -> list[tuple[Watch, str, Told]]:
    """Go on from each cursor in every way, hold all answers to the truth, and go on after each gap."""

    async def once(watch: Watch, cursor: str) -> tuple[Watch, str, Told]:
        async with turn:
            told = await resume(port, watch, cursor)
            verify(told, truth, watch, cursor)
            if told.gap is not None:
                again = told.live or told.seen[-1].cursor
                after = await resume(port, watch, again)
                assert after.gap is None, f"the next one has a gap again: {watch} {cursor} {after}"
                verify(after, truth, watch, again)
        return watch, cursor, told

    turn = asyncio.Semaphore(AT_A_TIME)
    everything = watches(operations(truth))
    return await asyncio.gather(*(once(watch, cursor) for cursor in cursors for watch in everything))
