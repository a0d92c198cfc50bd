"""One reader: what it must be told, in order, whether it comes out of history or live.

Joining leaves no hole: the subscription is in the hub from its first moment and holds what is published;
history is read up to the newest; what was held and is later follows. A held outbox that overflows is emptied
and history read again, and so it goes after a hole in the live feed: one loop serves all of these.
"""

import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol, Self

from wellnet_sse.errors import UnavailableError
from wellnet_sse.progress.broker import Broker, Gap, Wanted
from wellnet_sse.progress.events import Cursor, Ending, Record, UserId
from wellnet_sse.progress.items import Clocks, CloseReason, Encoder, Final, Item, Live, Sink, pieces
from wellnet_sse.progress.outbox import Outbox
from wellnet_sse.progress.waker import Waker

PIECE_BYTES = 16 * 1024
"""How much a reader is handed at a time; the rest still counts as waiting in its outbox."""

RECENT_MS = 24 * 3600 * 1000
RECENT_OPERATIONS = 100
"""After a gap without a usable cursor: the endings of the last 24 h, the newest 100 (protocol §3)."""

RETRY_SECONDS = 1.0
"""How long to wait before history is asked for again, while the broker is away."""


class Home(Protocol):
    """Where readers live: the hub, as a reader sees it."""

    def join(self, subscription: "Subscription") -> None:
        """Offer it whatever is published from now on."""

    def leave(self, subscription: "Subscription") -> None:
        """Offer it nothing more."""

    def go_direct(self, subscription: "Subscription") -> None:
        """Write to its sink from now on: it is level."""

    def stop_direct(self, subscription: "Subscription") -> None:
        """Offer it records again, beginning with those that are not yet written."""

    def is_level(self, user_id: UserId, cursor: Cursor) -> bool:
        """Whether whatever is later than `cursor` was, or will be, offered to every reader of the user."""


class Standing(Protocol):
    """Readers who are written the same bytes at the same time, as those see it who are among them."""

    seq: int
    """Up to where they were told everything that was written."""
    written: int
    """How many bytes were written to whoever was there from the beginning."""
    written_at: float
    """When that was last, in monotonic seconds."""


class Subscription:
    """A reader of one user's events, or of one operation's; it is in the hub within its `with` block.

    `cursor` is where the reader left off, as received; None or "" where it starts. `recent_ms` adds to the
    state that a starting reader gets those operations that ended so recently. At `expires_ms` (milliseconds
    since 1970) whoever reads may read no longer.
    """

    __slots__ = (
        "_beat", "_broker", "_clocks", "_cursor", "_epoch", "_expected", "_finished", "_handed_at", "_home",
        "_is_direct", "_joining", "_overflowed", "_parks", "_recent_ms", "_standing", "_tell_live", "_waker",
        "_was_empty", "abort", "closed_at", "encode", "expires_ms", "handing", "on_wake", "opened_ms",
        "operation_id", "outbox", "parked", "reason", "seq", "sink", "taken_at", "user_id", "via",
    )  # fmt: skip

    def __init__(
        self,
        user_id: UserId,
        *,
        operation_id: str | None,
        cursor: str | None,
        recent_ms: int | None,
        expires_ms: int | None = None,
        via: str = "",
        broker: Broker,
        home: Home,
        outbox: Outbox,
        clocks: Clocks,
    ) -> None:
        self.user_id = user_id
        self.operation_id = operation_id
        self.expires_ms = expires_ms
        self.via = via
        """How the reader is connected, for people who look."""
        self.opened_ms = clocks.wall_ms()
        self.outbox = outbox
        self.reason: CloseReason | None = None
        """Why the server closed it, if it did."""
        self.abort: Callable[[], object] | None = None
        """What to call when the reader takes nothing even after it was closed."""
        self.handing = False
        """Whether the transport is at work on a batch."""
        self._handed_at = clocks.monotonic()
        self.closed_at: float | None = None
        """When the server closed it, in monotonic seconds."""
        self.taken_at = self._handed_at
        """When the peer was last seen to take something, where that can be seen."""
        self.encode: Encoder = _encode_nothing
        """What the bytes are made by that go to its sink."""
        self.parked = False
        """Whether only the hub looks after it: nothing iterates its batches."""
        self.on_wake: Callable[[], None] | None = None
        """What to call when a parked reader is to be looked after again."""
        self.sink: Sink | None = None
        """What it may be written to directly, if anything."""
        self.seq = 0
        """With `_epoch` the place up to which it was told everything before it was written to directly."""
        self._parks = False
        self._is_direct = False
        """Whether it lacks nothing but what becomes pending: no history, nothing offered, no end."""
        self._standing: Standing | None = None
        self._was_empty = True
        self._expected = 0
        """How much the sink would hold if its peer had taken nothing since this was looked at.

        Where it stands with others, without what they were written.
        """
        self._finished = False
        self._broker = broker
        self._home = home
        self._clocks = clocks
        self._cursor = cursor or None
        self._recent_ms = recent_ms
        self._epoch: str | None = None
        self._joining = True
        self._tell_live = True
        self._overflowed = False
        self._beat = False
        self._waker = Waker()

    def __enter__(self) -> Self:
        self._home.join(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._is_direct = False
        self._home.leave(self)
        self.outbox.clear()

    # What the hub does with it

    def offer(self, record: Record) -> None:
        """Take a live record in; never waits. A reader for whom there is no room is closed as slow."""
        if self.reason is not None or (record.seq <= self.seq and record.epoch == self._epoch):
            return
        if self.outbox.offer(record):
            self._wake()
        elif self._joining:
            self.outbox.clear()
            self._overflowed = True
        else:
            self.close(CloseReason.SLOW)

    def stand_on(self, standing: Standing) -> None:
        """From now on it is written what they are written."""
        self._standing = standing
        self._expected -= standing.written

    def stand_alone(self) -> None:
        """They are written what follows without it."""
        standing, self._standing = self._standing, None
        if standing is not None:
            self.seq = max(self.seq, standing.seq)
            self._expected += standing.written
            self._handed_at = max(self._handed_at, standing.written_at)

    def finish(self) -> None:
        """It was written its operation's ending, the last that it is told."""
        self._finished = True
        self._wake()

    def fail(self) -> None:
        """It cannot be told what it should be: end its connection."""
        if self.abort is not None:
            self.abort()

    def lost(self) -> None:
        """The live feed has a hole: read history again from the last record that was handed over."""
        self.outbox.clear()
        self._joining = True
        self._wake()

    def close(self, reason: CloseReason) -> None:
        """End the reader, as slow at once, else when it was told what waits for it."""
        if self.reason is None and not self._finished:
            if reason is not CloseReason.SLOW:
                self._stop_direct()  # what is pending waits for it, too
            self.reason, self.closed_at = reason, self._clocks.monotonic()
            if reason is CloseReason.SLOW:
                self.outbox.clear()
            self._wake()

    def beat(self, now: float) -> None:
        """Let an idle reader know that all is well: it gets an empty batch, or what that is written as."""
        if self.sink is None or self.handing or self._joining or len(self.outbox) > 0:
            self._beat = True
            self._wake()
        elif data := self.encode(()):
            self.sink.write(data)
            self._expected += len(data)
        self._handed_at = now

    def is_stuck(self, now: float, seconds: float) -> bool:
        """Whether the peer has taken nothing for so long although something waits for it."""
        if self.sink is None:
            return self.handing and now - self._handed_at >= seconds
        written = 0 if self._standing is None else self._standing.written
        expected = self._expected + written
        if expected == 0 and not self.handing:
            return False  # it was seen empty, and nothing was written since
        buffered = self.sink.buffered()
        if buffered < expected or buffered == 0:
            self.taken_at = now
        elif self._was_empty:
            self.taken_at = self.handed_at  # it has taken what came before
        self._expected, self._was_empty = buffered - written, buffered == 0
        return now - self.taken_at >= seconds

    @property
    def at_rest(self) -> bool:
        """Whether nothing waits for it, as `is_stuck` saw it."""
        return not self.handing and (self.sink is None or self._was_empty)

    def stuck_seconds(self, now: float) -> float:
        """For how long the peer has taken nothing although something waits for it, as `is_stuck` saw it."""
        if self.sink is None:
            return now - self._handed_at if self.handing else 0.0
        since = self.handed_at if self._was_empty else self.taken_at
        return now - since if self.sink.buffered() else 0.0

    @property
    def buffered_bytes(self) -> int:
        """What its connection has yet to send, where that can be seen."""
        return 0 if self.sink is None else self.sink.buffered()

    @property
    def handed_at(self) -> float:
        """When it was last handed or written something, in monotonic seconds."""
        if self._standing is None:
            return self._handed_at
        return max(self._handed_at, self._standing.written_at)

    # What the transport does with it

    def write_directly(self, sink: Sink, encode: Encoder, *, park: bool = False) -> None:
        """Let live records be written to `sink`, as `encode` makes them, as long as it has room.

        While `batches` waits, that is: then everything that it yielded must have been written before. With
        `park` it does not wait but ends, `parked`, and is to be begun again when `on_wake` is called.
        """
        self.sink, self.encode, self.abort, self._parks = sink, encode, sink.abort, park

    async def batches(self) -> AsyncGenerator[Sequence[Item], None]:
        """What to tell the reader, in order; an empty batch says that nothing happened for a while.

        Ends after a `Final`, and when the reader is closed: then `reason` says why.
        """
        self.parked = False
        self._stop_direct()
        while (batch := await self._next()) is not None:
            for piece in pieces(batch):
                self.handing, self._handed_at = True, self._clocks.monotonic()
                yield piece
                self.handing = False
                self._expected = sys.maxsize  # there was room for it: the peer takes, or its buffer did
                if self.reason is CloseReason.SLOW:
                    return
            if batch and isinstance(batch[-1], Final):
                self._finished, self.reason = True, None  # whoever closes it now comes too late
                return

    async def _next(self) -> Sequence[Item] | None:  # noqa: PLR0911 - one way out for each thing to tell
        while not self._finished:
            if self._joining:
                if self.reason is not None:
                    return None  # what is held must not be told before the history that comes first
                if batch := await self._catch_up():
                    return batch
                if self._beat:
                    self._beat = False
                    return ()
            elif records := self.outbox.take(PIECE_BYTES):
                self._epoch, self.seq = records[-1].cursor
                return self._items(records, more=len(self.outbox) > 0)
            elif self.reason is not None:
                return None
            elif self._beat:
                self._beat = False
                return ()
            elif self.sink is None:
                await self._waker.wait()
            elif self._parks:
                self._go_direct()
                self.parked = True
                return None
            else:
                self._go_direct()
                try:
                    await self._waker.wait()
                finally:
                    self._stop_direct()
        return None

    async def _catch_up(self) -> Sequence[Item]:
        """One step from where the reader is towards the newest; perhaps nothing to tell."""
        try:
            if self._epoch is not None:
                position: Cursor | None = Cursor(self._epoch, self.seq)
            else:
                position = Cursor.parse(self._cursor or "")
            if position is None:
                return await self._begin()
            page = await self._broker.since(self.user_id, position, operation_id=self.operation_id)
            if isinstance(page, Gap):
                return await self._state_after(page, position)
            if self._tell_live and page.level and not page.records and await self._is_over(page.upto):
                self._finished = True  # it came back with the ending, or later: there is nothing to wait for
                return ()
        except UnavailableError:
            await self._waker.wait(RETRY_SECONDS)
            return ()
        # From here to the end nothing is awaited: what is held follows this page without a hole.
        level = page.level and not self._overflowed and self._home.is_level(self.user_id, page.upto)
        self._joining, self._overflowed = not level, False
        records, upto = page.records, page.upto
        if not level and self.operation_id is not None and records and isinstance(records[-1].event, Ending):
            # Whether it is the final one is known with what follows: it is read again with that.
            records, upto = records[:-1], upto._replace(seq=records[-1].seq - 1)
        self._stand_at(upto)
        items = self._items(records, more=not level or len(self.outbox) > 0)
        if level and self._tell_live and not (items and isinstance(items[-1], Final)):
            self._tell_live = False
            items.append(Live(page.upto))
        return items

    async def _is_over(self, upto: Cursor) -> bool:
        """Whether the reader is of one operation, which has ended, and no later than at `upto`."""
        if self.operation_id is None:
            return False
        found = await self._broker.operation(self.user_id, self.operation_id)
        if found is None or found[0].outcome is None:
            return False
        ending = found[1]
        return ending.epoch == upto.epoch and ending.seq <= upto.seq

    async def _begin(self) -> Sequence[Item]:
        """What a reader without a cursor is told first, or with one that spells none."""
        if self._cursor is not None:
            return await self._state_after(Gap(self._cursor, *await self._broker.bounds(self.user_id)), None)
        since_ms = None if self._recent_ms is None else self._clocks.wall_ms() - self._recent_ms
        return await self._state(Wanted(self.operation_id, ended_since_ms=since_ms))

    async def _state_after(self, gap: Gap, cursor: Cursor | None) -> Sequence[Item]:
        self._tell_live = True
        latest = gap.latest
        if cursor and latest and cursor.epoch == latest.epoch and cursor.seq <= latest.seq:
            wanted = Wanted(self.operation_id, ended_after_seq=cursor.seq)
        else:
            since_ms = self._clocks.wall_ms() - RECENT_MS
            wanted = Wanted(self.operation_id, ended_since_ms=since_ms, newest=RECENT_OPERATIONS)
        return [gap, *await self._state(wanted)]

    async def _state(self, wanted: Wanted) -> list[Item]:
        state = await self._broker.state(self.user_id, wanted)
        records = state.records
        if self._epoch == state.cursor.epoch:
            # Ids rise on a connection: what it has told before is not told again.
            records = [record for record in records if record.seq > self.seq]
        self._stand_at(state.cursor)
        return self._items(records, more=not state.ended)

    def _stand_at(self, cursor: Cursor) -> None:
        self._epoch, self.seq = cursor
        self.outbox.drop_through(cursor.seq)

    def _items(self, records: Sequence[Record], *, more: bool) -> list[Item]:
        """The records, the last as `Final` where it is the operation's ending and no more follows."""
        items: list[Item] = list(records)
        if self.operation_id is not None and records and not more and isinstance(records[-1].event, Ending):
            items[-1] = Final(records[-1])
        return items

    def _go_direct(self) -> None:
        self._is_direct = True
        self._home.go_direct(self)

    def _stop_direct(self) -> None:
        if self._is_direct:
            self._is_direct = False
            self._home.stop_direct(self)

    def _wake(self) -> None:
        self._stop_direct()
        self._waker.wake()
        if self.parked and self.on_wake is not None:
            self.on_wake()


def _encode_nothing(_items: Sequence[Item]) -> bytes:
    return b""
