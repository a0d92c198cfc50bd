"""An event stream, read as the HTML standard says (§9.2.5, §9.2.6). No input or output."""

import codecs
import re
from typing import NamedTuple

_LINE_END = re.compile(r"\r\n|\r|\n")
_DIGITS = re.compile("[0-9]+")


class Block(NamedTuple):
    """What a blank line dispatched: `event` is `message` where the block named none."""

    event: str
    data: str
    last_event_id: str


class EventStream:
    """Takes bytes in any pieces and gives the blocks that they complete; a half block at the end is none.

    `retry_ms` is the last `retry:`; None before one.
    """

    def __init__(self) -> None:
        self.retry_ms: int | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._rest = ""
        self._after_cr = False
        self._last_event_id = ""
        self._event = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[Block]:
        """Give the blocks that end in `chunk`."""
        text = self._decoder.decode(chunk)
        if not text:
            return []
        if self._after_cr:  # the two halves of one line end came in two pieces
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r")
        *lines, self._rest = _LINE_END.split(self._rest + text)
        return [block for line in lines if (block := self._line(line)) is not None]

    def _line(self, line: str) -> Block | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")  # a comment has an empty name
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._last_event_id = value
            case "retry" if _DIGITS.fullmatch(value):
                self.retry_ms = int(value)
        return None

    def _dispatch(self) -> Block | None:
        event, data = self._event, self._data
        self._event, self._data = "", []
        if not data:
            return None
        return Block(event or "message", "\n".join(data), self._last_event_id)
