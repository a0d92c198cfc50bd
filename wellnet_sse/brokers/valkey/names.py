"""Where what is kept: the names of the keys.

Users share a few buckets, and a bucket has one hash tag for all its keys. So whatever one append
touches stands on one node of a Cluster, the indexes over the users of a bucket among it, and can be written
by one script.
"""

import itertools
from functools import lru_cache
from typing import NamedTuple

from redis.crc import key_slot

from wellnet_sse.progress.events import UserId

BUCKETS = 32
"""A Cluster's nodes share these among them: more nodes than that are of no use. Another number would look for
everything in another place."""


SLOTS = 16384
"""Of a Cluster."""


def _tags() -> tuple[str, ...]:
    """For each bucket the smallest number whose slot lies near the middle of the bucket's part of all slots.

    Nodes have equal ranges of slots, as a rule, so no two of them differ by more than one bucket. Numbers as
    such would fall on them like dice: of 13 nodes some would have no bucket and others five.
    """
    tags: dict[int, str] = {}
    part = SLOTS // BUCKETS
    numbers = itertools.count()
    while len(tags) < BUCKETS:
        tag = str(next(numbers))
        bucket, place = divmod(key_slot(tag.encode()), part)
        if abs(place - part // 2) < part // 64:
            tags.setdefault(bucket, tag)
    return tuple(tags[bucket] for bucket in range(BUCKETS))


TAGS = _tags()
"""The hash tag of each bucket."""


def bucket_of(user_id: UserId) -> int:
    """The bucket that the user is in."""
    return user_id % BUCKETS


class UserKeys(NamedTuple):
    """The keys that a user's scripts work with."""

    heads: str
    """HASH of the bucket, user → `epoch seq floor touched_ms mark`."""
    log: str
    """STREAM of entries; `<seq>-0` → `e` the entry, `w` the mark of the append that wrote it."""
    users: str
    """ZSET of the bucket, user → when retention looks at it next."""
    operations: str
    """HASH, operation → `mark base state`; see `entries.py`."""
    trimmed: str
    """HASH, operation → its newest entry that is no longer kept."""
    open: str
    """SET of the operations that have not ended."""
    endings: str
    """ZSET, operation → the place of its ending."""
    finished: str
    """ZSET, operation → when it ended."""
    started: str
    """ZSET, operation → when it began."""
    resting: str
    """ZSET of the bucket, `user:operation` at rest → its last activity."""
    in_step: str
    """ZSET of the bucket, the same of those in the middle of a publisher's step."""
    runs: str
    """HASH of the bucket, `user:operation` → JSON of its runs and their holders."""


def bucket_key(bucket: int, what: str) -> str:
    """A key of a bucket."""
    return f"wellnet:{{{TAGS[bucket]}}}:{what}"


@lru_cache(maxsize=16384)
def user_keys(user_id: UserId) -> UserKeys:
    """The user's keys, in the order in which scripts take them."""
    bucket = bucket_of(user_id)
    of_bucket = {"heads", "users", "resting", "in_step", "runs"}
    return UserKeys(
        *(bucket_key(bucket, what if what in of_bucket else f"{user_id}:{what}") for what in UserKeys._fields)
    )


def idempotency_key(user_id: UserId, key: str) -> str:
    """Where the use of a publisher's key is noted."""
    return bucket_key(bucket_of(user_id), f"{user_id}:key:{key}")


def streams_key(user_id: UserId) -> str:
    """HASH, holder → how many streams of the user are open there, and the version of that."""
    return bucket_key(bucket_of(user_id), f"{user_id}:streams")


def rate_key(user_id: UserId) -> str:
    """Until when the user's actions are spread, at the rate that they may have."""
    return bucket_key(bucket_of(user_id), f"{user_id}:rate")


def channel(user_id: UserId, database: int) -> str:
    """Where a user's entries are announced. Channels know no databases, so its number is in their name."""
    return bucket_key(bucket_of(user_id), f"{user_id}:live:{database}")
