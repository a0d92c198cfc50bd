"""Visitors that come and go in every phase of a connection, and somebody who publishes meanwhile."""

import contextlib
import http.client
import itertools
import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.server.peer import HANDSHAKE, TEXT, Peer, masked, request

BUSY, QUIET = 7, 8
"""Users: one about whom there is always news, and one with a history and no more."""

AT_A_TIME = 8
PAUSE_SECONDS = 0.01
"""Between news."""

PHASES = ("before the head", "in the head", "after the head", "in the replay", "live")
ENDS = ("fin", "reset", "half")
STREAMS = ("all", "one", "documented", "v2", "post")

_numbers = itertools.count()


def asked(kind: str, user: int, number: int) -> bytes:
    """The request for a stream of this kind."""
    match kind:
        case "all":
            return request(f"/sse/progress?userId={user}&lastEventId=foreign-1")  # so that there is a replay
        case "one":
            return request(f"/sse/operations/op?userId={user}")
        case "post":
            body = b'{"id_conexion": %d}' % (number % 60)
            return (
                request(
                    "/api/conexiones/eliminar",
                    method="POST",
                    X_User_ID=str(user),
                    X_Operation_ID=f"visit-{number}",
                    Accept="text/event-stream",
                    Content_Type="application/json",
                    Content_Length=str(len(body)),
                )
                + body
            )
        case _:
            protocol = {"Sec-WebSocket-Protocol": "wellnet.progress.v2"} if kind == "v2" else {}
            return request(f"/ws/progress?userId={user}&lastEventId=foreign-1", **HANDSHAKE, **protocol)


def visit(port: int, seed: int) -> None:
    """Come, see so much, and go."""
    chance = random.Random(seed)  # noqa: S311 - no secret, but the same each time
    phase, end, kind = chance.choice(PHASES), chance.choice(ENDS), chance.choice(STREAMS)
    user, number = chance.choice((BUSY, QUIET)), next(_numbers)
    ask = asked(kind, user, number)
    with contextlib.suppress(ConnectionError, EOFError), Peer(port, receive_buffer_bytes=8192) as peer:
        if phase == "in the head":
            peer.send(ask[: chance.randrange(len(ask))])
        elif phase != "before the head":
            peer.send(ask)
            _look(peer, kind, phase, user, chance)
        if end == "reset":
            peer.reset()
        elif end == "half":
            peer.socket.shutdown(1)


def _look(peer: Peer, kind: str, phase: str, user: int, chance: random.Random) -> None:
    if phase == "after the head":
        return
    head = peer.head()
    if head.status not in {101, 200}:
        return
    if phase == "in the replay":
        peer.take(chance.randrange(1, 60))
    elif kind == "post":
        peer.until(b"event: end")
    elif kind == "v2":
        peer.until(b'{"event":"live"')
    elif kind == "documented":
        peer.send(masked(TEXT, b'{"type":"stop_operation","operation_id":"nothing"}'))
    else:
        peer.until(b"event: live")
        if user == BUSY:
            peer.take(chance.randrange(40, 1000))


def churn(port: int, count: int, *, seed: int) -> None:
    """So many visits, several at a time."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for _ in pool.map(lambda number: visit(port, seed + number), range(count)):
            pass


@contextmanager
def news(port: int) -> Iterator[None]:
    """Give both users a history, and publish for the busy one until the block ends."""
    enough = threading.Event()
    publishing = Publisher(port)
    for user in (BUSY, QUIET):
        for number in range(100):
            publishing.publish(user, f"op-{number % 20}", "x" * 200)
            publishing.publish(user, "op", "x")

    def publish() -> None:
        while not enough.wait(PAUSE_SECONDS):
            publishing.publish(BUSY, "op", "x" * 500)

    thread = threading.Thread(target=publish, name="publisher")
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()
        publishing.close()


class Publisher:
    """Publishes as another backend does, over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def publish(self, user: int, operation_id: str, message: str, *, status: str = "in_progress") -> str:
        """Publish a step; return its cursor."""
        body = json.dumps({"status": status, "message": message, "progress": None})
        self._connection.request(
            "POST",
            f"/api/operaciones/{operation_id}/pasos/copy",
            body,
            {"X-User-ID": str(user), "Content-Type": "application/json"},
        )
        answer = self._connection.getresponse()
        told = json.loads(answer.read())
        assert answer.status == 201, told
        return str(told["cursor"])

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
