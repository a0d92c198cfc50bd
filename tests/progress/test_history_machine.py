"""Readers come and go, stall and resume, while history is written, trimmed, slow, lossy and away.

One seed is one schedule: the clock is virtual, and the loop turns only when a rule says so. In the normal run
the seeds are always the same ones. `make chaos` draws new ones, thousands; a schedule that fails is printed
as the steps that lead there and as a line `@reproduce_failure(...)`, and `.hypothesis` keeps it for later.
"""

from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from tests.progress.stage import HISTORY_MS, USER, SqlStage, Stage, Updates, changes
from tests.progress.witness import BYTES, EVENTS, Witness
from wellnet_sse.progress.events import Cursor, Status, UserId
from wellnet_sse.progress.items import CloseReason
from wellnet_sse.progress.operation import Operation

OTHER = UserId(8)
SLOW_SECONDS = 30
READERS = 5

OPERATIONS = st.integers(0, 2)
STEPS = st.sampled_from("ab")
NUMBERS = st.none() | st.integers(0, 100)
STATUSES = st.sampled_from([Status.IN_PROGRESS, Status.IN_PROGRESS, *Status])
UPDATES = st.lists(st.tuples(STEPS, STATUSES, NUMBERS), min_size=1, max_size=9)
SIZES = st.sampled_from([1, 1, 700])
SELDOM = st.sampled_from([False, False, True])
WHICH = st.integers(0, 7)


class HistoryMachine(Stage):
    """Everything that may happen, at random; what the broker fed is the judge."""

    # Those who write

    @rule(one=OPERATIONS, steps=st.lists(STEPS, max_size=2))
    def declare(self, one: int, steps: list[str]) -> None:
        self.write(USER, self.names[one], partial(Operation.name, steps=steps))

    @rule(one=OPERATIONS, updates=UPDATES, size=SIZES, lost=st.sets(st.integers(0, 8), max_size=2))
    def publish(self, one: int, updates: Updates, size: int, lost: set[int]) -> None:
        self.write(USER, self.names[one], *changes(updates, size), lost=lost)

    @rule(one=OPERATIONS)
    def publish_for_another_user(self, one: int) -> None:
        update = partial(Operation.update, step="a", status=Status.PENDING, message="m", progress=None)
        self.write(OTHER, self.names[one], update)

    @rule(one=OPERATIONS)
    def stop(self, one: int) -> None:
        self.write(USER, self.names[one], Operation.stop)

    @rule(one=OPERATIONS)
    def cancel(self, one: int) -> None:
        if self.write(USER, self.names[one], Operation.cancel):
            self.names[one] += "-next"  # nothing more happens to a cancelled one

    @rule(one=OPERATIONS, step=STEPS, ends=st.booleans())
    def begin_work(self, one: int, step: str, ends: bool) -> None:
        self.count += 1
        name = self.names[one]
        run = f"r{self.count}"
        begin = partial(Operation.begin_run, run_id=run, holder="here", ends=ends, plan=(step,))
        if self.write(USER, name, begin):
            self.runs.append((name, run))
            self.write(USER, name, partial(Operation.enter_step, run_id=run, step=step))

    @precondition(lambda self: self.runs)
    @rule(which=WHICH, failure=st.sampled_from([None, "Error: no"]))
    def finish_work(self, which: int, failure: str | None) -> None:
        name, run = self.runs.pop(which % len(self.runs))
        self.write(USER, name, partial(Operation.finish_run, run_id=run, failure=failure))

    @precondition(lambda self: self.runs)
    @rule(which=WHICH)
    def work_dies(self, which: int) -> None:
        name, run = self.runs.pop(which % len(self.runs))
        self.write(USER, name, partial(Operation.interrupt, run_ids=[run], message="{} cut".format))

    # Those who read

    @rule(
        own=st.none() | OPERATIONS,
        back=st.none() | st.integers(0, 20),
        unusable=st.sampled_from([None, None, None, "nonsense", "other-3", "future"]),
        greedy=st.booleans(),
        direct=st.booleans(),
    )
    def join(
        self, own: int | None, back: int | None, unusable: str | None, greedy: bool, direct: bool
    ) -> None:
        """With a cursor so many events back, with one that cannot be used, or with none."""
        if len(self.witnesses) >= READERS:
            return
        place = None if back is None else Cursor(self.epoch, max(0, self.broker.truth.newest - back))
        text = None if place is None else str(place)
        if unusable is not None:
            future = Cursor(self.epoch, self.broker.truth.newest + 10_000)
            place, text = None, (str(future) if unusable == "future" else unusable)
        operation_id = None if own is None else self.names[own]
        subscription = self.hub.subscribe(USER, operation_id=operation_id, cursor=text)
        witness = Witness(subscription, self.broker, cursor=place, greedy=greedy, direct=direct)
        self.witnesses.append(witness)

        async def first() -> None:
            witness.pull()

        self.act(first())

    @rule(one=OPERATIONS, past=st.integers(0, 3), direct=st.booleans())
    def come_back_with_the_ending(self, one: int, past: int, direct: bool) -> None:
        """To an operation's own stream; the cursor is the ending's, or a later one."""
        if (ending := self.broker.truth.last_ending(self.names[one])) is not None:
            back = max(0, self.broker.truth.newest - ending.cursor.seq - past)
            self.join(own=one, back=back, unusable=None, greedy=True, direct=direct)

    @rule(
        one=OPERATIONS,
        back=st.none() | st.integers(0, 20),
        direct=st.booleans(),
        bursts=st.lists(st.tuples(UPDATES, SIZES), min_size=1, max_size=4),
    )
    def join_while_much_is_published(
        self,
        one: int,
        back: int | None,
        direct: bool,
        bursts: list[tuple[Updates, int]],
    ) -> None:
        """History answers a step further after each burst."""
        slow, self.broker.slow = self.broker.slow, True
        self.join(own=None, back=back, unusable=None, greedy=True, direct=direct)
        for updates, size in bursts:
            self.write(USER, self.names[one], *changes(updates, size))
            self.history_answers()
        self.broker.slow = slow
        self.history_answers()

    @precondition(lambda self: self.witnesses)
    @rule(which=WHICH, batches=st.integers(1, 4))
    def read(self, which: int, batches: int) -> None:
        witness = self.witnesses[which % len(self.witnesses)]

        async def some() -> None:
            for _ in range(batches):
                witness.pull()
                await self._turn()
                witness.collect()

        self.act(some())

    @precondition(lambda self: self.witnesses)
    @rule(which=WHICH)
    def leave(self, which: int) -> None:
        self.act(self.witnesses.pop(which % len(self.witnesses)).leave())

    @precondition(lambda self: self.witnesses)
    @rule(which=WHICH)
    def connection_fills_or_empties(self, which: int) -> None:
        witness = self.witnesses[which % len(self.witnesses)]
        witness.full = not witness.full
        witness.was_full = witness.was_full or witness.full

    # What befalls them

    @rule(seconds=st.sampled_from([0.5, 1, 14, 16, 31, 1800]))
    def time_passes(self, seconds: float) -> None:
        async def work() -> None:
            self.clock.advance(seconds)
            self.hub.tick()

        self.act(work())
        for witness in self.witnesses:
            reader = witness.subscription
            stuck = reader.handing and self.clock.monotonic() - reader.handed_at > SLOW_SECONDS + 1
            assert not stuck or witness.direct or reader.reason is not None, "stuck, and left alone"

    @rule(losing=SELDOM)
    def the_feed_loses_or_not(self, losing: bool) -> None:
        self.broker.losing = losing

    @rule(away=SELDOM)
    def the_broker_is_away_or_back(self, away: bool) -> None:
        self.broker.away = away

    @rule(slow=SELDOM)
    def history_is_slow_or_not(self, slow: bool) -> None:
        self.broker.slow = slow

    @rule()
    def history_answers(self) -> None:
        async def work() -> None:
            self.broker.answer()

        self.act(work())

    @rule()
    def history_is_trimmed(self) -> None:
        self.act(self._trim())

    async def _trim(self) -> None:
        known = [it for it in self.broker.truth.names() if await self.broker.inner.operation(USER, it)]
        await self.broker.inner.trim()
        for name in known:
            if await self.broker.inner.operation(USER, name) is None:
                ending = self.broker.truth.last_ending(name)
                assert ending is not None, "what has not ended is never forgotten"
                assert ending.event.at_ms < self.clock.now_ms - HISTORY_MS, "forgotten too soon"
                self.broker.truth.forgotten[name] = self.broker.truth.newest

    # What always holds

    @invariant()
    def nobody_holds_more_than_the_bounds(self) -> None:
        for witness in self.witnesses:
            assert len(witness.subscription.outbox) <= EVENTS
            assert witness.subscription.outbox.size_bytes <= BYTES

    @invariant()
    def whoever_waits_has_been_told_everything(self) -> None:
        for witness in self.witnesses:
            if witness.waits:
                assert not witness.missing(self.broker.fed), "lost in silence"

    @invariant()
    def whoever_waits_has_something_to_wait_for(self) -> None:
        self.loop.run_until_complete(self._check_ends())

    async def _check_ends(self) -> None:
        for witness in self.witnesses:
            name = witness.operation_id
            if name is None or not witness.waits or (ending := self.broker.truth.last_ending(name)) is None:
                continue
            known = await self.broker.inner.operation(USER, name)
            is_over = known is not None and known[0].outcome is not None
            # Unless it waits to hear of it: then the hole in the feed is still to be seen.
            assert not is_over or ending.cursor.seq > max(self.broker.fed, witness.upto), "left open"

    @invariant()
    def only_the_slow_are_closed_as_slow(self) -> None:
        for witness in self.witnesses:
            reader = witness.subscription
            if reader.reason is CloseReason.SLOW and reader.closed_at is not None:
                stuck = witness.was_full or reader.closed_at - reader.handed_at >= SLOW_SECONDS
                assert stuck or witness.fell_behind

    def teardown(self) -> None:
        """In the end all troubles pass, and everybody is told what is missing yet."""
        try:
            self.broker.away = self.broker.losing = self.broker.slow = False
            for witness in self.witnesses:
                witness.greedy, witness.full = True, False
            self.history_answers()
            self.declare(0, ["a", "b"])
            self.write(USER, "last", partial(Operation.name, steps=["shows-what-the-feed-has-lost"]))
            for _ in range(3):  # whoever found the broker away asks again after a second
                self.clock.advance(2)
                self.act(self._turn())
            assert self.broker.fed == self.broker.truth.newest
            for witness in self.witnesses:
                assert witness.waits, "neither told all there is nor closed"
            self.whoever_waits_has_been_told_everything()
            while self.witnesses:
                self.leave(0)
            assert len(self.hub) == 0
        finally:
            self.loop.run_until_complete(self.close())
            self.loop.close()


class SqlHistoryMachine(SqlStage, HistoryMachine):
    """The same over a database."""


class ManyHistories(HistoryMachine):
    """Far more of them."""


class ManySqlHistories(SqlHistoryMachine):
    """Far more of them."""


SAME = settings(deadline=None, stateful_step_count=40, derandomize=True, database=None)
NEW = settings(deadline=None, stateful_step_count=60, print_blob=True)

TestHistoryMachine = HistoryMachine.TestCase
TestHistoryMachine.settings = settings(SAME, max_examples=200)

TestSqlHistoryMachine = SqlHistoryMachine.TestCase
TestSqlHistoryMachine.settings = settings(SAME, max_examples=20)

TestManyHistories = pytest.mark.chaos(pytest.mark.timeout(1200)(ManyHistories.TestCase))
TestManyHistories.settings = settings(NEW, max_examples=3000)

TestManySqlHistories = pytest.mark.chaos(pytest.mark.timeout(1200)(ManySqlHistories.TestCase))
TestManySqlHistories.settings = settings(NEW, max_examples=300)
