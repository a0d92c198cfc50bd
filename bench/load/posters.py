"""`mixed`: so many operations in flight, each begun by a POST of the documented kind."""

import json
import re
import socket
import time
from collections import deque
from itertools import count

from bench.load.client import Client
from bench.load.counting import percentile
from bench.load.readers import Reader
from bench.load.spec import Report, Spec

ENDING = re.compile(rb'"operation_id":"(bench-\d+)","outcome":"(\w+)"')
ENDING_BYTES = 80
"""As long as what ENDING matches, or longer."""

POST = (
    "POST /api/conexiones/eliminar HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-User-ID: {user}\r\n"
    "X-Operation-ID: {operation}\r\nContent-Type: application/json\r\nPrefer: respond-async\r\n"
    "Content-Length: {length}\r\n\r\n{body}"
)
RAMP_SECONDS = 4.0


class _Poster:
    """One operation after another, each over a connection of its own: the work outlasts a keep-alive."""

    def __init__(self, posters: "Posters", client: Client) -> None:
        self._posters = posters
        self._client = client
        self._socket: socket.socket | None = None
        self._answer = b""
        self._began_ns = 0

    def fileno(self) -> int:
        """Its descriptor."""
        return -1 if self._socket is None else self._socket.fileno()

    def post(self) -> None:
        """Begin the next operation."""
        self._answer, self._began_ns = b"", time.monotonic_ns()
        self._socket = socket.create_connection(("127.0.0.1", self._posters.port))
        self._socket.setblocking(False)
        self._socket.send(self._posters.request(self))
        self._client.add(self)

    def ready(self, _mask: int) -> None:
        """Take the answer."""
        assert self._socket is not None
        try:
            data = self._socket.recv(65536)
        except OSError:
            data = b""
        self._answer += data
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if not data or (separator and len(body) >= int(length or b"0")):
            self._client.remove(self)
            self._socket.close()
            self._posters.answered(head, time.monotonic_ns() - self._began_ns)


class Posters:
    """Keeps `in_flight` operations going: the next begins when the ending of one is read."""

    def __init__(self, client: Client, spec: Spec) -> None:
        self.port = spec.port
        self._client = client
        self._users = spec.users
        self._numbers = count(1)
        self._posters = [_Poster(self, client) for _ in range(spec.in_flight)]
        self._running: dict[bytes, tuple[_Poster, int]] = {}
        self._waiting = deque(self._posters)
        self._post_ns: list[int] = []
        self._work_ns: list[int] = []
        self._refusals: list[str] = []
        self._failures: list[str] = []
        self._tails: dict[int, bytes] = {}
        self._finished = False

    def begin(self) -> None:
        """Begin them, spread over a few seconds so that they do not march in step."""
        self._client.on_data = self._see
        self._client.every.append((RAMP_SECONDS / len(self._posters), self._ramp))

    def request(self, poster: _Poster) -> bytes:
        """The next operation's POST: the next connection, for the next user."""
        number = next(self._numbers)
        operation = f"bench-{number}"
        self._running[operation.encode()] = (poster, time.monotonic_ns())
        body = json.dumps({"id_conexion": number})
        return POST.format(
            port=self.port, user=1 + number % self._users, operation=operation, length=len(body), body=body
        ).encode()

    def answered(self, head: bytes, took_ns: int) -> None:
        """Note an answer."""
        if b" 202 " not in head.split(b"\r\n")[0]:
            self._refusals.append(head.split(b"\r\n")[0].decode() or "no answer")
        if self._client.measuring:
            self._post_ns.append(took_ns)

    def finish(self, report: Report) -> None:
        """Begin no more, wait until none runs, and report."""
        self._finished = True
        deadline = time.monotonic() + 60
        while self._running and time.monotonic() < deadline:
            self._client.turn(0.1)
        report.ended += sorted({*self._refusals, *self._failures})
        report.extra |= {
            "post_p50_ms": percentile(sorted(self._post_ns), 0.50) / 1e6,
            "post_p99_ms": percentile(sorted(self._post_ns), 0.99) / 1e6,
            "posts": len(self._post_ns),
            "posts_refused": len(self._refusals),
            "operations_failed": len(self._failures),
            "work_p50_ms": percentile(sorted(self._work_ns), 0.50) / 1e6,
            "operations_without_ending": len(self._running),
        }

    def _ramp(self) -> None:
        if self._waiting and not self._finished:
            self._waiting.popleft().post()

    def _see(self, reader: Reader, data: bytes) -> None:
        if reader.websocket:
            return  # the documented socket tells nothing of endings
        data = self._tails.get(reader.user, b"") + data
        self._tails[reader.user] = data[-ENDING_BYTES:]
        for operation, outcome in ENDING.findall(data):
            poster, began_ns = self._running.pop(operation, (None, 0))
            if poster is None:
                continue  # it was still in the tail
            if outcome != b"completed":
                self._failures.append(f"an operation ended as {outcome.decode()}")
            self._work_ns.append(time.monotonic_ns() - began_ns)
            if not self._finished:
                poster.post()
