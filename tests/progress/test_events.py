import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import CALM
from wellnet_sse.progress import events
from wellnet_sse.progress.events import (
    Cursor,
    Ending,
    Event,
    Outcome,
    Record,
    Status,
    is_message,
    is_operation_id,
    is_step_name,
    parse_user_id,
    timestamp,
)

ANY_TEXT = st.text(max_size=200)  # without surrogates, as hypothesis has it
PROGRESS = st.none() | st.integers(0, 100)


def event(message: str = "hola", progress: int | None = 33) -> Event:
    at_ms = 1_752_722_400_000
    return Event("remove-config-1", "remove-service", Status.IN_PROGRESS, message, progress, at_ms)


@pytest.mark.parametrize("text", ["a", "A-Z_0.9:x", "x" * 128])
def test_operation_ids_are_what_the_protocol_lists(text: str) -> None:
    assert is_operation_id(text)


@pytest.mark.parametrize(
    "text", ["", "x" * 129, "a b", "a/b", "á", "a\n", "\na", "a\0", 'a"', "a,b", "٣", "a\u2028"]
)
def test_other_operation_ids_and_step_names_are_none(text: str) -> None:
    assert not is_operation_id(text)
    assert not is_step_name(text)


def test_step_names_have_at_most_64_characters() -> None:
    assert is_step_name("s" * 64)
    assert not is_step_name("s" * 65)


def test_messages_have_at_most_2000_characters_and_no_lone_surrogate() -> None:
    assert is_message("")
    assert is_message("\U0001f680" * 2000)
    assert not is_message("x" * 2001)
    assert not is_message("a\ud800")
    assert not is_message("\udfffa")


@pytest.mark.parametrize(("text", "user"), [("1", 1), ("7", 7), (str(2**63 - 1), 2**63 - 1)])
def test_a_user_is_a_positive_decimal_integer(text: str, user: int) -> None:
    assert parse_user_id(text) == user


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "+1", "01", "1.0", "1e3", " 1", "1 ", "1\n", "0x1", "٣", str(2**63), "9" * 20, "abc"],
)
def test_anything_else_is_no_user(text: str) -> None:
    assert parse_user_id(text) is None


@CALM
@given(st.from_regex(r"[A-Za-z0-9]{1,32}", fullmatch=True), st.integers(0, 10**19 - 1))
def test_a_cursor_is_read_back_as_it_was_written(epoch: str, seq: int) -> None:
    cursor = Cursor(epoch, seq)
    assert Cursor.parse(str(cursor)) == cursor
    assert str(cursor).isascii()


@pytest.mark.parametrize(
    "text",
    ["", "-", "k3f9", "k3f9-", "-41", "k3f9-041", "k3f9--41", "k3f9-+41", "k3f9-4 1", "k3f9-41\n", "k3f9-٣",
     "ñ-1", "a-b-1", "k3f9-" + "9" * 20, "x" * 33 + "-1", "k3f9-1.0"],
)  # fmt: skip
def test_what_spells_no_cursor_is_none(text: str) -> None:
    assert Cursor.parse(text) is None


@CALM
@given(ANY_TEXT)
def test_a_text_that_parses_as_cursor_is_its_only_spelling(text: str) -> None:
    cursor = Cursor.parse(text)
    assert cursor is None or str(cursor) == text


@CALM
@given(st.integers(0, 4_000_000_000_000))
def test_timestamps_are_javascripts(at_ms: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    assert timestamp(at_ms) == moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"


def test_the_json_is_the_source_documents_example() -> None:
    assert event("Eliminando asignación de servicio...").json() == (
        '{"operation_id":"remove-config-1","step":"remove-service","status":"in_progress",'
        '"message":"Eliminando asignación de servicio...","progress":33,'
        '"timestamp":"2025-07-17T03:20:00.000Z"}'
    )


@CALM
@given(ANY_TEXT, PROGRESS)
def test_any_message_survives_the_json_on_one_line(message: str, progress: int | None) -> None:
    text = event(message, progress).json()
    assert "\n" not in text
    assert "\r" not in text
    assert list(json.loads(text).items()) == [
        ("operation_id", "remove-config-1"),
        ("step", "remove-service"),
        ("status", "in_progress"),
        ("message", message),
        ("progress", progress),
        ("timestamp", "2025-07-17T03:20:00.000Z"),
    ]


@CALM
@given(st.sampled_from(Outcome), PROGRESS)
def test_an_ending_has_its_four_fields(outcome: Outcome, progress: int | None) -> None:
    text = Ending("op", outcome, progress, 1_752_722_400_001).json()
    assert list(json.loads(text).items()) == [
        ("operation_id", "op"),
        ("outcome", outcome.value),
        ("progress", progress),
        ("timestamp", "2025-07-17T03:20:00.001Z"),
    ]


def test_a_record_is_encoded_once_for_all() -> None:
    record = Record("k3f9", 41, event("¡ñandú! \U0001f680"))
    assert record.json is record.json
    assert record.json.decode() == record.event.json()
    assert "k3f9-41" in repr(record)


def test_what_is_too_long_to_be_a_name_is_not_kept() -> None:
    """Whoever may send names could fill the memory with them."""
    before = events._is_spelled.cache_info().currsize
    for n in range(100):
        assert not events.is_operation_id(f"{n:0129}")
    assert events._is_spelled.cache_info().currsize == before
