"""A reader that parses everything, strictly: the witness that the fast counting is right."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

FIELDS = ["operation_id", "step", "status", "message", "progress", "timestamp"]


class Witness(NamedTuple):
    """What a strict parser found in the first bytes of one stream."""

    events: int
    bytes_per_event: float
    """Of JSON."""


def dechunked(raw: bytes) -> bytes:
    """The body in `raw` (RFC 9112 §7.1), which may end anywhere. Raises ValueError on bad framing."""
    body, at = bytearray(), 0
    while (end := raw.find(b"\r\n", at)) >= 0:
        size = int(raw[at:end].partition(b";")[0], 16)
        begin = end + 2
        body += raw[begin : begin + size]
        at = begin + size + 2
        if at > len(raw):
            break
        if raw[at - 2 : at] != b"\r\n":
            raise ValueError(f"no line end after a chunk: {raw[at - 2 : at + 20]!r}")
    return bytes(body)


def sse_data(body: bytes) -> Iterator[bytes]:
    """The data of each whole block of an event stream that has no `event:` of its own (HTML §9.2.6)."""
    blocks = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n")
    for block in blocks[:-1]:
        named, data = False, []
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            named = named or (name == b"event" and value not in {b"", b"message"})
            if name == b"data":
                data.append(value)
        if data and not named:
            yield b"\n".join(data)


def messages(raw: bytes) -> Iterator[bytes]:
    """The text messages in unfragmented, unmasked frames (RFC 6455 §5.2); `raw` may end anywhere."""
    at = 0
    while at + 2 <= len(raw):
        first, size, begin = raw[at], raw[at + 1], at + 2
        if first & 0x70 or size & 0x80 or not first & 0x80:
            raise ValueError(f"a frame that no server of ours should send: {raw[at : at + 20]!r}")
        if size == 126:
            size, begin = int.from_bytes(raw[begin : begin + 2], "big"), begin + 2
        elif size == 127:
            size, begin = int.from_bytes(raw[begin : begin + 8], "big"), begin + 8
        if begin + size > len(raw):
            return
        if first & 0x0F == 1:
            yield raw[begin : begin + size]
        at = begin + size


def witness(raw: bytes, *, websocket: bool, chunked: bool) -> Witness:
    """Parse what a stream carried after its head. Raises ValueError where any of it is not as documented."""
    texts = messages(raw) if websocket else sse_data(dechunked(raw) if chunked else raw)
    events = size = 0
    for text in texts:
        value: dict[str, Any] = json.loads(text)
        if "outcome" in value:
            continue
        if list(value) != FIELDS:
            raise ValueError(f"not the documented fields: {text!r}")
        events += 1
        size += len(text)
    return Witness(events, size / events if events else 0.0)
