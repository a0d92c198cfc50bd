"""A bad network on the loopback: a TCP proxy that cuts, delays, splits and stalls, by a seed."""

import asyncio
from collections import Counter, deque
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Self

TICK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Faults:
    """How bad the network is."""

    cut_per_second: float = 0.1
    """The part of all connections that is cut in a second."""
    stall_per_second: float = 0.02
    """The part that stops carrying anything, for `stall_seconds`."""
    stall_seconds: tuple[float, float] = (0.5, 5.0)
    delay_share: float = 0.1
    """The part of what is carried that comes late, by `delay_seconds`; what follows waits behind it."""
    delay_seconds: tuple[float, float] = (0.001, 0.1)
    split_share: float = 0.02
    """The part of what is carried of which up to `split_bytes` come one by one."""
    split_bytes: int = 48


CALM = Faults(cut_per_second=0, stall_per_second=0, delay_share=0, split_share=0)


class Side(asyncio.Protocol):
    """One end of a connection: what it reads goes to its peer, in order, as the faults will have it."""

    def __init__(self, proxy: "FaultProxy") -> None:
        self._proxy = proxy
        self._queue: deque[tuple[bytes, float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._ends = False
        self._stalled = False
        self.peer: Side | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready to write."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Carry it over."""
        self._queue.extend(self._proxy.pieces(data))
        if self._timer is None:
            self._carry()

    def eof_received(self) -> bool:
        """The end comes after what was sent before it."""
        self._end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The same, or at once where it was cut."""
        self.transport = None
        if exc is not None:
            self.abort()
        self._end()

    def pause_writing(self) -> None:
        """The reader is slow: so is the writer, from now on."""
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.resume_reading()

    def stall(self, seconds: float) -> None:
        """Carry nothing for so long."""
        self._stalled = True
        asyncio.get_running_loop().call_later(seconds, self._unstall)

    def abort(self) -> None:
        """End both sides, whatever still waits."""
        for side in (self, self.peer):
            if side is not None:
                side.drop()

    def drop(self) -> None:
        """End this side, and carry nothing more."""
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self.transport is not None:
            self.transport.abort()

    def _unstall(self) -> None:
        self._stalled = False
        self.go_on()

    def go_on(self) -> None:
        """Carry what waits, if nothing is in the way any more."""
        if self._timer is None:
            self._carry()

    def _carry(self) -> None:
        self._timer = None
        while self._queue and not self._stalled and not self._proxy.dark:
            data, late_seconds = self._queue[0]
            if late_seconds:
                self._queue[0] = (data, 0.0)
                self._timer = asyncio.get_running_loop().call_later(late_seconds, self._carry)
                return
            self._queue.popleft()
            transport = None if self.peer is None else self.peer.transport
            if transport is not None and not transport.is_closing():
                transport.write(data)
        if self._ends and not self._queue:
            self._end()

    def _end(self) -> None:
        self._ends = True
        if not self._queue and self.peer is not None and self.peer.transport is not None:
            self.peer.transport.close()


class _Front(Side):
    """The end that a client has connected to; nothing is read from it before there is another."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.pause_reading()
        self._proxy.spawn(self._proxy.link(self))


class FaultProxy:
    """Listens on a port of the loopback and carries each connection to `upstream_port`.

    `faults` may be changed while it runs; connections that are stalled come back by themselves.
    """

    def __init__(self, upstream_port: int, *, seed: int, faults: Faults) -> None:
        self.faults = faults
        self.counts: Counter[str] = Counter()
        self.port = 0
        self.dark = False
        self._upstream_port = upstream_port
        self._random = Random(seed)  # noqa: S311 - seeded, so that a run can be repeated
        self._links: dict[Side, None] = {}  # in the order of their coming, for the seed's sake
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Front(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.spawn(self._disturb())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for side in list(self._links):
            side.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Carry nothing in the block, neither way; connections are accepted and stay."""
        self.dark = True
        try:
            yield
        finally:
            self.dark = False
            for side in list(self._links):
                side.go_on()
                if side.peer is not None:
                    side.peer.go_on()

    def pieces(self, data: bytes) -> list[tuple[bytes, float]]:
        """What is carried at once, and how late each of it comes."""
        faults, pieces = self.faults, [(data, 0.0)]
        if self._random.random() < faults.split_share:
            self.counts["split"] += 1
            size = faults.split_bytes
            pieces = [(data[n : n + 1], 0.001) for n in range(min(size, len(data)))]
            pieces += [(data[size:], 0.001)] if len(data) > size else []
        if self._random.random() < faults.delay_share:
            self.counts["delayed"] += 1
            pieces[0] = (pieces[0][0], self._random.uniform(*faults.delay_seconds))
        return pieces

    async def link(self, side: Side) -> None:
        """Connect a client to the server, as soon as there is one."""
        peer = Side(self)
        peer.peer = side
        self.counts["connections"] += 1
        try:
            await asyncio.get_running_loop().create_connection(lambda: peer, "127.0.0.1", self._upstream_port)
        except OSError:
            self.counts["refused"] += 1
            side.drop()
            return
        if side.transport is None:  # it did not wait
            peer.drop()
            return
        self._links[side] = None
        side.peer = peer
        side.transport.resume_reading()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it beside the others, to its end or the proxy's."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _disturb(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for side in list(self._links):
                if side.transport is not None:
                    self._meet(side)
                elif side.peer is None or side.peer.transport is None:
                    del self._links[side]

    def _meet(self, side: Side) -> None:
        faults = self.faults
        if self._random.random() < faults.cut_per_second * TICK_SECONDS:
            self.counts["cut"] += 1
            side.abort()
        elif self._random.random() < faults.stall_per_second * TICK_SECONDS:
            self.counts["stalled"] += 1
            seconds = self._random.uniform(*faults.stall_seconds)
            for end in (side, side.peer):
                if end is not None:
                    end.stall(seconds)
