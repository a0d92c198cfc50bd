"""When an operation ends, with which outcome, and what re-opens it (protocol §5)."""

import pytest

from tests.progress.story import COMPLETED, ERROR, IN_PROGRESS, PENDING, Story, told
from wellnet_sse.errors import NotFoundError, OperationCancelledError, OperationEndedError
from wellnet_sse.progress.events import Outcome, Status

SILENT = "Interrumpido: el paso a dejó de informar y no se sabe si terminó"


@pytest.fixture
def story() -> Story:
    return Story()


# Ending


def test_it_ends_when_every_declared_step_is_completed(story: Story) -> None:
    story.name("a", "b")
    assert told(story.update("a", COMPLETED)) == [("a", COMPLETED, 100)]
    assert told(story.update("b", COMPLETED)) == [("b", COMPLETED, 100), Outcome.COMPLETED]


def test_an_undeclared_step_that_is_not_completed_keeps_it_open(story: Story) -> None:
    story.name("a")
    story.update("b", IN_PROGRESS)
    assert told(story.update("a", COMPLETED)) == [("a", COMPLETED, 100)]
    assert told(story.update("b", COMPLETED)) == [("b", COMPLETED, 100), Outcome.COMPLETED]


def test_completed_steps_do_not_end_what_nobody_declared(story: Story) -> None:
    assert told(story.update("a", COMPLETED)) == [("a", COMPLETED, 100)]
    assert story.outcome is None


def test_a_named_operation_without_steps_goes_on(story: Story) -> None:
    story.name()
    story.update("a", COMPLETED)
    assert story.outcome is None


@pytest.mark.parametrize("status", [PENDING, IN_PROGRESS])
def test_stopped_in_the_middle_it_is_cancelled(story: Story, status: Status) -> None:
    story.update("a", status)
    assert told(story.stop()) == [Outcome.CANCELLED]


def test_stopped_with_all_steps_completed_it_is_completed(story: Story) -> None:
    story.update("a", COMPLETED)
    assert told(story.stop()) == [Outcome.COMPLETED]


def test_stopped_with_a_step_in_error_it_has_failed(story: Story) -> None:
    story.update("a", COMPLETED)
    story.update("b", ERROR)
    assert told(story.stop()) == [Outcome.FAILED]


def test_an_error_that_was_mended_counts_no_more(story: Story) -> None:
    story.update("a", ERROR)
    story.update("a", COMPLETED)
    assert told(story.stop()) == [Outcome.COMPLETED]


def test_stopped_without_any_step_it_is_cancelled(story: Story) -> None:
    story.name()
    assert told(story.stop()) == [Outcome.CANCELLED]


def test_stopping_it_again_changes_nothing(story: Story) -> None:
    story.name()
    story.stop()
    assert story.stop() == []


def test_nobody_stops_or_cancels_what_was_never_named(story: Story) -> None:
    with pytest.raises(NotFoundError):
        story.stop()
    with pytest.raises(NotFoundError):
        story.cancel()


# Silence


def test_at_rest_it_expires_after_the_idle_time_and_not_before(story: Story) -> None:
    story.name("a")
    story.at_ms += 59_999
    assert story.expire() == []
    story.at_ms += 1
    assert told(story.expire()) == [Outcome.EXPIRED]
    assert story.expire() == []


def test_each_event_begins_the_idle_time_anew(story: Story) -> None:
    story.name("a")
    story.at_ms += 50_000
    story.update("b", COMPLETED)
    story.at_ms += 50_000
    assert story.expire() == []


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(COMPLETED, Outcome.COMPLETED), (ERROR, Outcome.FAILED), (PENDING, Outcome.EXPIRED)],
)
def test_silence_tells_what_its_steps_had_come_to(story: Story, status: Status, outcome: Outcome) -> None:
    story.update("a", status)
    story.at_ms += 60_000
    assert told(story.expire()) == [outcome]


def test_a_publisher_in_the_middle_of_a_step_may_be_silent_longer(story: Story) -> None:
    story.update("a", IN_PROGRESS, 40)
    story.at_ms += 899_999
    assert story.expire() == []
    story.at_ms += 1
    assert told(story.expire()) == [("a", ERROR, 0), Outcome.INTERRUPTED]
    assert story.last("a").message == SILENT


def test_what_runs_here_never_expires(story: Story) -> None:
    story.begin_run("r")
    story.at_ms += 10_000_000
    assert story.expire() == []


def test_what_was_never_named_never_expires(story: Story) -> None:
    assert story.expire(idle_ms=0, silence_ms=0) == []


# Cancelling


def test_cancelling_takes_effect_at_once_on_a_publishers_step(story: Story) -> None:
    story.name("a", "b")
    story.update("a", IN_PROGRESS, 40)
    assert told(story.cancel()) == [("a", ERROR, 0), Outcome.CANCELLED]
    assert story.last("a").message == "Cancelado por el usuario"
    assert story.last("b").status is PENDING


def test_cancelled_outweighs_failed_and_completed(story: Story) -> None:
    story.update("a", COMPLETED)
    story.update("b", ERROR)
    assert told(story.cancel()) == [Outcome.CANCELLED]


@pytest.mark.parametrize("step", ["a", "b"])
def test_a_cancelled_operation_takes_no_update_and_no_work(story: Story, step: str) -> None:
    story.update("a", IN_PROGRESS)
    story.cancel()
    with pytest.raises(OperationCancelledError):
        story.update(step, IN_PROGRESS)
    with pytest.raises(OperationCancelledError):
        story.begin_run("r")
    assert story.name("c") == []


def test_an_ended_operation_cannot_be_cancelled(story: Story) -> None:
    story.name()
    story.stop()
    with pytest.raises(OperationEndedError):
        story.cancel()
    assert not story.operation.cancelling


def test_a_cancelled_operation_cannot_be_cancelled_again(story: Story) -> None:
    story.name()
    story.cancel()
    with pytest.raises(OperationEndedError):
        story.cancel()


# Re-opening


@pytest.mark.parametrize("status", [PENDING, IN_PROGRESS, ERROR])
def test_a_publishers_update_reopens_a_stopped_operation(story: Story, status: Status) -> None:
    story.name("a")
    story.stop()
    story.update("a", status)
    assert story.last("a").status is status
    assert story.outcome is None
    assert story.operation.finished_ms is None


def test_one_update_may_reopen_and_end_it(story: Story) -> None:
    story.name("a")
    story.update("a", ERROR)
    assert told(story.stop()) == [Outcome.FAILED]
    assert told(story.update("a", COMPLETED)) == [("a", COMPLETED, 100), Outcome.COMPLETED]


def test_its_outcome_is_decided_anew_with_one_ending_for_each_opening(story: Story) -> None:
    story.name("a")
    story.update("a", ERROR)
    story.stop()
    story.update("a", IN_PROGRESS, 5)
    assert story.outcome is None
    story.update("a", COMPLETED)
    endings = [entry for entry in told(story.log) if isinstance(entry, Outcome)]
    assert endings == [Outcome.FAILED, Outcome.COMPLETED]


def test_a_stop_of_the_former_opening_does_not_end_the_next(story: Story) -> None:
    story.name("a")
    story.stop()
    story.update("a", IN_PROGRESS)
    story.update("b", COMPLETED)
    assert story.outcome is None


def test_a_completed_operation_is_reopened_by_pending_only(story: Story) -> None:
    story.name("a")
    story.update("a", COMPLETED)
    story.update("a", PENDING)
    assert story.outcome is None


def test_a_new_step_reopens_a_completed_operation(story: Story) -> None:
    story.name("a")
    story.update("a", COMPLETED)
    story.update("b", IN_PROGRESS)
    assert story.outcome is None
    assert told(story.update("b", COMPLETED)) == [("b", COMPLETED, 100), Outcome.COMPLETED]


def test_an_expired_and_an_interrupted_operation_may_be_reopened(story: Story) -> None:
    story.update("a", IN_PROGRESS)
    story.at_ms += 900_000
    story.expire()
    assert told(story.update("a", IN_PROGRESS, 30)) == [("a", IN_PROGRESS, 30)]
    assert story.operation.steps["a"].attempt == 2
