"""How an operation begins, declares and publishes (protocol §5)."""

import pytest

from tests.progress.story import COMPLETED, ERROR, IN_PROGRESS, PENDING, Story, told
from wellnet_sse.errors import StepCompletedError, TooManyStepsError
from wellnet_sse.progress.events import Event, Outcome, Status
from wellnet_sse.progress.operation import Operation


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_blank_operation_is_neither_begun_nor_declared(story: Story) -> None:
    operation = story.operation
    assert (operation.begun, operation.declared, operation.progress, operation.outcome) == (
        False,
        False,
        None,
        None,
    )


def test_naming_it_begins_it_without_an_event(story: Story) -> None:
    assert story.name() == []
    assert story.operation.begun
    assert story.operation.started_ms == story.at_ms


def test_declared_steps_are_announced_as_pending_in_their_order(story: Story) -> None:
    assert story.name("b", "a") == [
        Event("op", "b", Status.PENDING, "Pendiente", 0, story.at_ms),
        Event("op", "a", Status.PENDING, "Pendiente", 0, story.at_ms),
    ]
    assert story.operation.declared


def test_a_step_declared_twice_in_one_breath_is_announced_once(story: Story) -> None:
    assert told(story.name("a", "b", "a")) == [("a", PENDING, 0), ("b", PENDING, 0)]


def test_naming_it_again_changes_nothing_at_all(story: Story) -> None:
    story.name("a")
    began_ms, updated_ms = story.operation.started_ms, story.operation.updated_ms
    story.at_ms += 5
    assert story.name("a") == story.name() == []
    assert (story.operation.started_ms, story.operation.updated_ms) == (began_ms, updated_ms)


def test_naming_it_again_declares_only_steps_that_are_new(story: Story) -> None:
    story.name("a")
    story.update("a", IN_PROGRESS, 40)
    assert told(story.name("a", "b")) == [("b", PENDING, 0)]
    assert story.last("a").progress == 40


def test_naming_an_ended_operation_declares_nothing(story: Story) -> None:
    story.name("a")
    story.stop()
    assert story.name("b") == []
    assert story.outcome is Outcome.CANCELLED
    assert list(story.operation.steps) == ["a"]


def test_a_publishers_update_begins_it(story: Story) -> None:
    story.update("a", IN_PROGRESS, 10)
    assert story.operation.begun
    assert not story.operation.declared


def test_a_publishers_pending_declares_its_step(story: Story) -> None:
    story.update("a", PENDING)
    assert story.operation.declared
    story.update("b", IN_PROGRESS)
    assert [step.declared for step in story.operation.steps.values()] == [True, False]


def test_an_operation_takes_100_steps_and_no_more(story: Story) -> None:
    story.name(*[f"s{n}" for n in range(99)])
    story.update("last", IN_PROGRESS)
    with pytest.raises(TooManyStepsError):
        story.update("one-more", IN_PROGRESS)
    with pytest.raises(TooManyStepsError):
        story.name("one-more")
    assert told(story.update("s5", IN_PROGRESS, 1)) == [("s5", IN_PROGRESS, 1)]
    assert story.name("s1", "last") == []


def test_more_than_100_steps_at_once_declare_none(story: Story) -> None:
    with pytest.raises(TooManyStepsError):
        story.name(*[f"s{n}" for n in range(101)])
    with pytest.raises(TooManyStepsError):
        story.begin_run("r", *[f"s{n}" for n in range(101)])
    assert story.operation == Operation("op")


# Progress and attempts


def test_a_lower_number_is_sent_as_the_last_one(story: Story) -> None:
    entries = [story.update("a", IN_PROGRESS, n)[0] for n in (10, 60, 30, 60, 80)]
    assert told(entries) == [("a", IN_PROGRESS, n) for n in (10, 60, 60, 60, 80)]


def test_null_may_come_between_and_forgets_nothing(story: Story) -> None:
    entries = [story.update("a", IN_PROGRESS, n)[0] for n in (50, None, 20)]
    assert told(entries) == [("a", IN_PROGRESS, 50), ("a", IN_PROGRESS, None), ("a", IN_PROGRESS, 50)]


def test_completed_without_a_number_is_100(story: Story) -> None:
    assert told(story.update("a", COMPLETED)) == [("a", COMPLETED, 100)]


def test_completed_with_a_lower_number_is_sent_as_the_last_one(story: Story) -> None:
    story.update("a", IN_PROGRESS, 90)
    assert told(story.update("a", COMPLETED, 20)) == [("a", COMPLETED, 90)]


@pytest.mark.parametrize("progress", [None, 0, 55, 100])
def test_an_error_is_0_whatever_was_given(story: Story, progress: int | None) -> None:
    story.update("a", IN_PROGRESS, 70)
    assert told(story.update("a", ERROR, progress)) == [("a", ERROR, 0)]


def test_after_an_error_in_progress_begins_the_next_attempt(story: Story) -> None:
    story.update("a", IN_PROGRESS, 70)
    story.update("a", ERROR)
    assert told(story.update("a", IN_PROGRESS, 10)) == [("a", IN_PROGRESS, 10)]
    assert story.operation.steps["a"].attempt == 2


def test_a_second_error_belongs_to_the_same_attempt(story: Story) -> None:
    story.update("a", ERROR)
    story.update("a", ERROR)
    assert story.operation.steps["a"].attempt == 1


def test_pending_after_an_error_begins_the_attempt_that_in_progress_goes_on_with(story: Story) -> None:
    story.update("a", IN_PROGRESS, 70)
    story.update("a", ERROR)
    story.update("a", PENDING, 0)
    story.update("a", IN_PROGRESS, 5)
    assert story.operation.steps["a"].attempt == 2
    assert story.last("a").progress == 5


def test_a_first_step_of_the_declared_kind_is_the_first_attempt(story: Story) -> None:
    story.name("a")
    story.update("a", IN_PROGRESS, 5)
    assert story.operation.steps["a"].attempt == 1


@pytest.mark.parametrize("status", [IN_PROGRESS, COMPLETED, ERROR])
def test_after_completed_an_update_is_refused(story: Story, status: Status) -> None:
    story.update("a", COMPLETED)
    with pytest.raises(StepCompletedError):
        story.update("a", status, 100)


def test_after_completed_pending_begins_the_next_attempt(story: Story) -> None:
    story.update("a", COMPLETED)
    assert told(story.update("a", PENDING, 0)) == [("a", PENDING, 0)]
    assert told(story.update("a", IN_PROGRESS, 10)) == [("a", IN_PROGRESS, 10)]
    assert told(story.update("a", COMPLETED)) == [("a", COMPLETED, 100)]
    assert story.operation.steps["a"].attempt == 2


def test_steps_have_their_numbers_and_attempts_each_for_itself(story: Story) -> None:
    story.update("a", IN_PROGRESS, 70)
    assert told(story.update("b", IN_PROGRESS, 10)) == [("b", IN_PROGRESS, 10)]


# What is told of the whole


def test_progress_is_the_mean_of_the_declared_steps_rounded_down(story: Story) -> None:
    story.name("a", "b", "c")
    story.update("a", COMPLETED)
    story.update("b", IN_PROGRESS, None)
    story.update("undeclared", IN_PROGRESS, 90)
    assert story.operation.progress == 33


def test_an_undeclared_operation_has_no_progress(story: Story) -> None:
    story.update("a", IN_PROGRESS, 90)
    assert story.operation.progress is None
    assert story.stop()[-1].progress is None


def test_an_ending_tells_the_progress_of_that_moment(story: Story) -> None:
    story.name("a", "b")
    story.update("a", COMPLETED)
    assert story.stop()[-1].progress == 50


def test_it_knows_the_places_of_its_entries(story: Story) -> None:
    story.name("a", "b")
    story.update("a", IN_PROGRESS, 1)
    story.stop()
    operation = story.operation
    assert (operation.steps["a"].seq, operation.steps["b"].seq) == (3, 2)
    assert (operation.ending_seq, operation.last_seq) == (4, 4)


def test_times_are_those_of_the_first_and_last_change(story: Story) -> None:
    story.name("a")
    story.at_ms += 100
    story.update("a", IN_PROGRESS, 1)
    assert (story.operation.started_ms, story.operation.updated_ms) == (1_000_000, 1_000_100)
    story.at_ms += 100
    story.stop()
    assert (story.operation.finished_ms, story.operation.updated_ms) == (1_000_200, 1_000_200)
