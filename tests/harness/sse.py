"""Readers of event streams: one connection (eventsource-parser), and the reconnecting kind (undici)."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.harness.processes import WAIT_SECONDS, LineProcess, StreamEndedError, node, parsed


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One dispatched block; `event` is "message" and `id` None where it had no such line."""

    event: str
    id: str | None
    data: str

    @property
    def json(self) -> dict[str, Any]:
        """The data as a JSON object."""
        value: dict[str, Any] = json.loads(self.data)
        return value


@dataclass(frozen=True, slots=True)
class Opened:
    """The answer's head; header names are lower case."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Retry:
    """A `retry:` line."""

    milliseconds: int


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment line, without its colon."""

    text: str


@dataclass(frozen=True, slots=True)
class Body:
    """The text of an answer that is no event stream."""

    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The end: `failure` is None when the answer was complete, else the network's reason."""

    failure: str | None


SseLine = SseEvent | Opened | Retry | Comment | Body | Ended


class SseReader(LineProcess[SseLine]):
    """One SSE connection read by `eventsource-parser` on Node.

    `async with SseReader(url, headers={"X-User-ID": "7"}) as stream` starts it; `opened` tells the head;
    iterating yields its events until it ends; `lines` has everything in order, comments and `retry` as well.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        body: str | None = None,
        last_event_id: str | None = None,
    ) -> None:
        arguments = [url, "--method", method]
        sent = dict(headers or {})
        if last_event_id is not None:
            sent["Last-Event-ID"] = last_event_id
        for name, value in sent.items():
            arguments += ["--header", f"{name}: {value}"]
        if body is not None:
            arguments += ["--body", body]
        super().__init__(node("sse.mjs", *arguments))

    def parse(self, line: bytes) -> SseLine:  # noqa: PLR0911 - one return for each kind of line
        """Make a typed value of one line of sse.mjs."""
        match parsed(line):
            case {"open": head}:
                return Opened(head["status"], head["headers"])
            case {"retry": milliseconds}:
                return Retry(milliseconds)
            case {"comment": text}:
                return Comment(text)
            case {"body": text}:
                return Body(text)
            case {"eof": True}:
                return Ended(None)
            case {"failed": reason}:
                return Ended(reason)
            case {"event": event, "id": event_id, "data": data}:
                return SseEvent(event or "message", event_id, data)
            case other:
                raise AssertionError(f"the stream is malformed: {other}")

    @property
    def events(self) -> list[SseEvent]:
        """All events seen so far, taken or not."""
        return [line for line in self.lines if isinstance(line, SseEvent)]

    async def opened(self, timeout_seconds: float = WAIT_SECONDS) -> Opened:
        """Wait for the answer's head; call it first."""
        line = await self.take(timeout_seconds=timeout_seconds)
        assert isinstance(line, Opened), f"no answer: {line}"
        return line

    async def next(self, timeout_seconds: float = WAIT_SECONDS) -> SseEvent:
        """Return the next event."""
        line = await self.take(lambda it: isinstance(it, SseEvent | Ended), timeout_seconds)
        if isinstance(line, SseEvent):
            return line
        raise StreamEndedError(f"{line}; {self._seen()}")

    async def until(
        self, wanted: Callable[[SseEvent], bool], timeout_seconds: float = WAIT_SECONDS
    ) -> list[SseEvent]:
        """Return the next events up to and with the first that is wanted."""
        events = [await self.next(timeout_seconds)]
        while not wanted(events[-1]):
            events.append(await self.next(timeout_seconds))
        return events

    async def until_live(self, timeout_seconds: float = WAIT_SECONDS) -> list[SseEvent]:
        """Return the next events up to and with `live`."""
        return await self.until(lambda it: it.event == "live", timeout_seconds)

    async def rest(self, timeout_seconds: float = WAIT_SECONDS) -> list[SseEvent]:
        """Wait for the end of a complete answer and return the events until then."""
        await self.exhausted(timeout_seconds)
        rest = [event async for event in self]
        assert self.lines[-1:] == [Ended(None)], f"the stream was cut off; {self._seen()}"
        return rest

    async def __aiter__(self) -> AsyncIterator[SseEvent]:
        async for line in self.values():
            if isinstance(line, SseEvent):
                yield line


@dataclass(frozen=True, slots=True)
class BrowserEvent:
    """What an EventSource dispatched: an event of the stream, or `open` or `error` (`data` is None then).

    `ready_state`: 0 it will try again, 1 open, 2 closed for good.
    """

    type: str
    last_event_id: str | None
    data: str | None
    ready_state: int


class EventSourceClient(LineProcess[BrowserEvent]):
    """undici's EventSource: reconnects with Last-Event-ID by itself, as a browser does.

    It takes the types message, end, operation, live and gap. The process ends when the source is closed for
    good.
    """

    def __init__(self, url: str) -> None:
        super().__init__(node("eventsource.mjs", url))

    def parse(self, line: bytes) -> BrowserEvent:
        """Make a typed value of one line of eventsource.mjs."""
        value = parsed(line)
        return BrowserEvent(value["type"], value.get("lastEventId"), value.get("data"), value["readyState"])

    async def until(
        self, wanted: Callable[[BrowserEvent], bool], timeout_seconds: float = WAIT_SECONDS
    ) -> list[BrowserEvent]:
        """Return what is dispatched next, up to and with the first that is wanted."""
        events = [await self.take(timeout_seconds=timeout_seconds)]
        while not wanted(events[-1]):
            events.append(await self.take(timeout_seconds=timeout_seconds))
        return events
