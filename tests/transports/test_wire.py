"""The encoders, read back by npm's eventsource-parser and by json: whatever the message, nothing is lost.

One process of Node parses all the streams of this file.
"""

import base64
import json
import subprocess
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.processes import node, tied
from tests.properties import CALM
from wellnet_sse.errors import BadRequestError
from wellnet_sse.progress.broker import Gap
from wellnet_sse.progress.events import Cursor, Ending, Event, Outcome, Record, Status
from wellnet_sse.progress.items import CloseReason, Final, Item, Live
from wellnet_sse.transports import wire

Parsed = list[dict[str, Any]]


class EventSourceParser:
    """A process of Node that parses streams, one after the other."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def parse(self, *chunks: bytes) -> Parsed:
        """What the stream of these chunks dispatches."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        stdin.write(json.dumps([base64.b64encode(chunk).decode() for chunk in chunks]).encode() + b"\n")
        stdin.flush()
        parsed: Parsed = json.loads(stdout.readline())
        return parsed


@pytest.fixture(scope="module")
def parser() -> Iterator[EventSourceParser]:
    command = tied(node("parse.mjs"))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:  # noqa: S603 - ours
        yield EventSourceParser(process)
        assert process.stdin
        process.stdin.close()


NASTY = [
    "\0", "\r\n", "\n\n", "\r", "\u2028\u2029", "\x85", "\ufeff", "\x7f", '"', "\\", "\\u0000", "data: x\n\n",
    "\nid: k3f9-999\n\n", "\nevent: end\ndata: {}\n\n", ":", "\U0001f680", "e\u0301", "\u202e", "</script>",
    "ñ",
]  # fmt: skip
MESSAGES = st.lists(st.sampled_from(NASTY) | st.text(max_size=20), max_size=6).map("".join)
NAMES = st.from_regex(r"[A-Za-z0-9._:-]{1,20}", fullmatch=True)
EPOCHS = st.from_regex(r"[A-Za-z0-9]{1,8}", fullmatch=True)
SEQS = st.integers(0, 10**12)
CURSORS = st.builds(Cursor, EPOCHS, SEQS)
PROGRESS = st.none() | st.integers(0, 100)
TIMES = st.integers(0, 4_000_000_000_000)
EVENTS = st.builds(Event, NAMES, NAMES, st.sampled_from(Status), MESSAGES, PROGRESS, TIMES)
ENDINGS = st.builds(Ending, NAMES, st.sampled_from(Outcome), PROGRESS, TIMES)
RECORDS = st.builds(Record, EPOCHS, SEQS, EVENTS | ENDINGS)
# As received: a header may carry any byte, which Python shows as a surrogate.
RECEIVED = st.text(st.characters(codec="utf-8") | st.characters(categories=["Cs"]), max_size=20)
GAPS = st.builds(Gap, RECEIVED, st.none() | CURSORS, st.none() | CURSORS)
ITEMS = st.lists(
    RECORDS | GAPS | st.builds(Live, CURSORS) | st.builds(Final, st.builds(Record, EPOCHS, SEQS, ENDINGS)),
    max_size=8,
)


def fields(event: Event | Ending) -> dict[str, object]:
    """What the JSON must say, by the names of protocol §2."""
    values = event._asdict()
    values["timestamp"] = json.loads(event.json())["timestamp"]
    del values["at_ms"]
    return values


def data_of(item: Item) -> object:
    """What the reader must be told."""
    if isinstance(item, Live):
        return {}
    if isinstance(item, Gap):
        cursors = [None if it is None else str(it) for it in (item.earliest, item.latest)]
        return {"requested": item.requested, "earliest": cursors[0], "latest": cursors[1]}
    return fields(item.record.event if isinstance(item, Final) else item.event)


def name_of(item: Item, *, progress: str | None) -> str | None:
    """The name of its SSE event, or `progress` for what reaches `onmessage`."""
    if isinstance(item, Record):
        return progress if isinstance(item.event, Event) else "operation"
    return {Live: "live", Gap: "gap", Final: "end"}[type(item)]


def id_of(item: Item) -> str | None:
    if isinstance(item, Gap):
        return None
    return str(item.record.cursor if isinstance(item, Final) else item.cursor)


def told(parsed: Parsed) -> Parsed:
    return [{**block, "data": json.loads(block["data"])} for block in parsed]


@settings(CALM, max_examples=60)
@given(items=ITEMS, cuts=st.lists(st.integers(0, 3000), max_size=5))
def test_an_independent_parser_reads_every_block_as_it_was_meant(
    parser: EventSourceParser, items: list[Item], cuts: list[int]
) -> None:
    """However the network cuts the bytes, also within a character."""
    stream = wire.sse(items)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    parsed = parser.parse(*[stream[begin:end] for begin, end in pairwise(places)])
    if not items:
        assert parsed == [{"comment": ""}]
        return
    assert told(parsed) == [
        {"event": name_of(item, progress=None), "id": id_of(item), "data": data_of(item)} for item in items
    ]


@settings(CALM, max_examples=60)
@given(ITEMS)
def test_v2_says_the_same_as_the_stream(items: list[Item]) -> None:
    items = [item for item in items if not isinstance(item, Final)]  # the socket watches all operations
    assert [list(json.loads(text).items()) for text in wire.v2(items)] == [
        [("event", name_of(item, progress="progress")), ("id", id_of(item)), ("data", data_of(item))]
        for item in items
    ]


@settings(CALM, max_examples=60)
@given(ITEMS)
def test_the_documented_dialect_is_the_six_fields_and_nothing_else(items: list[Item]) -> None:
    events = [item.event for item in items if isinstance(item, Record) and isinstance(item.event, Event)]
    assert [json.loads(text) for text in wire.documented(items)] == [fields(event) for event in events]
    for text in wire.documented(items):
        assert list(json.loads(text)) == [
            "operation_id",
            "step",
            "status",
            "message",
            "progress",
            "timestamp",
        ]


@settings(CALM, max_examples=60)
@given(RECORDS)
def test_what_is_read_out_of_history_is_made_once(record: Record) -> None:
    wire.sse([record])
    wire.v2([record])
    made = dict(record.encodings or {})
    assert len(made) == 2
    wire.sse([record, record])
    wire.v2([record])
    assert all((record.encodings or {})[key] is value for key, value in made.items())


@settings(CALM, max_examples=60)
@given(RECORDS)
def test_what_is_written_live_is_not_kept_with_the_record(record: Record) -> None:
    for encode in (wire.sse_chunk, wire.documented_frames, wire.v2_frames):
        encode([record])
    assert record.encodings is None


@settings(CALM, max_examples=60)
@given(st.lists(RECORDS, max_size=5))
def test_every_block_has_one_data_line_and_an_ascii_id(records: Sequence[Record]) -> None:
    for record in records:
        block = wire.sse([record])
        assert block.endswith(b"\n\n")
        assert b"\r" not in block
        lines = block[:-2].split(b"\n")
        assert sum(line.startswith(b"data: ") for line in lines) == 1
        (line,) = [line for line in lines if line.startswith(b"id: ")]
        assert line.isascii()


def test_what_opens_and_closes_a_stream_is_read_as_it_was_meant(parser: EventSourceParser) -> None:
    assert parser.parse(wire.sse_retry(1999), wire.SSE_COMMENT) == [{"retry": 1999}, {"comment": ""}]
    for reason in CloseReason:
        (block,) = told(parser.parse(wire.sse_close(reason)))
        assert block == {"event": "end", "id": None, "data": {"reason": reason.reason}}
        assert json.loads(wire.v2_close(reason)) == block


def test_a_block_as_it_stands_in_the_protocol() -> None:
    event = Event("op", "a", Status.IN_PROGRESS, "Año", 33, 1_752_722_400_000)
    ending = Ending("op", Outcome.COMPLETED, 100, 1_752_722_400_000)
    records = [Record("k3f9", 41, event), Record("k3f9", 42, ending)]
    assert wire.sse([*records, Live(Cursor("k3f9", 42))]).decode() == (
        'id: k3f9-41\ndata: {"operation_id":"op","step":"a","status":"in_progress","message":"Año",'
        '"progress":33,"timestamp":"2025-07-17T03:20:00.000Z"}\n\n'
        'event: operation\nid: k3f9-42\ndata: {"operation_id":"op","outcome":"completed","progress":100,'
        '"timestamp":"2025-07-17T03:20:00.000Z"}\n\n'
        "event: live\nid: k3f9-42\ndata: {}\n\n"
    )
    assert wire.sse([Final(records[1])]).startswith(b"event: end\nid: k3f9-42\ndata: {")


def test_an_error_of_a_message_is_answered_with_code_and_sentence() -> None:
    message = json.loads(wire.v2_error(BadRequestError('Año "x"\n')))
    assert message == {"event": "error", "id": None, "data": {"code": "bad_request", "detail": 'Año "x"\n'}}


def test_the_heads_of_a_stream_are_the_promised_ones() -> None:
    assert wire.SSE_HEADERS == {
        "Content-Type": "text/event-stream; charset=utf-8",
        "Cache-Control": "no-cache, no-transform",
        "X-Accel-Buffering": "no",
    }
