"""The `valkey` broker: durable history in Valkey or Redis, shared by any number of processes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from wellnet_sse.brokers.valkey import scripts
from wellnet_sse.brokers.valkey.entries import load_operations, load_records
from wellnet_sse.brokers.valkey.heads import Heads
from wellnet_sse.brokers.valkey.link import Call, Link, in_buckets
from wellnet_sse.brokers.valkey.names import BUCKETS, bucket_key, bucket_of, streams_key, user_keys
from wellnet_sse.brokers.valkey.permits import Permits
from wellnet_sse.brokers.valkey.request import Terms
from wellnet_sse.brokers.valkey.scripts import Script
from wellnet_sse.brokers.valkey.shards import AwayError, Reply
from wellnet_sse.brokers.valkey.url import parse
from wellnet_sse.brokers.valkey.watches import Watches
from wellnet_sse.brokers.valkey.writer import Writer
from wellnet_sse.errors import ConfigurationError, UnavailableError
from wellnet_sse.progress.broker import (
    LEASE_MS,
    Appended,
    Change,
    Feed,
    Gap,
    IdempotencyKey,
    Page,
    Rate,
    State,
    Wanted,
)
from wellnet_sse.progress.events import Cursor, Record, UserId
from wellnet_sse.progress.operation import Entry, Operation

START_SECONDS = 10.0
"""How long the store may be away when the server starts: both may have been started together."""
START_PAUSE_SECONDS = 0.2
LOOK_AT = 2000
"""How many entries are looked at for those of one operation; then others have their turn."""


class ValkeyBroker:
    """`redis://…` and its kin, see `url.py`; several processes, also on several machines, share one history.

    `history_ms` and `history_events` bound what is kept of each user; `wait_seconds` is how long whoever asks
    waits for a store that is away; `clock` gives milliseconds since 1970. Leases go by `lease_clock`; where
    none is given, by the store's own: the clocks of machines differ. `database` gives the name of that which
    all who share this history must share, too: what is at work is claimed there.
    """

    def __init__(
        self,
        url: str,
        *,
        history_ms: int,
        history_events: int,
        wait_seconds: float,
        clock: Callable[[], int],
        lease_clock: Callable[[], int] | None = None,
        database: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        address = parse(url)
        self._history_ms = history_ms
        self._history_events = history_events
        self._clock = clock
        self._lease_clock = lease_clock
        self._database = database
        self._link = Link(address, wait_seconds=wait_seconds)
        self._heads = Heads(clock)
        self._permits = Permits(self._link, lease_clock)
        self._watches = Watches(self._link, self._heads, address.database)
        self._writer = Writer(
            self._link,
            self._heads,
            Terms(history_ms, history_events, address.database),
            clock=clock,
            wait_seconds=wait_seconds,
            show=self._watches.show,
        )
        self._open = [0] * BUCKETS
        """How many operations of each bucket had not ended when it last answered."""
        self._counted = 0
        """How many of the writer's are among them."""
        self._renewed: Sequence[int] = range(BUCKETS)
        """The buckets in which it was last said who lives: only there others may be judged."""

    def attach(self, feed: Feed) -> None:
        """See `Broker.attach`."""
        self._watches.feed = feed

    async def start(self) -> None:
        """See `Broker.start`."""
        database = None if self._database is None else await self._database()
        patient_until = time.monotonic() + START_SECONDS
        while True:
            try:
                await self._link.open()
                if database is not None:
                    await self._link.pair(database)
                break
            except ConfigurationError:
                await self._link.aclose()
                raise
            except UnavailableError as error:
                if time.monotonic() > patient_until:
                    await self._link.aclose()
                    raise ConfigurationError("WELLNET_BROKER_URL: el servidor no responde") from error
                await asyncio.sleep(START_PAUSE_SECONDS)
        self._watches.start()

    async def aclose(self) -> None:
        """See `Broker.aclose`."""
        await self._writer.aclose()
        await self._watches.aclose()
        await self._link.aclose()

    async def append(
        self, user_id: UserId, operation_id: str, change: Change, *, key: IdempotencyKey | None = None
    ) -> Appended:
        """See `Broker.append`."""
        appended = await self._writer.append(user_id, operation_id, change, key)
        if appended.records:
            await self._watches.fed(user_id, appended.records[-1].cursor)
        return appended

    def watch(self, user_id: UserId) -> None:
        """See `Broker.watch`."""
        self._watches.watch(user_id)

    def unwatch(self, user_id: UserId) -> None:
        """See `Broker.unwatch`."""
        self._watches.unwatch(user_id)

    async def since(
        self, user_id: UserId, cursor: Cursor, *, operation_id: str | None = None, limit: int = 256
    ) -> Page | Gap:
        """See `Broker.since`."""
        await self._watches.heard(user_id)
        args = (operation_id or "", cursor.epoch, cursor.seq, limit, LOOK_AT)
        newest, floor, found = await self._read(user_id, scripts.PAGE, (), *args)
        if not found:
            return Gap(str(cursor), *_bounds(newest, floor))
        upto = newest._replace(seq=int(found[0]))
        level = upto == newest
        if level:
            self._watches.found(user_id, newest)
        return Page(load_records(newest.epoch, found[1]), upto, level)

    async def state(self, user_id: UserId, wanted: Wanted) -> State:
        """See `Broker.state`."""
        newest, _, operations = await self._operations(user_id, wanted)
        placed: list[tuple[int, Entry]] = []
        for operation in operations:
            placed += [(step.seq, step.event) for step in operation.steps.values()]
            if operation.outcome is not None and operation.ending is not None:
                placed.append((operation.ending_seq, operation.ending))
        records = [Record(newest.epoch, seq, entry) for seq, entry in sorted(placed)]
        one = wanted.operation_id is not None
        return State(records, newest, one and bool(operations) and operations[0].outcome is not None)

    async def bounds(self, user_id: UserId) -> tuple[Cursor | None, Cursor | None]:
        """See `Broker.bounds`."""
        newest, floor, _ = await self._read(user_id, scripts.PAGE, (), "", "", 0, 0, 0)
        return _bounds(newest, floor)

    async def operation(self, user_id: UserId, operation_id: str) -> tuple[Operation, Cursor] | None:
        """See `Broker.operation`."""
        newest, _, operations = await self._operations(user_id, Wanted(operation_id))
        return (operations[0], newest._replace(seq=operations[0].last_seq)) if operations else None

    async def operations(
        self, user_id: UserId, *, limit: int, before: tuple[int, str] | None = None
    ) -> Sequence[tuple[Operation, Cursor]]:
        """See `Broker.operations`."""
        before_ms, name = before or ("", "")
        own = user_keys(user_id)
        newest, _, found = await self._read(user_id, scripts.LISTING, (own.started,), name, limit, before_ms)
        return [(one, newest._replace(seq=one.last_seq)) for one in load_operations(found[0])]

    async def active(self, *, limit: int) -> Sequence[tuple[UserId, Operation]]:
        """See `Broker.active`: what ended while it was looked up is left out."""
        answers = await self._link.ask_all(
            in_buckets(range(BUCKETS), scripts.ACTIVE, ("resting", "in_step", "runs"), limit)
        )
        places = [_place(name) for names in answers for name in names][:limit]
        calls = [self._state_call(user_id, Wanted(operation_id)) for user_id, operation_id in places]
        found = []
        for (user_id, _), reply in zip(places, await self._link.ask_all(calls), strict=True):
            operations = load_operations(self._heads.taken(user_id, reply)[2][0])
            found += [(user_id, one) for one in operations if one.outcome is None]
        return found

    async def silent(
        self, before_ms: int, *, in_step_before_ms: int | None = None
    ) -> Sequence[tuple[UserId, str]]:
        """See `Broker.silent`; also counts what has not ended, over all processes."""
        in_step_ms = before_ms if in_step_before_ms is None else in_step_before_ms
        counted = self._writer.opened
        names = ("resting", "in_step", "runs")
        answers = await self._link.of_each(range(BUCKETS), scripts.SILENT, names, before_ms, in_step_ms)
        for bucket, (open_, _) in answers.items():
            self._open[bucket] = open_
        self._counted = counted
        return [_place(name) for _, silent in answers.values() for name in silent]

    async def renew(self, holder: str, *, lease_ms: int = LEASE_MS) -> None:
        """See `Broker.renew`."""
        self._renewed = ()
        args = (self._lease_now(), holder, lease_ms)
        self._renewed = list(await self._link.of_each(range(BUCKETS), scripts.RENEW, ("leases",), *args))

    async def alive(self, holder: str) -> bool:
        """See `Broker.alive`: wherever it was heard of. Nobody is dead while a part of the store is away."""
        args = (self._lease_now(), holder)
        answers = await self._link.of_each(range(BUCKETS), scripts.ALIVE, ("leases",), *args)
        if any(answers.values()):
            return True
        if len(answers) < BUCKETS:
            raise AwayError
        return False

    async def orphans(self) -> Sequence[tuple[UserId, str, Sequence[str]]]:
        """See `Broker.orphans`; nobody, where the store itself may have been away."""
        names = ("leases", "runs")
        answers = await self._link.of_each(self._renewed, scripts.ORPHANS, names, self._lease_now())
        return [
            (*_place(name), [run.decode() for run in runs])
            for orphans in answers.values()
            for name, runs in orphans
        ]

    async def reserve(self, user_id: UserId, holder: str, *, streams: int, version: int, limit: int) -> bool:
        """See `Broker.reserve`."""
        bucket = bucket_of(user_id)
        keys = (bucket_key(bucket, "leases"), streams_key(user_id))
        args = (self._lease_now(), holder, streams, version, limit)
        return bool(await self._link.ask(Call(bucket, scripts.RESERVE, keys, args)))

    async def admit(self, user_id: UserId, rate: Rate) -> float:
        """See `Broker.admit`."""
        return await self._permits.admit(user_id, rate)

    async def check(self) -> None:
        """See `Broker.check`."""
        await self._link.check()

    async def trim(self) -> None:
        """See `Broker.trim`."""
        before_ms = self._clock() - self._history_ms
        due = await self._link.of_each(range(BUCKETS), scripts.DUE, ("users",), before_ms)
        for users in due.values():
            for user_id in map(UserId, map(int, users)):
                own = user_keys(user_id)
                keys = (own.open, own.endings, own.finished, own.started)
                args = (before_ms, self._history_ms, self._history_events)
                while await self._link.ask(self._heads.call(user_id, scripts.TRIM, keys, *args)):
                    pass

    def active_operations(self) -> int:
        """See `Broker.active_operations`: of all processes a second ago, and what began here since."""
        return max(0, sum(self._open) + self._writer.opened - self._counted)

    async def _operations(self, user_id: UserId, wanted: Wanted) -> tuple[Cursor, int, list[Operation]]:
        reply = await self._link.ask(self._state_call(user_id, wanted))
        newest, floor, found = self._heads.taken(user_id, reply)
        return newest, floor, load_operations(found[0])

    def _state_call(self, user_id: UserId, wanted: Wanted) -> Call:
        own = user_keys(user_id)
        bounds = (wanted.ended_after_seq, wanted.ended_since_ms, wanted.newest)
        args = ["" if bound is None else bound for bound in bounds]
        keys = (own.open, own.endings, own.finished)
        return self._heads.call(user_id, scripts.STATE, keys, wanted.operation_id or "", *args)

    async def _read(
        self, user_id: UserId, script: Script, keys: Sequence[str], *args: str | int
    ) -> tuple[Cursor, int, Sequence[Reply]]:
        """The user's newest place, the floor, and what else the script gives."""
        reply = await self._link.ask(self._heads.call(user_id, script, keys, *args))
        return self._heads.taken(user_id, reply)

    def _lease_now(self) -> int | str:
        return "" if self._lease_clock is None else self._lease_clock()


def _bounds(newest: Cursor, floor: int) -> tuple[Cursor | None, Cursor | None]:
    return newest._replace(seq=floor + 1) if floor < newest.seq else None, newest if newest.seq else None


def _place(name: bytes) -> tuple[UserId, str]:
    user, _, operation_id = name.decode().partition(":")
    return UserId(int(user)), operation_id
