"""What is known of users without asking the database: only what is committed."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wellnet_sse.brokers.activity import Activity
from wellnet_sse.brokers.sql.store import Kept, Store
from wellnet_sse.progress.events import Record, UserId
from wellnet_sse.progress.operation import Operation

TAIL_RECORDS = 512
"""How many of a user's newest records are also kept in memory, for readers that come back."""

RECENT_MS = 5 * 60_000
"""How long an ended operation, and a user at rest, stay in memory."""


@dataclass(slots=True)
class Known:
    """One user's place in history, operations and newest records."""

    seq: int
    floor: int
    """The newest entry that is no longer kept."""
    touched_ms: int
    operations: dict[str, Kept] = field(default_factory=dict)
    """Those that have not ended, and those that ended a moment ago."""
    tail: deque[Record] = field(default_factory=lambda: deque(maxlen=TAIL_RECORDS))

    def tail_after(self, seq: int) -> Sequence[Record] | None:
        """The records after `seq`; None where they do not all stand in the tail."""
        if seq >= self.seq:
            return ()
        if not self.tail or self.tail[0].seq > seq + 1:
            return None
        return [record for record in self.tail if record.seq > seq]


class Cache:
    """The users that are in use, loaded when first asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._users: dict[UserId, Known] = {}
        self.activity = Activity()

    def __len__(self) -> int:
        return len(self._users)

    def get(self, user_id: UserId, now_ms: int) -> Known | None:
        """The user, where it is loaded."""
        known = self._users.get(user_id)
        if known is not None:
            known.touched_ms = now_ms
        return known

    async def load(self, user_ids: Iterable[UserId], now_ms: int) -> None:
        """Load those that are not: to be called while nothing is written."""
        missing = [user_id for user_id in user_ids if user_id not in self._users]
        if missing:
            await self._fetch(missing, now_ms)

    async def reload(self, user_ids: Collection[UserId], now_ms: int) -> None:
        """Load these anew: what is known of them may not be what is kept. To be called as `load` is."""
        await self._fetch([user_id for user_id in user_ids if user_id in self._users], now_ms)

    async def _fetch(self, missing: Sequence[UserId], now_ms: int) -> None:
        places = await self._store.user_places(missing)
        loaded = {user_id: Known(*places.get(user_id, (0, 0)), now_ms) for user_id in missing}
        found = await self._store.unfinished_or_recent(missing, now_ms - RECENT_MS)
        for user_id in missing:
            self.activity.forget(user_id)
        for kept in found:
            loaded[kept.user_id].operations[kept.operation.operation_id] = kept
            self.activity.note(kept.user_id, kept.operation)
        self._users |= loaded

    async def load_operations(self, places: Collection[tuple[UserId, str]]) -> None:
        """Load these operations of loaded users, where they are known at all."""
        missing = [(user, name) for user, name in places if name not in self._users[user].operations]
        if missing:
            for kept in await self._store.find(missing):
                self._users[kept.user_id].operations[kept.operation.operation_id] = kept

    def trimmed_seq(self, user_id: UserId, operation_id: str) -> int:
        """The newest entry under this id that may be gone."""
        known = self._users[user_id]
        kept = known.operations.get(operation_id)
        # An operation of the same id may have been forgotten with all that it wrote.
        return known.floor if kept is None else kept.trimmed_seq

    def install(self, user_id: UserId, operation: Operation) -> None:
        """Take over an operation's state that was just committed."""
        trimmed_seq = self.trimmed_seq(user_id, operation.operation_id)
        kept = Kept(user_id, operation, trimmed_seq)
        self._users[user_id].operations[operation.operation_id] = kept
        self.activity.note(user_id, operation)

    def extend(self, user_id: UserId, records: Sequence[Record]) -> None:
        """Take over records that were just committed."""
        if records:
            known = self._users[user_id]
            known.seq = records[-1].seq
            known.tail.extend(records)

    def trimmed(self, user_id: UserId, floor: int, last_of_operation: dict[str, int]) -> None:
        """Note that entries up to `floor` are gone, and which was the last one of each operation."""
        known = self._users.get(user_id)
        if known is not None:
            known.floor = max(known.floor, floor)
            for operation_id, seq in last_of_operation.items():
                if operation_id in known.operations:
                    kept = known.operations[operation_id]
                    known.operations[operation_id] = kept._replace(trimmed_seq=seq)

    def clear(self) -> None:
        """Forget everybody."""
        for user_id in self._users:
            self.activity.forget(user_id)
        self._users.clear()

    def evict_ended(self, before_ms: int, oldest_kept: Mapping[UserId, int]) -> None:
        """Forget operations that ended before then, or whose ending is older than the user's oldest kept."""
        for user_id, known in self._users.items():
            oldest = oldest_kept.get(user_id, 0)
            for operation_id, kept in list(known.operations.items()):
                finished_ms = kept.operation.finished_ms
                if finished_ms is not None and (
                    finished_ms < before_ms or kept.operation.ending_seq < oldest
                ):
                    del known.operations[operation_id]

    def evict_idle(self, before_ms: int) -> None:
        """Forget users without operations who were not asked for since then."""
        for user_id, known in list(self._users.items()):
            if not known.operations and known.touched_ms < before_ms:
                del self._users[user_id]
