"""The client's loop: thousands of raw sockets in one epoll, read into one buffer."""

import errno
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterable
from itertools import islice

from bench.load.readers import LIVE, Pollable, Reader

BUFFER_BYTES = 1024 * 1024
PONG_SECONDS = 15.0
SOCKETS_A_TURN = 1024
REST_SECONDS = 0.0003
"""Between two looks at the sockets, so that one look finds many: a wake-up for each event would cost more
than reading it. It adds as much to every server's latency, and half of it to the median."""
OPENING_AT_ONCE = 200
OPEN_SECONDS = 120.0


class Client:
    """Reads streams and counts their events in `total`."""

    def __init__(self, port: int) -> None:
        self.total = 0
        self.measuring = False
        """Whether latencies are noted."""
        self.latencies_ns: list[int] = []
        self.lost_readers: list[str] = []
        """Why streams ended, where they should not have."""
        self.opening: set[Reader] = set()
        self.on_data: Callable[[Reader, bytes], None] | None = None
        """Sees what sampled readers receive."""
        self.every: list[tuple[float, Callable[[], None]]] = [(PONG_SECONDS, self._pong)]
        self.wait_live = False
        """Whether a reader is open only when it was told that it is live."""
        self._port = port
        self._epoll = select.epoll()
        self._buffer = bytearray(BUFFER_BYTES)
        self._readers: dict[int, Reader] = {}
        self._others: dict[int, Pollable] = {}
        self._next: dict[int, float] = {}

    def add(self, other: Pollable, events: int = select.EPOLLIN) -> None:
        """Have something else polled."""
        self._others[other.fileno()] = other
        self._epoll.register(other.fileno(), events)

    def remove(self, other: Pollable) -> None:
        """Poll it no more; to be called before it is closed."""
        del self._others[other.fileno()]
        self._epoll.unregister(other.fileno())

    def open(self, readers: Iterable[Reader], *, at_once: int = OPENING_AT_ONCE) -> float:
        """Connect readers, so many at once, until all are open; how many seconds it took.

        Those that are not open after two minutes are given up, as `lost_readers`.
        """
        began = time.monotonic()
        waiting = iter(readers)
        while True:
            for reader in islice(waiting, at_once - len(self.opening)):
                self.start(reader)
            if not self.opening:
                return time.monotonic() - began
            if time.monotonic() - began > OPEN_SECONDS:
                for reader in list(self.opening):
                    self._ended(reader, f"not open after {OPEN_SECONDS:.0f} s")
            self.turn(0.1)

    def start(self, reader: Reader) -> None:
        """Begin to connect one reader."""
        reader.started_at = time.monotonic_ns()
        reader.connect(self._port)
        self.opening.add(reader)
        self._readers[reader.fileno()] = reader
        self._epoll.register(reader.fileno(), select.EPOLLOUT)

    def close(self, reader: Reader) -> None:
        """Leave, as a closed tab does."""
        self.opening.discard(reader)
        if self._readers.pop(reader.fileno(), None) is not None:
            self._epoll.unregister(reader.fileno())
        reader.close()

    def run_until(self, at_ns: int) -> None:
        """Read until that moment."""
        while (left_ns := at_ns - time.monotonic_ns()) > 0:
            self.turn(min(0.1, left_ns / 1e9))

    def turn(self, timeout_seconds: float) -> None:
        """Read once whatever can be read."""
        readers, buffer = self._readers, self._buffer
        for fd, mask in self._epoll.poll(timeout_seconds, SOCKETS_A_TURN):
            reader = readers.get(fd)
            if reader is None:
                self._others[fd].ready(mask)
                continue
            if reader.head is not None or reader.stalled:
                self._greet(reader, mask)
                continue
            try:
                size = reader.socket.recv_into(buffer)  # type: ignore[union-attr]  # registered, so open
            except BlockingIOError:
                continue
            except OSError as error:
                self._ended(reader, errno.errorcode.get(error.errno or 0, "?"))
                continue
            if not size:
                self._ended(reader, "end of stream")
            elif reader.sampled or reader in self.opening:
                self._look_at(reader, bytes(memoryview(buffer)[:size]))
            else:
                self.total += reader.counter.count(buffer, size)
        self._do_what_is_due()
        time.sleep(REST_SECONDS)

    def _look_at(self, reader: Reader, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        stamps = reader.stamps.stamps(data)
        self.total += len(stamps)
        if self.measuring:
            self.latencies_ns += [now_ns - stamp for stamp in stamps]
        if self.on_data is not None:
            self.on_data(reader, data)
        if reader.witness:
            reader.keep(data)
        if reader in self.opening:
            reader.raw += data
            if live := LIVE.search(reader.raw):
                reader.cursor = live[1].decode()
                reader.live_at = now_ns
                self.opening.discard(reader)
                reader.raw.clear()

    def _greet(self, reader: Reader, mask: int) -> None:
        """Go on with a reader that is not open yet, or notice the end of a stalled one."""
        if reader.stalled and reader.head is None:
            self.close(reader)
            return
        sock = reader.socket
        assert sock is not None
        if mask & select.EPOLLOUT:
            if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._ended(reader, f"connect: {errno.errorcode.get(error, '?')}")
                return
            reader.send_request(self._port)
            self._epoll.modify(sock, select.EPOLLIN)
            return
        try:
            data = sock.recv(65536)
        except OSError as error:
            self._ended(reader, f"head: {errno.errorcode.get(error.errno or 0, '?')}")
            return
        if not data:
            self._ended(reader, "end of stream in the head")
            return
        rest = reader.take_head(data)
        if reader.failed:
            self._ended(reader, reader.failed)
        elif rest is not None:
            self._opened(reader, rest)

    def _opened(self, reader: Reader, rest: bytes) -> None:
        if reader.stalled:
            self.opening.discard(reader)
            self._epoll.modify(reader.fileno(), 0)  # it reads no more; only its end is told
        elif self.wait_live:
            self._look_at(reader, rest)
        else:
            reader.live_at = time.monotonic_ns()
            self.opening.discard(reader)
            if rest and reader.sampled:
                self._look_at(reader, rest)
            elif rest:
                buffer = bytearray(rest)
                self.total += reader.counter.count(buffer, len(buffer))

    def _ended(self, reader: Reader, why: str) -> None:
        self.lost_readers.append(why)
        self.close(reader)

    def _pong(self) -> None:
        for reader in self._readers.values():
            reader.pong()

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        for number, (seconds, work) in enumerate(self.every):
            due = self._next.setdefault(number, now + seconds)
            if now >= due:
                self._next[number] = now + seconds
                work()


class Orders:
    """The harness's lines on stdin, within the loop."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._rest = b""

    def fileno(self) -> int:
        """Stdin."""
        return sys.stdin.fileno()

    def ready(self, _mask: int) -> None:
        """Read what came."""
        data = os.read(self.fileno(), 65536)
        if not data:
            raise SystemExit("the harness is gone")
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.lines += [line.decode() for line in lines]
