"""Where a process serves: on sockets of its own, or in a place among several that a supervisor gives it.

Those who are supervised speak over their standard streams: on the output they say `READY=1`, as others do to
systemd; the input tells them to leave, and ends with the supervisor, however that died.
"""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from hypercorn.typing import ASGIFramework

from wellnet_sse.server import runner, sockets
from wellnet_sse.server.monitoring import Monitoring
from wellnet_sse.server.notify import notify
from wellnet_sse.settings import Settings, split_bind

LEAVE = b"LEAVE\n"


@dataclass(frozen=True, slots=True)
class Place:
    """Listening sockets, and who is told how it goes there."""

    listener: socket.socket
    monitoring: socket.socket | None = None
    """For those who watch over the server, where they have an address of their own."""
    tell: Callable[[str], None] = notify
    leave: asyncio.Event | None = None
    """Set when another process takes this place."""

    @classmethod
    def own(cls, settings: Settings) -> Self:
        """The place that the settings name. Raises ConfigurationError where it cannot be had."""
        monitoring = None
        if settings.metrics_bind is not None:
            monitoring = sockets.listen(*split_bind(settings.metrics_bind), setting="WELLNET_METRICS_BIND")
        return cls(sockets.listen(*split_bind(settings.bind or "")), monitoring)

    @classmethod
    def inherited(cls, descriptors: str) -> Self:
        """The place that the supervisor of this process gives it: listening sockets, as `n` or `n,n`."""
        listener, *others = (socket.socket(fileno=int(it)) for it in descriptors.split(","))
        monitoring = others[0] if others else None
        return cls(listener, monitoring, _tell_supervisor, _leave_requested())

    async def serve(
        self,
        app: ASGIFramework,
        *,
        stop: asyncio.Event,
        drain: Callable[[], Awaitable[None]],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """See `runner.serve`. Those who watch are answered to the end, unless another has this place then."""
        over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            if self.monitoring is not None:
                tasks.create_task(
                    runner.serve(Monitoring(app), self.monitoring, stop=over, leave=self.leave, tell=None)
                )
            try:
                await runner.serve(
                    app, self.listener, stop=stop, leave=self.leave, drain=drain, tls=tls, tell=self.tell
                )
            finally:
                over.set()


def _tell_supervisor(state: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # it died, which the input says as well
        os.write(sys.stdout.fileno(), f"{state}\n".encode())


def _leave_requested() -> asyncio.Event:
    """Set when the supervisor says so; its death is like SIGTERM."""
    leave = asyncio.Event()
    loop = asyncio.get_running_loop()
    line = sys.stdin.fileno()

    def read() -> None:
        said = os.read(line, 256)
        if LEAVE in said:
            leave.set()
        elif not said:
            loop.remove_reader(line)
            signal.raise_signal(signal.SIGTERM)

    loop.add_reader(line, read)
    return leave
