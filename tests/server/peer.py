"""A peer over a raw socket, which sends what it is told to, reads when it is told to, and parses strictly."""

import socket
import struct
from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple, Never, Self

WAIT_SECONDS = 10.0
QUIET_SECONDS = 0.3
"""How long nothing must come, where nothing more is to come."""

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Head(NamedTuple):
    """The head of an answer."""

    version: str
    status: int
    headers: dict[str, str]


class Frame(NamedTuple):
    """A frame of a server: not masked, and here never fragmented."""

    opcode: int
    payload: bytes

    @property
    def code(self) -> int:
        """The code of a close frame."""
        assert self.opcode == CLOSE, self
        return int.from_bytes(self.payload[:2])


def request(path: str, *, method: str = "GET", version: str = "1.1", **headers: str) -> bytes:
    """A request without a body; headers as in `Last_Event_ID="…"`."""
    lines = [f"{method} {path} HTTP/{version}", "Host: 127.0.0.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def masked(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A client's frame; its mask is zero, which is one."""
    first, size = (0x80 if final else 0) | opcode, len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65536:
        length = b"\xfe" + size.to_bytes(2)
    else:
        length = b"\xff" + size.to_bytes(8)
    return bytes([first]) + length + bytes(4) + payload


def closing(code: int) -> bytes:
    """A client's close frame."""
    return masked(CLOSE, code.to_bytes(2))


class Peer:
    """A connection to a server on the loopback; every read has a deadline."""

    def __init__(self, port: int, *, receive_buffer_bytes: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.settimeout(WAIT_SECONDS)
        self.socket.connect(("127.0.0.1", port))
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, *pieces: bytes) -> Self:
        """Send these bytes."""
        self.socket.sendall(b"".join(pieces))
        return self

    def send_until_refused(self, data: bytes) -> Never:
        """Send it again and again; OSError tells when it does not go out any more."""
        while True:
            self.send(data)

    def reset(self) -> None:
        """Close with RST, as a crashed process or a router does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def upgrade(self, path: str = "/echo", **headers: str) -> Head:
        """Open a WebSocket."""
        self.send(request(path, **{**HANDSHAKE, **headers}))
        head = self.head()
        assert head.status == 101, head
        return head

    # What is read

    def take(self, count: int) -> bytes:
        """The next bytes; EOFError where it ends before."""
        while len(self._unread) < count:
            self._more()
        taken, self._unread = self._unread[:count], self._unread[count:]
        return taken

    def until(self, mark: bytes) -> bytes:
        """What comes up to and with `mark`."""
        while mark not in self._unread:
            self._more()
        return self.take(self._unread.index(mark) + len(mark))

    def rest(self) -> bytes:
        """What comes up to the end of the connection, which is not reset."""
        try:
            while True:
                self._more()
        except EOFError:
            return self.take(len(self._unread))

    def ended(self) -> bool:
        """Read on to the end, however it comes; whether nothing came before it."""
        try:
            return not self.rest()
        except ConnectionError:
            return not self._unread

    def says_no_more(self) -> bool:
        """Whether the connection stays open, and nothing comes for a while."""
        self.socket.settimeout(QUIET_SECONDS)
        try:
            self._more()
        except TimeoutError:
            return not self._unread
        except (EOFError, ConnectionError):
            pass
        return False

    def head(self) -> Head:
        """The head of the next answer."""
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")[:-2]
        version, status = first.split(" ")[:2]
        pairs = (line.partition(": ") for line in lines)
        return Head(version, int(status), {name.lower(): value for name, _, value in pairs})

    def answer(self) -> tuple[Head, bytes]:
        """The next answer, which says how long it is."""
        head = self.head()
        return head, self.take(int(head.headers["content-length"]))

    def chunk(self) -> bytes:
        """The next chunk of an HTTP/1.1 body; empty at its end."""
        line = self.until(b"\r\n")[:-2]
        assert line.isalnum(), line
        body = self.take(int(line, 16))
        assert self.take(2) == b"\r\n"
        return body

    def chunked(self, mark: bytes) -> bytes:
        """The body up to the chunk that ends with `mark`."""
        body = b""
        while not body.endswith(mark):
            piece = self.chunk()
            assert piece, body[-200:]
            body += piece
        return body

    def frame(self) -> Frame:
        """The next frame (RFC 6455 §5.2)."""
        first, second = self.take(2)
        assert first & 0xF0 == 0x80, f"fragmented or with a reserved bit: {first:x}"
        assert second < 0x80, "masked"
        size, least = second, 0
        if second == 126:
            size, least = int.from_bytes(self.take(2)), 126
        elif second == 127:
            size, least = int.from_bytes(self.take(8)), 65536
        assert size >= least, "not the shortest length"
        return Frame(first & 0x0F, self.take(size))

    def frames(self, count: int) -> Iterable[Frame]:
        """The next frames."""
        return [self.frame() for _ in range(count)]

    def _more(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError(f"ended after {self._unread[-200:]!r}")
        self._unread += data
