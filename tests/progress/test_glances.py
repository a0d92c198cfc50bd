"""How readers are at one moment, and how late entries reached them."""

from hypothesis import given
from hypothesis import strategies as st

from tests.brokers.changes import OTHER, USER, publish
from tests.progress.clock import FakeClock
from tests.progress.reading import Reader
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.progress.glances import SLOW_SECONDS, WINDOW_MS, Delays
from wellnet_sse.progress.hub import Hub


class Sink:
    """A connection whose peer takes nothing of what is put into it."""

    def __init__(self) -> None:
        self.waiting = 0

    def write(self, data: bytes) -> None:
        self.waiting += len(data)

    def buffered(self) -> int:
        return self.waiting

    def abort(self) -> None:
        """Nothing is left to close."""


async def test_whoever_takes_nothing_comes_first_and_is_slow(
    hub: Hub, broker: MemoryBroker, clock: FakeClock
) -> None:
    async with (
        Reader(hub.subscribe(OTHER, operation_id="op", via="quick")) as quick,
        Reader(hub.subscribe(USER, via="stuck")) as stuck,
    ):
        await quick.until_live()
        await stuck.until_live()
        sink = Sink()
        quick.subscription.write_directly(Sink(), lambda _items: b"")
        stuck.subscription.write_directly(sink, lambda _items: b"")
        assert [it.is_slow for it in hub.glance(limit=9).readers] == [False, False]
        sink.write(b"12345")
        for _ in range(4):
            hub.tick()
            clock.advance(SLOW_SECONDS / 2)
        found = hub.glance(limit=1)
        (first,) = found.readers
        assert (found.total, found.slow) == (2, 1)
        assert (first.user_id, first.operation_id, first.via, first.is_slow) == (USER, None, "stuck", True)
        assert (first.waiting_bytes, first.opened_ms) == (5, clock.wall_ms() - 4000)
        await publish(broker, 1)
        last = hub.glance(limit=2).readers[-1]
        assert (last.user_id, last.operation_id, last.is_slow, last.waiting_events) == (OTHER, "op", False, 0)


def test_delays_are_those_of_the_last_minute() -> None:
    delays = Delays()
    assert delays.percentile_ms(99, 0) is None
    delays.note(1000, 1900)
    for late in range(1, 101):
        delays.note(50_000 - late, 50_000)
    assert [delays.percentile_ms(percent, 50_000) for percent in (1, 50, 99, 100)] == [2, 51, 100, 900]
    assert delays.percentile_ms(100, 1900 + WINDOW_MS) == 100
    assert delays.percentile_ms(100, 50_000 + WINDOW_MS) is None


@given(st.lists(st.integers(-5, 10_000), min_size=1), st.integers(0, 100))
def test_a_percentile_is_one_of_them_and_never_negative(late: list[int], percent: int) -> None:
    """Clocks of machines differ: an entry may seem to come before it was made."""
    delays = Delays()
    for one in late:
        delays.note(20_000 - one, 20_000)
    found = delays.percentile_ms(percent, 20_000)
    assert found in {max(0, one) for one in late}
    assert sum(max(0, one) <= (found or 0) for one in late) * 100 >= percent * len(late)
