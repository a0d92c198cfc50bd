"""The listening socket, and what accepted ones inherit of it."""

import ctypes
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.harness import ServerProcess
from tests.server.inside import inside
from tests.server.peer import Peer, request
from tests.server.tiny import Tiny
from wellnet_sse.server.sockets import BACKLOG, SEND_BUFFER_BYTES, USER_TIMEOUT_MS

PIDFD_GETFD = 438
"""pidfd_getfd(2), which Python does not have."""


@contextmanager
def accepted(server: ServerProcess, peer: Peer) -> Iterator[socket.socket]:
    """The server's own end of the connection, out of its process."""
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    process = os.pidfd_open(server.pid)
    try:
        for link in Path(f"/proc/{server.pid}/fd").iterdir():
            number = syscall(PIDFD_GETFD, process, int(link.name), 0)
            if number < 0 or not str(link.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=number) as mine:
                if mine.family == socket.AF_INET and _peer_of(mine) == peer.socket.getsockname():
                    yield mine
                    return
    finally:
        os.close(process)
    raise AssertionError("it has no such connection")


def _peer_of(it: socket.socket) -> object:
    try:
        return it.getpeername()
    except OSError:
        return None  # it listens


def storm(server: ServerProcess, count: int, wanted: int) -> int:
    """How many of `count` connects succeed while the server accepts none; waits until so many as `wanted`."""
    server.signal(signal.SIGSTOP)
    try:
        with ExitStack() as stack:
            poll, connected = select.poll(), 0
            for _ in range(count):
                one = stack.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", server.port))
                poll.register(one, select.POLLOUT)
            deadline = time.monotonic() + 10
            while connected < wanted and time.monotonic() < deadline:
                for number, _ in poll.poll(100):
                    poll.unregister(number)
                    connected += 1
            return connected
    finally:
        server.signal(signal.SIGCONT)


def test_a_storm_of_connects_is_taken_at_once(ours: ServerProcess, stock: ServerProcess) -> None:
    assert storm(ours, 1000, 1000) == 1000
    assert storm(stock, 1000, 90) < 200, "with a backlog of 100 the others try again after a second"


def test_its_queue_is_as_long_as_the_kernel_allows() -> None:
    with inside(Tiny()) as server:  # which listens once more, with what the runner says

        def backlog(number: int) -> int:
            with socket.socket(fileno=os.dup(number)) as listener:
                info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            return int.from_bytes(info[28:32], "little")  # tcpi_sacked: of a listener its backlog

        numbers = [int(link.name) for link in Path("/proc/self/fd").iterdir() if _listens(link, server.port)]
        assert BACKLOG >= 4096
        somaxconn = int(Path("/proc/sys/net/core/somaxconn").read_text())
        assert [backlog(number) for number in numbers] == [min(BACKLOG, somaxconn)] * len(numbers)
        assert numbers


def _listens(link: Path, port: int) -> bool:
    if not link.is_symlink() or not str(link.readlink()).startswith("socket:"):
        return False
    with socket.socket(fileno=os.dup(int(link.name))) as it:
        is_tcp = it.family == socket.AF_INET and it.type == socket.SOCK_STREAM
        if not is_tcp or not it.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return False
        return bool(it.getsockname()[1] == port)


@pytest.mark.parametrize(
    ("level", "option", "expected"),
    [
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * SEND_BUFFER_BYTES),  # Linux doubles what it is told
    ],
)
def test_accepted_connections_inherit(
    ours: ServerProcess, stock: ServerProcess, level: int, option: int, expected: int
) -> None:
    found = []
    for server in (ours, stock):
        with Peer(server.port) as peer:
            peer.send(request("/")).answer()
            with accepted(server, peer) as connection:
                found.append(connection.getsockopt(level, option))
    assert found[0] == expected
    assert found[1] != expected
