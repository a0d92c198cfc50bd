"""How long steps take, and what is said of those at work; nothing where nothing is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.progress.story import COMPLETED, ERROR, IN_PROGRESS, PENDING, Story
from tests.properties import CALM
from wellnet_sse.progress.operation import Operation
from wellnet_sse.progress.paces import (
    FEWEST_SAMPLES,
    KEPT_KINDS,
    KEPT_SAMPLES,
    NOTHING,
    Kind,
    Outlook,
    Paces,
    Sample,
    Span,
)

TEN = [Sample(n * 1000, 400) for n in range(1, 11)]
"""One to ten seconds: half of them at most 5, nine in ten at most 9."""


@pytest.fixture
def story() -> Story:
    return Story()


def paces(**kinds: list[Sample]) -> Paces:
    made = Paces()
    for name, samples in kinds.items():
        for sample in samples:
            made.add(Kind(name), sample)
    return made


def test_end_is_told_as_a_range_out_of_what_such_steps_took(story: Story) -> None:
    story.name("a")
    story.update("a", IN_PROGRESS, 10)
    began_ms = story.at_ms
    expected = Outlook(Span(began_ms + 5000, began_ms + 9000))
    assert paces(a=TEN).outlook(story.operation, began_ms) == expected
    assert paces(a=TEN).outlook(story.operation, began_ms + 300) == expected, (
        "it does not move while it waits"
    )


def test_steps_that_wait_are_added(story: Story) -> None:
    story.name("a", "b")
    story.update("a", IN_PROGRESS, 10)
    both = paces(a=TEN, b=TEN)
    assert both.outlook(story.operation, story.at_ms).ends == Span(story.at_ms + 10_000, story.at_ms + 18_000)
    assert paces(a=TEN).outlook(story.operation, story.at_ms) == NOTHING, "of `b` nothing is known"


def test_no_end_is_told_where_other_steps_may_follow(story: Story) -> None:
    story.update("a", IN_PROGRESS, 10)
    assert paces(a=TEN).outlook(story.operation, story.at_ms) == NOTHING
    assert paces(a=TEN).outlook(story.operation, story.at_ms + 60_000).stalled == {"a"}


@pytest.mark.parametrize("ends", [True, False])
def test_a_step_whose_work_ends_the_operation_is_all_there_is(story: Story, ends: bool) -> None:
    story.do(Operation.begin_run, run_id="r", holder="h", ends=ends, plan=("a",))
    story.do(Operation.enter_step, run_id="r", step="a")
    story.update("a", IN_PROGRESS, 10, run="r")
    assert (paces(a=TEN).outlook(story.operation, story.at_ms).ends is not None) == ends


def test_nothing_is_told_out_of_less_than_a_handful(story: Story) -> None:
    story.name("a")
    story.update("a", IN_PROGRESS, 10)
    few, enough = TEN[: FEWEST_SAMPLES - 1], TEN[:FEWEST_SAMPLES]
    late = story.at_ms + 3_600_000
    assert paces(a=few).outlook(story.operation, story.at_ms) == NOTHING
    assert paces(a=few).outlook(story.operation, late) == NOTHING
    assert paces(a=enough).outlook(story.operation, story.at_ms) != NOTHING
    assert paces(a=enough).outlook(story.operation, late) == Outlook(None, frozenset({"a"}))


def test_a_step_that_is_silent_for_longer_than_ever_is_stalled_and_has_no_end(story: Story) -> None:
    story.update("a", IN_PROGRESS, 10)
    known = paces(a=TEN)  # 400 ms, half as much again, and a second
    assert known.outlook(story.operation, story.at_ms + 1600).stalled == frozenset()
    assert known.outlook(story.operation, story.at_ms + 1601) == Outlook(None, frozenset({"a"}))
    story.at_ms += 1700
    story.update("a", IN_PROGRESS, 20)
    assert known.outlook(story.operation, story.at_ms).stalled == frozenset(), "it is heard of again"


def test_nothing_is_known_of_a_step_that_takes_longer_than_nine_in_ten(story: Story) -> None:
    story.name("a")
    story.update("a", IN_PROGRESS, 10)
    began_ms = story.at_ms
    for progress in range(11, 20):
        story.at_ms += 1000
        story.update("a", IN_PROGRESS, progress)
    assert paces(a=TEN).outlook(story.operation, began_ms + 9000).ends is not None
    assert paces(a=TEN).outlook(story.operation, began_ms + 9001) == NOTHING


def test_a_place_has_its_own_pace_once_enough_is_known_of_it() -> None:
    known = Paces()
    for sample in TEN:
        known.add(Kind("a", "slow"), sample)
    for _ in range(FEWEST_SAMPLES):
        known.add(Kind("a", "fast"), Sample(10, 1))
    assert known.of(Kind("a", "slow")) == tuple(TEN)
    assert known.of(Kind("a", "fast")) == (Sample(10, 1),) * FEWEST_SAMPLES
    assert len(known.of(Kind("a", "new"))) == len(TEN) + FEWEST_SAMPLES


def test_what_is_kept_is_bounded() -> None:
    known = Paces()
    for number in range(KEPT_SAMPLES + 5):
        known.add(Kind("a"), Sample(number, 0))
    assert [sample.duration_ms for sample in known.of(Kind("a"))] == list(range(5, KEPT_SAMPLES + 5))
    for number in range(KEPT_KINDS):
        known.add(Kind(f"made-up-{number}"), Sample(1, 0))
    assert known.of(Kind("a")) == ()
    assert len(known._kinds) == KEPT_KINDS


# What an operation notes of the time


def test_time_counts_from_the_first_update_of_the_last_attempt(story: Story) -> None:
    story.update("a", PENDING, 0)
    assert story.operation.steps["a"].began_ms is None
    story.at_ms += 100
    story.update("a", IN_PROGRESS, 10)
    story.at_ms += 700
    story.update("a", IN_PROGRESS, 20)
    step = story.operation.steps["a"]
    assert (step.began_ms, step.silence_ms) == (story.at_ms - 700, 700)
    story.update("a", ERROR, 0)
    story.at_ms += 50
    story.update("a", IN_PROGRESS, 10)
    assert (step.began_ms, step.silence_ms) == (story.at_ms, 0)
    story.at_ms += 30
    story.update("a", COMPLETED, 100)
    assert (step.began_ms, step.silence_ms) == (story.at_ms - 30, 30)


@CALM
@given(durations=st.lists(st.integers(0, 10_000), min_size=FEWEST_SAMPLES, max_size=KEPT_SAMPLES))
def test_half_and_nine_tenths_of_what_is_known_end_in_time(durations: list[int]) -> None:
    story = Story()
    story.name("a")
    story.update("a", IN_PROGRESS, 10)
    ends = paces(a=[Sample(it, 0) for it in durations]).outlook(story.operation, story.at_ms).ends
    assert ends is not None
    for span_ms, share in ((ends.p50_ms, 0.5), (ends.p90_ms, 0.9)):
        in_time = sum(it <= span_ms - story.at_ms for it in durations)
        assert in_time >= share * len(durations)
        assert sum(it < span_ms - story.at_ms for it in durations) < share * len(durations) + 1
