"""What the server's own work does to an operation (protocol §5)."""

import pytest

from tests.progress.story import COMPLETED, ERROR, IN_PROGRESS, PENDING, Story, told
from wellnet_sse.errors import OperationCancelledError, RunLostError, TooManyStepsError
from wellnet_sse.progress.events import MAX_STEPS, Outcome


@pytest.fixture
def story() -> Story:
    return Story()


def work(story: Story, step: str, run: str = "r") -> None:
    """Let the run take a step to `completed`."""
    story.enter(run, step)
    story.update(step, IN_PROGRESS, 10, run=run)
    story.update(step, COMPLETED, 100, run=run)


def test_beginning_work_begins_the_operation_and_declares(story: Story) -> None:
    assert told(story.begin_run("r", "a", "b")) == [("a", PENDING, 0), ("b", PENDING, 0)]
    assert story.operation.begun


def test_completed_steps_do_not_end_what_still_runs(story: Story) -> None:
    story.begin_run("r", "a")
    work(story, "a")
    assert story.outcome is None
    assert told(story.finish("r")) == [Outcome.COMPLETED]


def test_stopping_waits_for_what_runs(story: Story) -> None:
    story.begin_run("r", "a", "b", ends=False)
    story.enter("r", "a")
    assert story.stop() == []
    work(story, "a")
    assert told(story.finish("r")) == [Outcome.CANCELLED]


def test_a_block_that_ends_the_operation_leaves_it_ended(story: Story) -> None:
    story.begin_run("r", "a", "b", ends=True)
    work(story, "a")
    assert told(story.finish("r")) == [Outcome.CANCELLED]


def test_one_that_does_not_end_it_leaves_it_open(story: Story) -> None:
    story.begin_run("r", "a", "b", ends=False)
    work(story, "a")
    assert story.finish("r") == []
    assert story.outcome is None


def test_a_single_step_request_ends_an_undeclared_operation(story: Story) -> None:
    story.begin_run("r", ends=None)
    work(story, "a")
    assert told(story.finish("r")) == [Outcome.COMPLETED]


def test_a_single_step_request_ends_an_undeclared_operation_when_it_fails(story: Story) -> None:
    story.begin_run("r", ends=None)
    story.enter("r", "a")
    story.update("a", ERROR, run="r")
    assert told(story.finish("r", failed=True)) == [Outcome.FAILED]


def test_a_single_step_request_leaves_a_declared_operation_open(story: Story) -> None:
    story.name("a", "b")
    story.begin_run("r", ends=None)
    work(story, "a")
    assert story.finish("r") == []


def test_it_ends_with_the_last_of_several_runs(story: Story) -> None:
    story.begin_run("r1", "a", "b")
    story.begin_run("r2", ends=False)
    work(story, "a", "r1")
    assert story.finish("r1") == []
    work(story, "b", "r2")
    assert told(story.finish("r2")) == [Outcome.COMPLETED]


def test_a_failed_block_without_a_failed_step_has_failed(story: Story) -> None:
    story.begin_run("r")
    assert told(story.finish("r", failed=True)) == [Outcome.FAILED]


def test_a_run_that_is_finished_twice_ends_once(story: Story) -> None:
    story.begin_run("r")
    story.finish("r")
    assert story.finish("r") == []


def test_entering_a_new_step_tells_nothing_yet(story: Story) -> None:
    story.begin_run("r")
    assert story.enter("r", "a") == []
    assert story.operation.steps == {}


def test_entering_a_completed_step_announces_it_again(story: Story) -> None:
    story.begin_run("r", "a")
    work(story, "a")
    assert told(story.enter("r", "a")) == [("a", PENDING, 0)]
    assert story.operation.steps["a"].attempt == 2


def test_no_room_for_a_step_is_told_before_its_work(story: Story) -> None:
    story.begin_run("r", *[f"s{n}" for n in range(MAX_STEPS)])
    with pytest.raises(TooManyStepsError):
        story.enter("r", "one-more")
    story.enter("r", "s7")


def test_work_that_was_taken_for_dead_may_publish_nothing(story: Story) -> None:
    story.begin_run("r", "a")
    story.enter("r", "a")
    story.interrupt("r")
    with pytest.raises(RunLostError):
        story.update("a", IN_PROGRESS, 50, run="r")
    with pytest.raises(RunLostError):
        story.enter("r", "b")
    assert story.finish("r") == []
    assert story.outcome is Outcome.INTERRUPTED


# Re-opening


@pytest.mark.parametrize("failed", [False, True])
def test_work_reopens_an_ended_operation_and_decides_anew(story: Story, failed: bool) -> None:
    story.begin_run("r1", "a")
    story.finish("r1", failed=failed)
    assert story.begin_run("r2") == []
    assert story.outcome is None
    work(story, "a", "r2")
    assert told(story.finish("r2")) == [Outcome.COMPLETED]


def test_declaring_while_reopening_comes_after_the_ending(story: Story) -> None:
    story.name("a")
    story.stop()
    assert told(story.begin_run("r", "a", "b")) == [("b", PENDING, 0)]
    assert story.outcome is None


# Cancelling


def test_cancelling_lets_the_step_at_work_finish(story: Story) -> None:
    story.begin_run("r", "a", "b")
    story.enter("r", "a")
    story.update("a", IN_PROGRESS, 10, run="r")
    assert story.cancel() == []
    assert told(story.update("a", IN_PROGRESS, 50, run="r")) == [("a", IN_PROGRESS, 50)]
    assert told(story.update("a", COMPLETED, run="r")) == [("a", COMPLETED, 100)]
    with pytest.raises(OperationCancelledError):
        story.enter("r", "b")
    assert told(story.finish("r")) == [Outcome.CANCELLED]


def test_cancelling_before_the_first_update_of_an_entered_step_lets_it_work(story: Story) -> None:
    story.begin_run("r")
    story.enter("r", "a")
    story.cancel()
    assert told(story.update("a", IN_PROGRESS, 10, run="r")) == [("a", IN_PROGRESS, 10)]


def test_cancelling_hits_a_publishers_step_beside_the_servers_work(story: Story) -> None:
    story.begin_run("r", "a")
    story.enter("r", "a")
    story.update("a", IN_PROGRESS, 10, run="r")
    story.update("b", IN_PROGRESS, 10)
    assert told(story.cancel()) == [("b", ERROR, 0)]
    with pytest.raises(OperationCancelledError):
        story.update("b", IN_PROGRESS, 20)


def test_while_it_is_being_cancelled_it_may_be_cancelled_again(story: Story) -> None:
    story.begin_run("r", "a")
    story.cancel()
    assert story.cancel() == []
    assert told(story.finish("r")) == [Outcome.CANCELLED]


def test_a_step_that_a_finished_run_left_is_a_publishers(story: Story) -> None:
    story.begin_run("r", "a", ends=False)
    story.enter("r", "a")
    story.update("a", IN_PROGRESS, 10, run="r")
    story.finish("r")
    assert told(story.cancel()) == [("a", ERROR, 0), Outcome.CANCELLED]


# Interruption


def test_interrupted_work_says_so_by_its_step_and_ends_at_once(story: Story) -> None:
    story.begin_run("r", "a", "b")
    story.enter("r", "a")
    story.update("a", IN_PROGRESS, 60, run="r")
    assert told(story.interrupt("r")) == [("a", ERROR, 0), Outcome.INTERRUPTED]
    assert story.last("a").message == "a cut"


def test_interrupted_between_steps_names_the_next(story: Story) -> None:
    story.begin_run("r", "a", "b")
    work(story, "a")
    assert told(story.interrupt("r")) == [("b", ERROR, 0), Outcome.INTERRUPTED]


def test_interrupted_with_nothing_in_hand_only_ends(story: Story) -> None:
    story.begin_run("r")
    assert told(story.interrupt("r")) == [Outcome.INTERRUPTED]


def test_a_step_that_was_entered_and_never_told_is_named(story: Story) -> None:
    story.begin_run("r")
    story.enter("r", "a")
    assert told(story.interrupt("r")) == [("a", ERROR, 0), Outcome.INTERRUPTED]


def test_all_runs_of_a_dead_process_are_interrupted_together(story: Story) -> None:
    story.begin_run("r1", "a", "b")
    story.begin_run("r2")
    for run, step in (("r1", "a"), ("r2", "b")):
        story.enter(run, step)
        story.update(step, IN_PROGRESS, 5, run=run)
    assert told(story.interrupt("r1", "r2")) == [("a", ERROR, 0), ("b", ERROR, 0), Outcome.INTERRUPTED]


def test_interruption_outweighs_a_cancellation_under_way(story: Story) -> None:
    story.begin_run("r", "a")
    story.enter("r", "a")
    story.cancel()
    assert told(story.interrupt("r"))[-1] is Outcome.INTERRUPTED


def test_a_dead_run_that_had_done_its_whole_plan_is_over_and_not_interrupted(story: Story) -> None:
    story.begin_run("r", plan=("a", "b"))
    work(story, "a")
    work(story, "b")
    assert told(story.interrupt("r")) == [Outcome.COMPLETED]


def test_a_dead_run_with_half_of_its_plan_done_is_interrupted(story: Story) -> None:
    story.begin_run("r", plan=("a", "b"))
    work(story, "a")
    assert told(story.interrupt("r"))[-1] is Outcome.INTERRUPTED


def test_an_unknown_run_interrupts_nothing(story: Story) -> None:
    story.begin_run("r")
    assert story.interrupt("x") == []
    assert story.outcome is None


def test_every_step_in_the_hands_of_a_dead_run_says_so(story: Story) -> None:
    """A block may work on two steps at once."""
    story.begin_run("r", "a", "b")
    for step in ("a", "b"):
        story.enter("r", step)
        story.update(step, IN_PROGRESS, 5, run="r")
    assert told(story.interrupt("r")) == [("a", ERROR, 0), ("b", ERROR, 0), Outcome.INTERRUPTED]


def test_runs_that_die_one_after_the_other_leave_no_step_at_work(story: Story) -> None:
    story.begin_run("r1", "a", "b")
    story.begin_run("r2")
    for run, step in (("r1", "a"), ("r2", "b")):
        story.enter(run, step)
        story.update(step, IN_PROGRESS, 5, run=run)
    story.interrupt("r1")
    story.interrupt("r2")
    assert [story.last(step).status for step in ("a", "b")] == [ERROR, ERROR]
    assert story.outcome is Outcome.INTERRUPTED


def test_interruption_never_makes_a_step_for_which_there_is_no_room(story: Story) -> None:
    story.begin_run("r1", *[f"s{n}" for n in range(MAX_STEPS - 1)])
    story.begin_run("r2")
    story.enter("r1", "last")
    story.enter("r2", "too-much")
    story.update("last", IN_PROGRESS, run="r1")
    story.interrupt("r2")
    assert len(story.operation.steps) == MAX_STEPS
