"""What this process has seen of each user's history: a store that fell back behind it gives a new epoch."""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from wellnet_sse.brokers.valkey.link import Call
from wellnet_sse.brokers.valkey.names import bucket_of, user_keys
from wellnet_sse.brokers.valkey.scripts import Script
from wellnet_sse.brokers.valkey.shards import Reply
from wellnet_sse.progress.events import Cursor, UserId

LIMIT_USERS = 65_536
"""Of how many users this is remembered: those who were active last."""


class Head(NamedTuple):
    """The newest entry of a user, and which append wrote it."""

    cursor: Cursor
    mark: str
    """Empty before the first entry, and where it is not known."""


UNSEEN = Head(Cursor("", 0), "")


class Heads:
    """Gives every script of a user what was seen last; the scripts judge by it."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._seen: OrderedDict[UserId, Head] = OrderedDict()

    def call(self, user_id: UserId, script: Script, keys: Sequence[str], *args: str | int) -> Call:
        """The script as it is to be run for the user; `keys` and `args` come after those that all take."""
        seen, own = self._seen.get(user_id, UNSEEN), user_keys(user_id)
        place = (user_id, self._clock(), secrets.token_hex(4), seen.cursor.epoch, seen.cursor.seq, seen.mark)
        every = (own.heads, own.log, own.users, own.operations, own.trimmed)
        return Call(bucket_of(user_id), script, (*every, *keys), (*place, *args))

    def is_at(self, user_id: UserId, place: bytes) -> bool:
        """Whether the user's place, as the store keeps it, is the newest that was seen."""
        epoch, seq, _, _, mark = place.decode().split(" ")
        return self._seen.get(user_id, UNSEEN) == Head(Cursor(epoch, int(seq)), mark)

    def note(self, user_id: UserId, cursor: Cursor, mark: str) -> None:
        """This entry was seen."""
        seen = self._seen.get(user_id)
        if seen is None or seen.cursor.epoch != cursor.epoch or seen.cursor.seq <= cursor.seq:
            self._seen[user_id] = Head(cursor, mark)
            self._seen.move_to_end(user_id)
            if len(self._seen) > LIMIT_USERS:
                self._seen.popitem(last=False)

    def taken(self, user_id: UserId, reply: Sequence[Reply]) -> tuple[Cursor, int, Sequence[Reply]]:
        """Out of what a reading script gives: the newest place, which is noted, the floor, and the rest."""
        epoch, seq, floor, mark, *rest = reply
        newest = Cursor(epoch.decode(), int(seq))
        self.note(user_id, newest, mark.decode())
        return newest, int(floor), rest
