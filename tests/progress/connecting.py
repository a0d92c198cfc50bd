"""Readers that are written to directly: a connection that keeps what it is told, and a transport over it."""

import asyncio
from collections.abc import Sequence

from tests.brokers.changes import USER
from tests.progress.reading import record_of
from wellnet_sse.progress.hub import Hub
from wellnet_sse.progress.items import CloseReason, Encoder, Final, Item
from wellnet_sse.progress.subscription import Subscription


def encode(items: Sequence[Item]) -> bytes:
    """One line an item: its place, and `!` where it is the final one; `.` for nothing."""
    lines = [
        f"{record.cursor.seq}{'!' if isinstance(item, Final) else ''}\n"
        for item in items
        if (record := record_of(item)) is not None
    ]
    return "".join(lines).encode() if items else b".\n"


class Connection:
    """A connection that keeps what is written to it; its peer takes all at once, or nothing."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.stalled = False
        self.aborted = False
        self.broken = False
        self._waiting = 0

    def write(self, data: bytes) -> None:
        if self.broken:
            raise OSError("a fault of this connection alone")
        self.written.append(data)
        if self.stalled:
            self._waiting += len(data)

    def buffered(self) -> int:
        return self._waiting

    def take(self, count: int) -> None:
        self._waiting -= count

    def abort(self) -> None:
        self.aborted = True

    @property
    def lines(self) -> list[str]:
        return b"".join(self.written).decode().splitlines()


class DirectReader:
    """A transport over a connection: it writes the batches itself, and lets live records be written to it."""

    def __init__(self, subscription: Subscription, encoder: Encoder) -> None:
        self.connection = Connection()
        self.subscription = subscription
        self.encoder = encoder
        self.task = asyncio.ensure_future(self._serve())

    async def _serve(self) -> None:
        with self.subscription:
            self.subscription.write_directly(self.connection, self.encoder)
            async for batch in self.subscription.batches():
                self.connection.write(encode(batch))

    async def ended(self) -> list[str]:
        async with asyncio.timeout(5):
            await self.task
        return self.connection.lines


async def settle() -> None:
    """Let everything happen that is due: a flush comes at the latest with the next tick of 2 ms."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_later(0.004, done.set_result, None)
    await done


async def direct(
    hub: Hub,
    *,
    operation_id: str | None = None,
    cursor: str | None = None,
    encoder: Encoder = encode,
    expires_ms: int | None = None,
) -> DirectReader:
    subscription = hub.subscribe(USER, operation_id=operation_id, cursor=cursor, expires_ms=expires_ms)
    reader = DirectReader(subscription, encoder)
    await settle()
    return reader


async def close(hub: Hub, *readers: DirectReader) -> None:
    hub.close(CloseReason.DRAIN)
    for reader in readers:
        await reader.ended()
