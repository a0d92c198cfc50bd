"""A reader's buffer: lossless while the reader keeps up, bounded when it does not (protocol §8)."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.properties import CALM
from wellnet_sse.progress.events import Ending, Event, Outcome, Record, Status
from wellnet_sse.progress.outbox import LIMIT_BYTES, LIMIT_EVENTS, Outbox

PENDING, IN_PROGRESS, COMPLETED, ERROR = Status


def record(
    seq: int, status: Status | None = IN_PROGRESS, *, step: str = "a", operation: str = "op", size: int = 0
) -> Record:
    """A record whose message has `size` bytes; without a status it is an ending."""
    if status is None:
        return Record("k3f9", seq, Ending(operation, Outcome.COMPLETED, None, 0))
    return Record("k3f9", seq, Event(operation, step, status, "m" * size, None, 0))


def seqs(records: Sequence[Record] | Outbox) -> list[int]:
    return [it.cursor.seq for it in records]


def filled(outbox: Outbox, *records: Record) -> Outbox:
    assert all(outbox.offer(it) for it in records)
    return outbox


def test_the_bounds_are_the_promised_ones() -> None:
    assert (LIMIT_EVENTS, LIMIT_BYTES) == (256, 262_144)


def test_it_keeps_everything_up_to_256_events() -> None:
    outbox = filled(Outbox(), *[record(seq) for seq in range(1, 257)])
    assert seqs(outbox.take()) == list(range(1, 257))
    assert len(outbox) == outbox.size_bytes == 0


def test_at_the_bound_the_newest_update_stays_at_its_own_place() -> None:
    outbox = filled(Outbox(limit_events=4), record(1), record(2, step="b"), record(3), record(4, step="b"))
    filled(outbox, record(5))
    assert seqs(outbox) == [4, 5]


def test_changes_of_status_and_endings_are_never_conflated() -> None:
    kept = [record(1, PENDING), record(2, ERROR), record(3, COMPLETED), record(4, None)]
    outbox = filled(Outbox(limit_events=4), *kept)
    assert not outbox.offer(record(5, COMPLETED))
    assert seqs(outbox) == [1, 2, 3, 4]


def test_updates_of_two_attempts_are_not_conflated_with_each_other() -> None:
    outbox = filled(Outbox(limit_events=4), record(1), record(2), record(3, ERROR), record(4))
    filled(outbox, record(5))
    assert seqs(outbox) == [2, 3, 5]


def test_updates_of_two_operations_are_not_conflated_with_each_other() -> None:
    outbox = filled(Outbox(limit_events=3), record(1), record(2, operation="other"), record(3))
    filled(outbox, record(4))
    assert seqs(outbox) == [2, 4]


def test_it_is_bounded_in_bytes_as_well() -> None:
    one = len(record(1, size=100).json)
    outbox = filled(Outbox(limit_bytes=3 * one), *[record(seq, size=100) for seq in (1, 2, 3)])
    assert outbox.size_bytes == 3 * one
    filled(outbox, record(4, size=100))
    assert seqs(outbox) == [4]
    assert outbox.size_bytes == one


def test_a_burst_is_conflated_to_almost_nothing() -> None:
    outbox = filled(Outbox(), *[record(seq) for seq in range(1, 10_001)])
    assert seqs(outbox.take())[-1] == 10_000


def test_after_its_reader_took_everything_it_is_lossless_again() -> None:
    outbox = filled(Outbox(limit_events=2), record(1), record(2), record(3))
    outbox.take()
    filled(outbox, record(4), record(5))
    assert seqs(outbox) == [4, 5]


def test_after_its_reader_took_a_part_it_is_lossless_again() -> None:
    outbox = filled(Outbox(limit_events=3), record(1), record(2, step="b"), record(3), record(4))
    assert seqs(outbox.take(1)) == [2]
    filled(outbox, record(5))
    assert seqs(outbox) == [4, 5]


def test_it_hands_over_in_pieces_and_at_least_one_record() -> None:
    outbox = filled(
        Outbox(), record(1, size=500), record(2, size=10), record(3, size=10), record(4, size=500)
    )
    small = len(record(2, size=10).json)
    assert seqs(outbox.take(10)) == [1]
    assert seqs(outbox.take(2 * small)) == [2, 3]
    assert outbox.size_bytes == len(record(4, size=500).json)
    assert seqs(outbox.take(10)) == [4]
    assert outbox.take(10) == []


def test_what_the_reader_got_in_another_way_is_dropped() -> None:
    outbox = filled(Outbox(), *[record(seq, size=seq) for seq in (3, 4, 5)])
    outbox.drop_through(4)
    assert seqs(outbox) == [5]
    assert outbox.size_bytes == len(record(5, size=5).json)


def test_dropping_forgets_what_conflation_had_noted() -> None:
    outbox = filled(Outbox(limit_events=2), record(1), record(2, step="b"), record(3))
    outbox.drop_through(3)
    filled(outbox, record(4), record(5))
    assert seqs(outbox) == [4, 5]


# What holds for any sequence of offers and takes

OFFERS = st.tuples(
    st.sampled_from([*[IN_PROGRESS] * 12, PENDING, COMPLETED, ERROR, None]),
    st.sampled_from(["a", "a", "b"]),
    st.sampled_from(["x", "x", "y"]),
    st.sampled_from([0, 0, 0, 90, 400]),
)
TAKES = st.none() | st.integers(1, 1000)
ACTS = st.lists(OFFERS | OFFERS | OFFERS | st.tuples(st.just("take"), TAKES), max_size=60)


def is_superseded(old: Record, later: Sequence[Record]) -> bool:
    """Whether a later `in_progress` of the same attempt makes `old` needless."""
    if not isinstance(old.event, Event) or old.event.status is not IN_PROGRESS:
        return False
    place = old.event[:2]
    same = [it.event for it in later if isinstance(it.event, Event) and it.event[:2] == place]
    return bool(same) and same[0].status is IN_PROGRESS


def conflated(records: Sequence[Record]) -> list[Record]:
    """All that must stay of `records`."""
    return [it for n, it in enumerate(records) if not is_superseded(it, records[n + 1 :])]


def fits(records: Sequence[Record], events: int, size_bytes: int) -> bool:
    return len(records) <= events and sum(len(it.json) for it in records) <= size_bytes


@settings(CALM, max_examples=300)
@given(ACTS, st.integers(1, 8), st.integers(500, 2500))
def test_only_needless_updates_are_dropped_and_only_at_the_bound(
    acts: list[tuple[object, ...]], events: int, size_bytes: int
) -> None:
    outbox = Outbox(limit_events=events, limit_bytes=size_bytes)
    offered: list[Record] = []  # since the reader took last: what waits if nothing is dropped
    seq, last_taken = 0, 0
    for act in acts:
        if act[0] == "take":
            limit: int | None = act[1]  # type: ignore[assignment]
            waiting = list(outbox)
            taken = outbox.take(limit)
            assert [*taken, *outbox] == waiting
            assert bool(taken) == bool(waiting)
            if limit is None:
                assert taken == waiting
            else:
                assert len(taken) <= 1 or sum(len(it.json) for it in taken) <= limit
            assert all(last_taken < it.cursor.seq for it in taken)
            last_taken = taken[-1].cursor.seq if taken else last_taken
            offered = list(outbox)
        else:
            status, operation, step, size = act
            seq += 1
            newcomer = record(seq, status, step=step, operation=operation, size=size)  # type: ignore[arg-type]
            offered.append(newcomer)
            if not outbox.offer(newcomer):
                assert not fits(conflated(offered), events, size_bytes)
                return  # the reader is closed as slow, or reads history again
            kept = list(outbox)
            assert kept[-1] is newcomer
            assert seqs(kept) == sorted(set(seqs(kept)))
            kept_seqs = set(seqs(kept))
            for n, old in enumerate(offered):
                assert old.cursor.seq in kept_seqs or is_superseded(old, offered[n + 1 :])
            if fits(offered, events, size_bytes):
                assert kept == offered, "it drops nothing below the bound"
        assert fits(list(outbox), events, size_bytes)
        assert outbox.size_bytes == sum(len(it.json) for it in outbox)
