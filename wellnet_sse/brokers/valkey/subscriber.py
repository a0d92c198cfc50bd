"""One connection to a node, over which it announces what is appended for the users that are watched."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from wellnet_sse.brokers.valkey.shards import ANSWER_SECONDS, Shard

log = logging.getLogger(__name__)

QUIET_SECONDS = 2.0
"""After so much silence the node is asked whether it is there; after as much again it is not."""
PAUSE_SECONDS = (0.05, 0.2, 0.5, 1.0)


class Subscriber:
    """Subscribed to the channels that are wanted, again and again where the connection is lost.

    `announce` gets the channel and the message, in the order of the node.
    """

    def __init__(self, shard: Shard, announce: Callable[[str, bytes], None]) -> None:
        self._shard = shard
        self._announce = announce
        self._wanted: dict[str, asyncio.Event] = {}
        self._asked: set[str] = set()
        self._heard: set[str] = set()
        self._left: list[str] = []
        self._doubtful: set[str] = set()
        """Channels of which the node may not have been told whether they are wanted."""
        self._changed = asyncio.Event()
        self._closed = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name="history subscriber")

    def add(self, channel: str) -> asyncio.Event:
        """Want a channel; gives what is set as soon as whatever is appended from then on is announced."""
        event = self._wanted.setdefault(channel, asyncio.Event())
        self._doubt(channel)
        if channel in self._asked and channel in self._heard:  # it was wanted a moment ago, too
            event.set()
        return event

    def remove(self, channel: str) -> None:
        """Want it no more."""
        self._wanted.pop(channel, None)
        self._doubt(channel)

    def _doubt(self, channel: str) -> None:
        self._doubtful.add(channel)
        self._changed.set()

    async def aclose(self) -> None:
        """End."""
        self._closed = True
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        pauses = iter(PAUSE_SECONDS)
        while not self._closed:  # on Python 3.11 a TaskGroup that fails at that moment loses the cancellation
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    connection = await self._shard.pool.get_connection()  # type: ignore[no-untyped-call]
                try:
                    pauses = iter(PAUSE_SECONDS)
                    self._begin_anew()
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self._ask(connection))
                        tasks.create_task(self._listen(connection))
                finally:
                    await connection.disconnect(nowait=True)
                    await self._shard.pool.release(connection)
            except* (RedisError, OSError, TimeoutError):
                pass  # whoever watches looks at the store itself, too, and hears there that it is away
            except* Exception:
                log.exception("history_subscriber_failed")
            await asyncio.sleep(next(pauses, PAUSE_SECONDS[-1]))

    def _begin_anew(self) -> None:
        self._asked, self._heard, self._left = set(), set(), []
        self._doubtful = set(self._wanted)
        for event in self._wanted.values():
            event.clear()

    async def _ask(self, connection: Any) -> None:
        """Tell the node which channels are wanted; with nothing to tell, ask whether it is there."""
        while True:
            self._changed.clear()
            # Only these are looked at: there may be very many users, and one of them comes or goes.
            doubtful, self._doubtful = self._doubtful, set()
            left = {channel for channel in doubtful if channel in self._asked and channel not in self._wanted}
            new = {channel for channel in doubtful if channel in self._wanted and channel not in self._asked}
            self._asked -= left
            self._asked |= new
            self._left += left
            # One by one: in a Cluster a command takes channels of one slot only.
            commands = [("SUNSUBSCRIBE", channel) for channel in left]
            commands += [("SSUBSCRIBE", channel) for channel in new]
            await connection.send_packed_command(connection.pack_commands(commands))
            try:
                async with asyncio.timeout(QUIET_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                await connection.send_command("PING")

    async def _listen(self, connection: Any) -> None:
        """Take what the node says. Raises where it is silent too long, and where a channel is not its own."""
        while True:
            said = await connection.read_response(timeout=2 * QUIET_SECONDS)
            if said is None:
                raise ConnectionResetError("the node is silent")
            if not isinstance(said, list) or said[0] == b"pong":
                continue
            kind, channel = said[0], said[1].decode()
            if kind == b"smessage":
                self._announce(channel, said[2])
            elif kind == b"ssubscribe":
                self._heard.add(channel)
                if channel in self._wanted:
                    self._wanted[channel].set()
            elif channel in self._left:
                self._left.remove(channel)
                self._heard.discard(channel)
            else:
                raise ConnectionResetError("the channel has moved to another node")
