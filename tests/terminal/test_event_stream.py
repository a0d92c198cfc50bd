"""The client's parser: the standard's own examples, and the same as npm's eventsource-parser."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.properties import CALM
from tests.transports.test_wire import EventSourceParser, parser
from wellnet_sse.terminal.event_stream import Block, EventStream

__all__ = ["parser"]


def blocks(*chunks: bytes) -> list[Block]:
    """What a stream in these pieces dispatches."""
    stream = EventStream()
    return [block for chunk in chunks for block in stream.feed(chunk)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10", "")]),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            [
                ("message", "first event", "1"),
                ("message", "second event", ""),
                ("message", " third event", ""),
            ],
        ),
        ("data\n\ndata\ndata\n\ndata:", [("message", "", ""), ("message", "\n", "")]),
        ("data:test\n\ndata: test\n\n", [("message", "test", ""), ("message", "test", "")]),
        ("event: end\ndata: x\n\ndata: y\n\n", [("end", "x", ""), ("message", "y", "")]),
        ("event: end\n\ndata: y\n\n", [("message", "y", "")]),
        ("id: 1\n\ndata: y\n\n", [("message", "y", "1")]),
        ("id: 1\n\nid: a\0b\ndata: y\n\n", [("message", "y", "1")]),
        ("\ufeffdata: y\n\n\ufeffdata: z\n\n", [("message", "y", "")]),
        ("unknown: y\nDATA: y\n data: y\n\n", []),
        ("data: x\r\rdata: y\r\n\r\ndata: z\n\r\n", [("message", it, "") for it in "xyz"]),
        ("data: \x85\u2028\x0b\n\n", [("message", "\x85\u2028\x0b", "")]),
    ],
)
def test_it_reads_as_the_standard_says(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert blocks(text.encode()) == expected
    assert blocks(*(bytes([byte]) for byte in text.encode())) == expected, "one byte at a time"


def test_bytes_that_are_no_utf_8_cost_no_more_than_themselves() -> None:
    assert blocks(b"data: \xff\n\ndata: y\n\n") == [("message", "\ufffd", ""), ("message", "y", "")]


@pytest.mark.parametrize(("line", "expected"), [("2103", 2103), ("2e3", None), ("-1", None), ("", None)])
def test_retry_is_a_whole_number(line: str, expected: int | None) -> None:
    stream = EventStream()
    stream.feed(f"retry: {line}\n\n".encode())
    assert stream.retry_ms == expected


LINES = st.sampled_from(
    ["data: x", "data", "data:", "data:  y", "id: k-1", "id", "event: end", ": c", "", "", "z: 1"]
)
TEXTS = st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r\n", "\r"]))).map(
    lambda lines: "".join(line + end for line, end in lines)
)


@settings(CALM)
@given(text=TEXTS, cuts=st.lists(st.integers(0, 200)))
def test_however_it_is_cut_it_says_what_another_parser_says(
    parser: EventSourceParser, text: str, cuts: Sequence[int]
) -> None:
    data = text.encode() + b"data: last\n\n"  # that one waits for what may follow a CR
    ends = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[start:end] for start, end in pairwise(ends)]
    theirs = [(it["event"] or "message", it["data"]) for it in parser.parse(data) if "data" in it]
    assert [(block.event, block.data) for block in blocks(*pieces)] == theirs
