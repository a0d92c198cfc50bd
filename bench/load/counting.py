"""Counting events in raw bytes, at the speed of C, and reading the moments that they carry.

Each event is JSON on one line, and has one `"timestamp":"` and one `t=<19 digits>`. What frames it (chunks of
HTTP, blocks of SSE, frames of WebSocket) stands around the JSON and never inside, so it need not be parsed:
`bench/load/strict.py` does parse it, for one reader of each run, and the two must agree.
"""

import re
from collections.abc import Sequence

MARKER = b'"timestamp":"'
STAMP = re.compile(rb"t=(\d{19})")
STAMP_BYTES = 21

SSE_LAST = 0x0A
"""What the last byte is when no event is cut in two: SSE and HTTP chunks end with a line feed..."""
WEBSOCKET_LAST = 0x7D
"""...and a WebSocket message of ours with a brace, which stands nowhere else in it."""


class MarkerCounter:
    """Counts the events of one stream; `buffer` holds what was received in its first `size` bytes."""

    __slots__ = ("_last", "tail")

    def __init__(self, last: int) -> None:
        self._last = last
        self.tail = b""
        """What may be the beginning of a marker that was cut in two."""

    def count(self, buffer: bytearray, size: int) -> int:
        """How many events end their marker in these bytes."""
        if not self.tail and buffer[size - 1] == self._last:
            return buffer.count(MARKER, 0, size)
        data = self.tail + buffer[:size]
        whole = data[-1] == self._last
        self.tail = b"" if whole else bytes(data[-(len(MARKER) - 1) :])
        return data.count(MARKER)


class StampReader:
    """Finds the moments when the events of one stream were published."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b""

    def stamps(self, data: bytes) -> Sequence[int]:
        """The moments (CLOCK_MONOTONIC, ns) of the events in `data`, in order."""
        data = self._tail + data
        self._tail = data[-(STAMP_BYTES - 1) :]
        return [int(digits) for digits in STAMP.findall(data)]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the sorted values lie; 0 where there are none."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
