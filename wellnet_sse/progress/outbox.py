"""A reader's bounded buffer: in order and lossless while the reader keeps up, conflated when it does not."""

from collections.abc import Iterator

from wellnet_sse.progress.events import Event, Record, Status

LIMIT_EVENTS = 256
LIMIT_BYTES = 256 * 1024


class Outbox:
    """Records not yet handed to a connection, at most `limit_events` and `limit_bytes` (of JSON).

    At the bound it conflates: of `in_progress` events of one attempt at a step the newest stays, at its own
    place. Changes of status and endings always stay. Attempts need no number here, because between two of
    them stands another status.
    """

    __slots__ = ("_bytes", "_limit_bytes", "_limit_events", "_newest", "_records", "conflated")

    def __init__(self, *, limit_events: int = LIMIT_EVENTS, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_events = limit_events
        self._limit_bytes = limit_bytes
        self._records: dict[int, Record] = {}  # by seq: ordered, and any of them can be taken out
        self._bytes = 0
        self._newest: dict[tuple[str, str], int | None] | None = None
        self.conflated = 0
        """How many updates were dropped because a newer one took their place."""

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    @property
    def size_bytes(self) -> int:
        """The JSON bytes that wait here."""
        return self._bytes

    def offer(self, record: Record) -> bool:
        """Take `record` in, or answer False where even conflation leaves no room. Never waits."""
        if self._newest is not None:
            self._conflate_with(record)
        elif not self._has_room(record):
            self._conflate()
            self._conflate_with(record)
        if not self._has_room(record):
            return False
        self._records[record.seq] = record
        self._bytes += len(record.json)
        return True

    def take(self, limit_bytes: int | None = None) -> list[Record]:
        """Hand over the oldest records: all of them, or at least one and then up to `limit_bytes`."""
        if limit_bytes is None or self._bytes <= limit_bytes:
            taken = list(self._records.values())
            self.clear()
            return taken
        taken, size = [], 0
        for record in self._records.values():
            size += len(record.json)
            if taken and size > limit_bytes:
                break
            taken.append(record)
        for record in taken:
            del self._records[record.seq]
            self._bytes -= len(record.json)
        self._newest = None
        return taken

    def drop_through(self, seq: int) -> None:
        """Forget the records up to `seq`, which the reader got in another way."""
        for old in [held for held in self._records if held <= seq]:
            self._bytes -= len(self._records.pop(old).json)
        self._newest = None

    def clear(self) -> None:
        """Forget everything."""
        self._records.clear()
        self._bytes = 0
        self._newest = None

    def _has_room(self, record: Record) -> bool:
        return len(self._records) < self._limit_events and self._bytes + len(record.json) <= self._limit_bytes

    def _conflate(self) -> None:
        """Go through all records once; from here on each newcomer is conflated in constant time."""
        records, self._records, self._bytes, self._newest = self._records, {}, 0, {}
        for seq, record in records.items():
            self._conflate_with(record)
            self._records[seq] = record
            self._bytes += len(record.json)

    def _conflate_with(self, record: Record) -> None:
        """Drop the update that `record` makes old, and note what may be made old by the next."""
        event = record.event
        if self._newest is None or not isinstance(event, Event):
            return
        key = (event.operation_id, event.step)
        if event.status is not Status.IN_PROGRESS:
            self._newest[key] = None
            return
        old = self._newest.get(key)
        if old is not None and (dropped := self._records.pop(old, None)) is not None:
            self._bytes -= len(dropped.json)
            self.conflated += 1
        self._newest[key] = record.seq
