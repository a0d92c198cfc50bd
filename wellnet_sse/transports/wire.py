"""Pure encoders: what a subscription yields, as Server-Sent Events and as WebSocket messages.

What is written live is made once for all who read the same, by the hub, and not kept; what is read out of
history is made once and kept with its record, because many come back at once and read the same.
"""

import json
from collections.abc import Callable, Sequence

from wellnet_sse.errors import WellnetError
from wellnet_sse.progress.broker import Gap
from wellnet_sse.progress.events import Event, Record
from wellnet_sse.progress.items import CloseReason, Final, Item, Live

SSE_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    # nginx holds back everything, headers included, without this
    "X-Accel-Buffering": "no",
}
SSE_COMMENT = b":\n\n"
LAST_CHUNK = b"0\r\n\r\n"

V2_SUBPROTOCOL = "wellnet.progress.v2"


def sse_retry(milliseconds: int) -> bytes:
    """How long EventSource is to wait before it reconnects (HTML §9.2.6)."""
    return b"retry: %d\n\n" % milliseconds


def sse_close(reason: CloseReason) -> bytes:
    """The server closes the stream; no `id:`, so the client's cursor stays where it is."""
    return b'event: end\ndata: {"reason":"%s"}\n\n' % reason.reason.encode()


def sse(items: Sequence[Item]) -> bytes:
    """The blocks of `items`; a comment where there are none."""
    return b"".join([_kept(item, "sse", _sse_item) for item in items]) or SSE_COMMENT


def chunk(body: bytes) -> bytes:
    """`body` as one chunk of an HTTP/1.1 body (RFC 9112 §7.1)."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def sse_chunk(items: Sequence[Item]) -> bytes:
    """The blocks of `items` as one chunk."""
    return chunk("".join(map(_sse_item, items)).encode() or SSE_COMMENT)


def _sse_item(item: Item) -> str:
    if isinstance(item, Record):
        event = item.event
        if isinstance(event, Event):
            return f"id: {item.epoch}-{item.seq}\ndata: {event.json()}\n\n"
        return f"event: operation\nid: {item.epoch}-{item.seq}\ndata: {event.json()}\n\n"
    if isinstance(item, Live):
        return f"event: live\nid: {item.cursor}\ndata: {{}}\n\n"
    if isinstance(item, Final):
        return f"event: end\nid: {item.record.cursor}\ndata: {item.record.event.json()}\n\n"
    return f"event: gap\ndata: {_gap(item)}\n\n"


def documented(items: Sequence[Item]) -> list[str]:
    """The messages of the documented dialect: progress events, the six fields, and nothing else."""
    return [item.event.json() for item in items if isinstance(item, Record) and isinstance(item.event, Event)]


def documented_frames(items: Sequence[Item]) -> bytes:
    """The same as WebSocket frames."""
    return b"".join(map(frame, documented(items)))


def v2(items: Sequence[Item]) -> list[str]:
    """The messages of `wellnet.progress.v2`, one to one with the stream of all operations."""
    return [_kept(item, "v2", _v2_item).decode() for item in items]


def v2_frames(items: Sequence[Item]) -> bytes:
    """The same as WebSocket frames."""
    return b"".join([frame(_v2_item(item)) for item in items])


def frame(text: str) -> bytes:
    """A text message as a server's whole frame: final, not masked (RFC 6455 §5.2)."""
    message = text.encode()
    size = len(message)
    if size < 126:
        return b"\x81%c%b" % (size, message)
    if size < 65536:
        return b"\x81\x7e%b%b" % (size.to_bytes(2), message)
    return b"\x81\x7f%b%b" % (size.to_bytes(8), message)


def _kept(item: Item, key: str, encode: Callable[[Item], str]) -> bytes:
    if not isinstance(item, Record):
        return encode(item).encode()
    kept = item.encodings
    if kept is None:
        kept = item.encodings = {}
    made = kept.get(key)
    if made is None:
        made = kept[key] = encode(item).encode()
    return made


def _v2_item(item: Item) -> str:
    if isinstance(item, Live):
        return f'{{"event":"live","id":"{item.cursor}","data":{{}}}}'
    if isinstance(item, Gap):
        return f'{{"event":"gap","id":null,"data":{_gap(item)}}}'
    record = item.record if isinstance(item, Final) else item
    event = "progress" if isinstance(record.event, Event) else "operation"
    return f'{{"event":"{event}","id":"{record.epoch}-{record.seq}","data":{record.event.json()}}}'


def v2_close(reason: CloseReason) -> str:
    """The server closes the socket, told before the close frame."""
    return f'{{"event":"end","id":null,"data":{{"reason":"{reason.reason}"}}}}'


def v2_error(error: WellnetError) -> str:
    """What was wrong with a client's message."""
    return json.dumps(
        {"event": "error", "id": None, "data": {"code": error.code, "detail": error.detail}},
        ensure_ascii=False,
        separators=(",", ":"),
    )


def _gap(gap: Gap) -> str:
    cursors = {"earliest": gap.earliest, "latest": gap.latest}
    told = {name: None if cursor is None else str(cursor) for name, cursor in cursors.items()}
    return json.dumps({"requested": gap.requested, **told}, separators=(",", ":"))
