"""Several processes on one address: started, replaced one after another, started again, stopped together.

Each has a listening socket of its own in one SO_REUSEPORT group, so the system spreads connections evenly;
but all of them belong to the supervisor, which makes them first and closes them last. So the connections that
wait in the queue of a process that leaves are not reset: the one that comes in its place finds them there.
The socket of one that died leaves the group until another listens on it: newcomers go to the others.
A single socket for all would need none of this, but whoever is woken first takes all that wait on it, and
streams stay where they are.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from urllib.parse import urlsplit

from wellnet_sse.errors import ConfigurationError
from wellnet_sse.server import sockets
from wellnet_sse.server.notify import notify
from wellnet_sse.server.place import LEAVE
from wellnet_sse.server.runner import first_of, restart_requested, stop_requested
from wellnet_sse.settings import Settings, split_bind

log = logging.getLogger(__name__)

MAX_PROCESSES = 64

READY_SECONDS = 60.0
"""How long a replacement may take to serve; the one before it goes on until then."""

FIRST_PAUSE_SECONDS = 0.1
LAST_PAUSE_SECONDS = 5.0
"""The longest wait before one is started again that died before it served."""
MARGIN_SECONDS = 5.0
"""How much longer than the grace of its work a process may take to end."""


class _Child:
    """A process, from its start to its end."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.pid = process.pid
        self.ready = asyncio.Event()
        self.leaving = asyncio.Event()
        self.ended = asyncio.Event()
        self._watching = asyncio.get_running_loop().create_task(self._watch(), name=f"process {self.pid}")

    async def _watch(self) -> None:
        if self._process.stdout is not None:
            async for said in self._process.stdout:
                if said == b"READY=1\n":
                    self.ready.set()
        await self._process.wait()
        self.ended.set()

    @property
    def serves(self) -> bool:
        """Whether it has said that it does, and has not ended since."""
        return self.ready.is_set() and not self.ended.is_set()

    @property
    def failed(self) -> bool:
        """Whether it ended, but not as it should; who has only just begun is ended by the signal itself."""
        return self._process.returncode not in {None, 0, -signal.SIGTERM}

    def leave(self) -> None:
        """Another serves in its place: it takes no more connections, and ends when it is done."""
        self.leaving.set()
        if self._process.stdin is not None and not self.ended.is_set():
            self._process.stdin.write(LEAVE)

    def signal(self, number: signal.Signals) -> None:
        """Send it, if it still runs."""
        if self._process.returncode is None:
            self._process.send_signal(number)


class _Place:
    """Listening sockets, and the process that serves there; for a while the one before it, too."""

    def __init__(
        self, listeners: Sequence[socket.socket], *, end_seconds: float, stop: asyncio.Event
    ) -> None:
        self._listeners = listeners
        self._end_seconds = end_seconds
        self._stop = stop
        self._starting = asyncio.Lock()
        self._serving: _Child | None = None
        self._children: list[_Child] = []
        """All that may still run."""

    async def open(self) -> bool:
        """Have somebody serve there for the first time; False where that fails."""
        child = self._serving = await self._start()
        if child is not None:
            await first_of(child.ready, child.ended, self._stop)
        return child is not None and child.serves

    async def keep(self) -> None:
        """Have somebody serve there until `stop`, whoever dies."""
        pause = FIRST_PAUSE_SECONDS
        while (child := self._serving) is not None and not self._stop.is_set():
            await first_of(child.ended, child.leaving, self._stop)
            if child.leaving.is_set() or self._stop.is_set():
                continue
            if child.ready.is_set():
                pause = FIRST_PAUSE_SECONDS
            log.error("process_died", extra={"pid": child.pid, "again_in_seconds": pause})
            async with self._starting:
                if self._serving is child:
                    self._turn_away()
            await first_of(self._stop, seconds=pause)
            pause = min(pause * 2, LAST_PAUSE_SECONDS)
            async with self._starting:
                if self._serving is child and not self._stop.is_set():
                    self._serving = await self._start() or child

    async def replace(self) -> bool:
        """Start another there, and when it serves let the one before it leave; False where it does not."""
        async with self._starting:
            before, child = self._serving, await self._start()
            if before is None or child is None:
                return False
            await first_of(child.ready, child.ended, self._stop, seconds=READY_SECONDS)
            if self._stop.is_set():
                return False
            if not child.serves:
                log.error("replacement_failed", extra={"pid": child.pid})
                child.signal(signal.SIGKILL)
                return False
            self._serving = child
            before.leave()
        log.info("process_replaced", extra={"pid": before.pid, "by": child.pid})
        await first_of(before.ended, self._stop, seconds=self._end_seconds)
        if not self._stop.is_set():
            before.signal(signal.SIGKILL)  # ended already, it gets none
        return True

    async def close(self) -> bool:
        """End whoever runs there; False where one did not end well."""
        running = [child for child in self._children if not child.ended.is_set()]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for child in running:
                child.signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._end_seconds):
                    for child in running:
                        await child.ended.wait()
        return not any(child.failed for child in running)

    def _turn_away(self) -> None:
        """Nobody serves here: have newcomers go to the others, until a process listens here again."""
        for listener in self._listeners:
            # Once: what is shut down again stays so, and with it all connections that it will ever accept.
            if listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                listener.shutdown(socket.SHUT_RDWR)

    async def _start(self) -> _Child | None:
        """Start this program's own command line, with what it inherits; None where the system has no room."""
        descriptors = [it.fileno() for it in self._listeners]
        inherited = ",".join(map(str, descriptors))
        command = [sys.executable, *sys.orig_argv[1:], "--inherited", inherited]
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, pass_fds=descriptors
            )
        except OSError:
            log.exception("process_not_started")
            return None
        self._children = [child for child in self._children if not child.ended.is_set()]
        self._children.append(_Child(process))
        return self._children[-1]


async def keep_serving(
    listeners: Sequence[Sequence[socket.socket]],
    *,
    grace_seconds: float,
    stop: asyncio.Event,
    restart: asyncio.Event,
) -> int:
    """Keep a process running for each group of `listeners`, until `stop`; `restart` has them replaced.

    `grace_seconds`: how long the work of one may go on when it is to end. Gives the exit code: 1 where one
    did not come to serve at first, or did not end well at last.
    """
    end_seconds = grace_seconds + MARGIN_SECONDS
    places = [_Place(group, end_seconds=end_seconds, stop=stop) for group in listeners]
    try:
        is_up = all(await asyncio.gather(*(place.open() for place in places)))
        if is_up:
            notify("READY=1")
            log.info("processes_ready", extra={"processes": len(places)})
            async with asyncio.TaskGroup() as tasks:
                for place in places:
                    tasks.create_task(place.keep())
                tasks.create_task(_replace_whenever(restart, places, stop))
    finally:
        notify("STOPPING=1")
        stop.set()
        ended_well = all(await asyncio.gather(*(place.close() for place in places)))
    return 0 if is_up and ended_well else 1


async def _replace_whenever(restart: asyncio.Event, places: Sequence[_Place], stop: asyncio.Event) -> None:
    while not stop.is_set():
        await first_of(restart, stop)
        restart.clear()
        for place in places:
            if stop.is_set() or not await place.replace():
                break


async def supervise(settings: Settings, count: int) -> int:
    """Serve with so many processes until SIGTERM or SIGINT, and give the exit code; SIGHUP replaces them.

    Raises ConfigurationError where they would have nothing in common, or the address cannot be had.
    """
    _check_shared(settings)
    listeners = [[it] for it in sockets.listen_together(*split_bind(settings.bind or ""), count)]
    if settings.metrics_bind is not None:
        host, port = split_bind(settings.metrics_bind)
        for place, group in enumerate(listeners):
            group.append(sockets.listen(host, port + place if port else 0, setting="WELLNET_METRICS_BIND"))
    return await keep_serving(
        listeners, grace_seconds=settings.grace_seconds, stop=stop_requested(), restart=restart_requested()
    )


def _check_shared(settings: Settings) -> None:
    scheme = settings.broker_url.get_secret_value().partition(":")[0]
    if scheme in {"sql", "memory"}:
        raise ConfigurationError(
            f"WELLNET_BROKER_URL: {scheme}:// serves one process; several need a broker that they share, "
            "Valkey or Redis 7: redis://HOST:6379/0"
        )
    database = urlsplit(settings.database_url.get_secret_value())
    if database.scheme.startswith("sqlite") and database.path in {"", "/", "/:memory:"}:
        raise ConfigurationError("WELLNET_DATABASE_URL: several processes cannot share a database in memory")
