"""A checker must be able to fail: each fault is put into a history that was right."""

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.checker import Fault, Finding, check, summary
from tests.chaos.ledger import Ledger, Log, Publish, Seen, split_cursor

USER = 7


def progress(
    seq: int, status: str, number: int | None, *, step: str = "a", message: str = "", op: str = "op"
) -> Seen:
    data = {
        "operation_id": op, "step": step, "status": status, "message": message or f"#{seq}",
        "progress": number, "timestamp": "",
    }  # fmt: skip
    return Seen(0, f"e-{seq}", data)


def ending(seq: int, outcome: str = "completed", *, op: str = "op") -> Seen:
    return Seen(0, f"e-{seq}", {"operation_id": op, "outcome": outcome, "progress": None, "timestamp": ""})


def published(seen: Seen, *, reopens: bool = False, **changes: Any) -> Publish:
    data = seen.data
    return replace(
        Publish(
            USER, data["operation_id"], data["step"], data["status"], data["message"], data["progress"],
            seen.cursor, reopens,
        ),
        **changes,
    )  # fmt: skip


def history() -> list[Seen]:
    """An attempt that fails, one that succeeds, the ending; a re-opening, and its ending."""
    return [
        progress(1, "pending", 0, message="Pendiente"),
        progress(2, "in_progress", 10),
        progress(3, "in_progress", 60),
        progress(4, "error", 0),
        progress(5, "in_progress", 20),
        progress(6, "completed", 100),
        ending(7),
        progress(8, "pending", 0),
        progress(9, "completed", 100),
        ending(10),
    ]


def ledger() -> Ledger:
    made = history()
    publishes = [published(seen, reopens=seen.cursor == "e-8") for seen in made[1:] if not seen.is_ending]
    return Ledger(publishes, {(USER, "op"): ("a",)}, {(USER, "op"): ["completed", "completed"]})


def log(seen: list[Seen] | None = None, **changes: Any) -> Log:
    whole = history() if seen is None else seen
    return replace(Log("client", USER, None, whole, [None], [], "e-0"), **changes)


def faults(findings: list[Finding]) -> set[Fault]:
    return {finding.fault for finding in findings}


def test_a_right_history_has_no_faults() -> None:
    assert check(ledger(), [log(), log()]) == []


def test_what_came_again_after_a_reconnect_is_dropped() -> None:
    """A client that resumes with an older cursor is told again, and has each event once."""
    again = [replace(seen, connection=1) for seen in history()[3:]]
    assert check(ledger(), [log(history() + again, asked=[None, "e-3"])]) == []


@pytest.mark.parametrize("index", range(10))
def test_any_missing_event_is_lost(index: int) -> None:
    seen = history()
    del seen[index]
    assert Fault.LOST in faults(check(ledger(), [log(seen)]))


def test_what_was_there_before_the_client_is_not_lost() -> None:
    assert check(ledger(), [log(history()[3:], complete_after="e-3")]) == []
    assert Fault.LOST in faults(check(ledger(), [log(history()[3:], complete_after="e-2")]))


def test_a_client_that_never_was_live_has_seen_nothing_for_sure() -> None:
    assert faults(check(ledger(), [log([], complete_after=None)])) == {Fault.LOST}


def test_an_answered_event_at_the_very_end_is_missed() -> None:
    """No later event shows the hole: only the ledger knows."""
    book = ledger()
    last = progress(11, "pending", 0)
    book.publishes.append(published(last, reopens=True))
    assert faults(check(book, [log()])) == {Fault.LOST}


def test_a_publish_that_is_there_twice_is_doubled() -> None:
    seen = [*history(), progress(11, "pending", 0, message="#8"), progress(12, "completed", 100), ending(13)]
    assert Fault.DOUBLED in faults(check(ledger(), [log(seen)]))


def test_an_unanswered_publish_may_be_there_once_or_not() -> None:
    book, maybe = ledger(), progress(11, "pending", 0)
    book.publishes.append(published(maybe, reopens=True, cursor=None))
    assert check(book, [log(), log([*history(), maybe])]) == []
    twice = [*history(), maybe, progress(12, "pending", 0, message="#11")]
    assert faults(check(book, [log(twice)])) == {Fault.DOUBLED}


def test_an_event_that_nobody_published_is_told() -> None:
    book = ledger()
    book.publishes.append(published(progress(11, "pending", 0), reopens=True))
    seen = [*history(), progress(11, "pending", 0), progress(12, "in_progress", 1)]
    assert faults(check(book, [log(seen)])) == {Fault.INVENTED}


@pytest.mark.parametrize("index", range(9))
def test_two_events_in_the_wrong_order_are_told(index: int) -> None:
    seen = history()
    seen[index], seen[index + 1] = seen[index + 1], seen[index]
    assert faults(check(ledger(), [log(seen)])) == {Fault.DISORDER}


def test_an_event_twice_on_one_connection_is_out_of_order() -> None:
    seen = history()
    assert faults(check(ledger(), [log([*seen[:5], *seen[4:]])])) == {Fault.DISORDER}


def test_a_resume_that_tells_the_cursor_itself_again_is_out_of_order() -> None:
    again = [replace(seen, connection=1) for seen in history()[6:]]
    assert faults(check(ledger(), [log(history() + again, asked=[None, "e-7"])])) == {Fault.DISORDER}


def test_events_after_the_ending_need_a_reopening() -> None:
    book = ledger()
    book.publishes = [replace(publish, reopens=False) for publish in book.publishes]
    assert faults(check(book, [log()])) == {Fault.AFTER_ENDING}


def test_an_operation_ends_once_for_each_opening() -> None:
    assert Fault.AFTER_ENDING in faults(check(ledger(), [log([*history(), ending(11)])]))
    book = ledger()
    book.endings[(USER, "op")] = ["completed"]
    assert faults(check(book, [log()])) == {Fault.DOUBLED}
    book.endings[(USER, "op")] = ["completed", "failed"]
    assert faults(check(book, [log()])) == {Fault.DOUBLED}


def test_an_operation_of_which_nothing_is_told_has_lost_its_ending() -> None:
    book = ledger()
    book.endings[(USER, "other")] = ["cancelled"]
    assert faults(check(book, [log()])) == {Fault.LOST}


@pytest.mark.parametrize(("index", "number"), [(2, 9), (5, 19)])
def test_progress_that_falls_within_an_attempt_is_told(index: int, number: int) -> None:
    book, seen = ledger(), history()
    seen[index] = replace(seen[index], data={**seen[index].data, "progress": number})
    book.publishes[index - 1] = replace(book.publishes[index - 1], progress=number)
    assert faults(check(book, [log(seen)])) == {Fault.FALLING}


@pytest.mark.parametrize(
    "change", [{"message": "other"}, {"status": "error"}, {"progress": 1}, {"step": "b"}]
)
def test_one_cursor_has_one_content(change: dict[str, object]) -> None:
    seen = history()
    seen[2] = replace(seen[2], data={**seen[2].data, **change})
    assert Fault.CONFLICT in faults(check(ledger(), [log(seen)]))


def test_two_clients_see_the_same() -> None:
    """Also in what no publisher knows."""
    seen = history()
    seen[6] = replace(seen[6], data={**seen[6].data, "progress": 50})
    assert faults(check(ledger(), [log(), log(seen)])) == {Fault.CONFLICT}


def test_one_client_sees_the_same_again() -> None:
    again = replace(history()[6], connection=1, data={**history()[6].data, "outcome": "failed"})
    assert faults(check(ledger(), [log([*history(), again], asked=[None, "e-6"])])) == {Fault.CONFLICT}


def test_gaps_and_other_epochs_are_told() -> None:
    assert faults(check(ledger(), [log(gaps=[{"requested": "e-3"}])])) == {Fault.GAP}
    seen = history()
    seen[-1] = replace(seen[-1], cursor="f-10")
    assert Fault.GAP in faults(check(ledger(), [log(seen)]))


def test_a_client_of_one_operation_needs_that_one_only() -> None:
    book, other = ledger(), progress(11, "in_progress", 5, op="other")
    book.publishes.append(published(other))
    assert check(book, [log(operation_id="op")]) == []
    assert Fault.LOST in faults(check(book, [log(history()[:2] + history()[3:], operation_id="op")]))


def test_a_client_that_was_told_to_stop_is_complete_up_to_the_last_ending() -> None:
    """The operation was re-opened after the server had answered 204."""
    assert check(ledger(), [log(history()[:7], operation_id="op", closed=True)]) == []
    assert Fault.LOST in faults(
        check(ledger(), [log([*history()[:5], history()[6]], operation_id="op", closed=True)])
    )


def test_a_client_that_joined_an_ended_operation_has_its_state() -> None:
    state = [history()[8], history()[9]]
    assert check(ledger(), [log(state, operation_id="op", complete_after="e-10", closed=True)]) == []


def test_the_summary_counts_and_shows() -> None:
    told = summary(check(ledger(), [log(history()[:-1])]))
    assert told.startswith("1 faults\n  lost: 1\n  client: lost: endings of op")
    assert summary([]) == "0 faults"


@pytest.mark.parametrize("bad", ["", "e", "-1", "e-", "e--1", "e-01", "ñ-1", "e-x"])
def test_what_is_no_cursor_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"no cursor|invalid literal"):
        split_cursor(bad)
