"""The users with readers in this process: what is appended for them anywhere is fed here, in order.

An announcement is no more than a hint: it may be lost, and the newest one without a trace. So the store is
asked about once a second how far it is, and what is missing is read there.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from wellnet_sse.brokers.valkey import scripts
from wellnet_sse.brokers.valkey.entries import load_entry, load_records
from wellnet_sse.brokers.valkey.heads import Heads
from wellnet_sse.brokers.valkey.link import Call, Link
from wellnet_sse.brokers.valkey.names import bucket_key, bucket_of, channel
from wellnet_sse.brokers.valkey.subscriber import Subscriber
from wellnet_sse.errors import UnavailableError
from wellnet_sse.progress.broker import Feed
from wellnet_sse.progress.events import Cursor, Record, UserId

log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
"""How often the store is asked how far each user is."""
HEARD_SECONDS = 1.0
"""How long a reader waits for its user's channel before it reads; without it, it hears of things later."""
LATE_SECONDS = 0.02
"""How long an announcement may be overtaken by a later one before it counts as lost."""
PAGE = 64
"""How much is fed at once, well below what an outbox holds; who is further behind looks for itself."""
MAX_HELD = 512


@dataclass(slots=True)
class Watch:
    """A user with readers here, and how far the feed has come."""

    user_id: UserId
    channel: str
    subscriber: Subscriber | None = None
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the user's channel is listened to."""
    fed: Cursor | None = None
    """The newest that was fed, or what the first reader found; None before that."""
    held: dict[int, Sequence[Record]] = field(default_factory=dict)
    """What came before what it follows, by its first place."""
    catching: asyncio.Task[None] | None = None
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    """Set, and replaced, whenever more was fed."""


class Watches:
    """Hears of what is appended, puts it in order, and hands it on to `feed`."""

    def __init__(self, link: Link, heads: Heads, database: int) -> None:
        self.feed: Feed = lambda _user_id, _records: None
        self._link = link
        self._heads = heads
        self._database = database
        self._watches: dict[UserId, Watch] = {}
        self._users: dict[str, UserId] = {}
        self._subscribers: dict[tuple[str, int], Subscriber] = {}
        self._chore: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look after the feed."""
        self._chore = asyncio.get_running_loop().create_task(self._keep(), name="history feed")

    async def aclose(self) -> None:
        """Hear no more."""
        tasks = [watch.catching for watch in self._watches.values() if watch.catching is not None]
        tasks += [self._chore] if self._chore is not None else []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for subscriber in self._subscribers.values():
            await subscriber.aclose()
        self._subscribers.clear()

    # Who is watched

    def watch(self, user_id: UserId) -> None:
        """See `Broker.watch`."""
        if user_id not in self._watches:
            watch = self._watches[user_id] = Watch(user_id, channel(user_id, self._database))
            self._users[watch.channel] = user_id
            self._subscribe(watch)

    def unwatch(self, user_id: UserId) -> None:
        """See `Broker.unwatch`."""
        watch = self._watches.pop(user_id, None)
        if watch is not None:
            del self._users[watch.channel]
            if watch.subscriber is not None:
                watch.subscriber.remove(watch.channel)
            if watch.catching is not None:
                watch.catching.cancel()

    async def heard(self, user_id: UserId) -> None:
        """Wait a moment until whatever is appended for a watched user from now on is heard of."""
        watch = self._watches.get(user_id)
        if watch is None or watch.heard.is_set():
            return
        try:
            async with asyncio.timeout(HEARD_SECONDS):
                await watch.heard.wait()
        except TimeoutError:
            return  # what is not heard of is found by asking

    def found(self, user_id: UserId, newest: Cursor) -> None:
        """A reader has read up to here: whatever is later must be fed."""
        watch = self._watches.get(user_id)
        if watch is not None and watch.fed is None:
            watch.fed = newest

    async def fed(self, user_id: UserId, cursor: Cursor) -> None:
        """Wait until the feed has come to `cursor`, of an append of this process."""
        while (watch := self._watches.get(user_id)) is not None:
            fed = watch.fed
            if fed is None or fed.epoch != cursor.epoch or fed.seq >= cursor.seq or watch.catching is None:
                return
            await watch.moved.wait()

    # What is appended

    def show(self, user_id: UserId, records: Sequence[Record]) -> None:
        """Feed what this process has appended, as soon as all that comes before it was fed."""
        watch = self._watches.get(user_id)
        if watch is None:
            self.feed(user_id, records)
        else:
            self._offer(watch, records)

    def _announced(self, channel: str, message: bytes) -> None:
        user_id = self._users.get(channel)
        if user_id is None:
            return
        watch = self._watches[user_id]
        header, *texts = message.split(b"\n")
        epoch, first, mark = header.decode().split(" ")
        seq = int(first)
        newest = Cursor(epoch, seq + len(texts) - 1)
        fed = watch.fed
        if fed is not None and fed.epoch == epoch and newest.seq <= fed.seq:
            return  # our own, most of the time
        self._heads.note(user_id, newest, mark)
        self._offer(watch, [Record(epoch, seq + n, load_entry(text)) for n, text in enumerate(texts)])

    def _offer(self, watch: Watch, records: Sequence[Record]) -> None:
        """Feed what follows, hold what comes too early, pass over what was fed."""
        fed, first = watch.fed, records[0].cursor
        if fed is not None and fed.epoch == first.epoch and first.seq > fed.seq + 1:
            if len(watch.held) < MAX_HELD:
                watch.held[first.seq] = records
            self._catch_up(watch, LATE_SECONDS)
            return
        if fed is not None and fed.epoch == first.epoch:
            records = [record for record in records if record.seq > fed.seq]
        self._feed(watch, records)
        while watch.held and watch.fed is not None:
            follower = min(watch.held)
            if follower > watch.fed.seq + 1:
                return
            held = watch.held.pop(follower)
            if held[0].epoch == watch.fed.epoch:
                self._feed(watch, [record for record in held if record.seq > watch.fed.seq])

    def _feed(self, watch: Watch, records: Sequence[Record]) -> None:
        if records:
            watch.fed = records[-1].cursor
            self.feed(watch.user_id, records)
            self._moved(watch)

    def _moved(self, watch: Watch) -> None:
        watch.moved.set()
        watch.moved = asyncio.Event()

    # What was not heard of

    def _catch_up(self, watch: Watch, after_seconds: float) -> None:
        if watch.catching is None:
            catching = self._caught_up(watch, after_seconds)
            watch.catching = asyncio.get_running_loop().create_task(catching, name="history catch-up")

    async def _caught_up(self, watch: Watch, after_seconds: float) -> None:
        try:
            await asyncio.sleep(after_seconds)
            if watch.fed is not None and (after_seconds == 0 or watch.held):
                await self._read_on(watch, watch.fed)
        except UnavailableError:
            pass  # it is asked again within the second
        except Exception:
            log.exception("history_catch_up_failed")
        finally:
            watch.catching = None
            self._moved(watch)

    async def _read_on(self, watch: Watch, fed: Cursor) -> None:
        """Feed what the store has and was not fed; where that is too much, or not all there, start anew."""
        newest, records = await self.page(watch.user_id, fed, PAGE)
        if records is None or fed.seq + len(records) < newest.seq:
            # By its newest entry readers hear of the hole, or of the new epoch, and look for themselves.
            watch.held.clear()
            before = newest._replace(seq=max(0, newest.seq - 1))
            newest, records = await self.page(watch.user_id, before, PAGE)
            watch.fed = None
        if records:
            self._offer(watch, records)
        else:
            watch.fed = newest

    async def page(
        self, user_id: UserId, after: Cursor, limit: int
    ) -> tuple[Cursor, Sequence[Record] | None]:
        """The user's newest place, and the entries after `after`; None where they are not all there."""
        args = ("", after.epoch, after.seq, limit, limit)
        reply = await self._link.ask(self._heads.call(user_id, scripts.PAGE, (), *args))
        newest, _, found = self._heads.taken(user_id, reply)
        return newest, load_records(newest.epoch, found[1]) if found else None

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self.check()
            except UnavailableError:
                await self._link.mend()
            except Exception:
                log.exception("history_feed_failed")

    async def check(self) -> None:
        """Ask how far each watched user is, and read what was not heard of.

        Raises UnavailableError where a node is away; for the users of the others it is done all the same.
        """
        for watch in self._watches.values():
            self._subscribe(watch)
        places = {shard.place for shard in self._link.shards.all()}
        for place in self._subscribers.keys() - places:  # nodes that are no more
            await self._subscribers.pop(place).aclose()
        by_bucket: dict[int, list[Watch]] = {}
        for watch in self._watches.values():
            if watch.fed is not None:
                by_bucket.setdefault(bucket_of(watch.user_id), []).append(watch)
        calls = [
            Call(bucket, scripts.PLACES, (bucket_key(bucket, "heads"),), [watch.user_id for watch in watches])
            for bucket, watches in by_bucket.items()
        ]
        away: UnavailableError | None = None
        for watches, heads in zip(by_bucket.values(), await self._link.ask_each(calls), strict=True):
            if isinstance(heads, UnavailableError):
                away = heads
                continue
            for watch, head in zip(watches, heads, strict=True):
                if head is None or not self._is_at(watch, head):
                    self._catch_up(watch, 0)
        if away is not None:
            raise away

    def _is_at(self, watch: Watch, head: bytes) -> bool:
        """Whether all was fed that the store has, and the store has what was fed."""
        epoch, seq, *_ = head.decode().split(" ")
        return watch.fed == Cursor(epoch, int(seq)) and self._heads.is_at(watch.user_id, head)

    def _subscribe(self, watch: Watch) -> None:
        """Listen where the user's bucket is; a Cluster may have moved it."""
        try:
            shard = self._link.shards.of(bucket_of(watch.user_id))
        except UnavailableError:
            return
        subscriber = self._subscribers.get(shard.place)
        if subscriber is None:
            subscriber = self._subscribers[shard.place] = Subscriber(shard, self._announced)
        if watch.subscriber is not subscriber:
            if watch.subscriber is not None:
                watch.subscriber.remove(watch.channel)
            watch.subscriber, watch.heard = subscriber, subscriber.add(watch.channel)
