"""Readers: one socket each, from its connect to the bytes of its stream."""

import base64
import os
import re
import socket
from typing import Protocol

from bench.load.counting import SSE_LAST, WEBSOCKET_LAST, MarkerCounter, StampReader

WITNESS_BYTES = 512 * 1024
PONG = bytes([0x8A, 0x80, 1, 2, 3, 4])
"""Masked and empty. Sent unasked now and then (RFC 6455 §5.5.3), so that pings need not be looked for."""

LIVE = re.compile(rb"event: ?live\r?\nid: ?([^\r\n]+)\r?\n")
GET = (
    "GET /sse/progress?userId={user} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    "Accept: text/event-stream\r\n{cursor}\r\n"
)
UPGRADE = (
    "GET /ws/progress?userId={user} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
)


class Pollable(Protocol):
    """Whatever has a place in the client's loop."""

    def fileno(self) -> int:
        """Its descriptor."""

    def ready(self, mask: int) -> None:
        """It can be read, or written, or was closed."""


class Reader:
    """A stream: it connects, checks the head, and then counts.

    A `sampled` one also reads the moments that its events carry, and the
    `witness` keeps its first bytes to be parsed at the end.
    """

    __slots__ = (
        "chunked", "counter", "cursor", "failed", "head", "live_at", "raw", "sampled", "socket", "stalled",
        "stamps", "started_at", "user", "websocket", "witness",
    )  # fmt: skip

    def __init__(self, user: int, *, websocket: bool) -> None:
        self.user = user
        self.websocket = websocket
        self.counter = MarkerCounter(WEBSOCKET_LAST if websocket else SSE_LAST)
        self.stamps = StampReader()
        self.sampled = self.witness = self.stalled = self.chunked = False
        self.raw = bytearray()
        self.head: bytearray | None = bytearray()
        """What came of the head so far; None once it is whole."""
        self.cursor: str | None = None
        self.failed = ""
        self.live_at = self.started_at = 0
        self.socket: socket.socket | None = None

    def fileno(self) -> int:
        """Its descriptor; -1 before it connects and after it is closed."""
        return -1 if self.socket is None else self.socket.fileno()

    def connect(self, port: int) -> None:
        """Begin to connect; the request is sent when the socket can be written."""
        self.head, self.raw, self.failed, self.live_at = bytearray(), bytearray(), "", 0
        self.counter.tail, self.stamps = b"", StampReader()
        self.socket = socket.socket()
        self.socket.setblocking(False)
        if self.stalled:
            # A reader that stops reading is felt soon: its own kernel takes little for it.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect_ex(("127.0.0.1", port))

    def send_request(self, port: int) -> None:
        """Ask for the stream, from where it left off if it has a cursor."""
        assert self.socket is not None
        if self.websocket:
            key = base64.b64encode(os.urandom(16)).decode()
            request = UPGRADE.format(user=self.user, port=port, key=key)
        else:
            cursor = f"Last-Event-ID: {self.cursor}\r\n" if self.cursor else ""
            request = GET.format(user=self.user, port=port, cursor=cursor)
        self.socket.send(request.encode())

    def take_head(self, data: bytes) -> bytes | None:
        """Add to the head: what follows it, once it is whole. A refusal is kept in `failed`."""
        assert self.head is not None
        self.head += data
        end = self.head.find(b"\r\n\r\n")
        if end < 0:
            return None
        head, rest = bytes(self.head[:end]).lower(), bytes(self.head[end + 4 :])
        status = head.split(b"\r\n")[0].split(b" ")[1]
        if status != (b"101" if self.websocket else b"200"):
            self.failed = f"refused: {head.splitlines()[0].decode()}"
        if b"content-encoding" in head or b"sec-websocket-extensions" in head:
            self.failed = "it compresses"
        self.chunked = b"transfer-encoding: chunked" in head
        self.head = None
        return rest

    def keep(self, data: bytes) -> None:
        """Keep the first bytes, for the witness."""
        if len(self.raw) < WITNESS_BYTES:
            self.raw += data

    def pong(self) -> None:
        """Say that it is there."""
        if self.websocket and self.socket is not None and self.head is None:
            self.socket.send(PONG)

    def close(self) -> None:
        """Close the socket, as a closed tab does."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None
