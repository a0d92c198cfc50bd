"""A subscription as the answer of a Quart view: `return EventSourceResponse(subscription)`."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from quart import Response, has_request_context, request

from wellnet_sse.progress.subscription import Subscription
from wellnet_sse.transports import wire
from wellnet_sse.transports.direct import Connection, connection_of

log = logging.getLogger(__name__)

RETRY_MS = 2000

Hold = Callable[[], Callable[[], None]]
"""Keeps what a request holds beyond its end; gives what lets go of it."""


class EventSourceResponse(Response):
    """Streams a subscription as Server-Sent Events (HTML §9.2), until it ends or the client leaves.

    `retry_ms` is how long a client should wait before it reconnects; each gets it jittered by a quarter, so
    that a restart does not bring all of them at once. `hold` is called where the stream outlives its
    request, as it may on a server that offers its connection.
    """

    def __init__(
        self, subscription: Subscription, *, retry_ms: int = RETRY_MS, hold: Hold | None = None
    ) -> None:
        connection = connection_of(request.scope) if has_request_context() else None
        stream = _Stream(subscription, connection, hold)
        super().__init__(stream.body(retry_ms), headers=wire.SSE_HEADERS)
        if connection is not None:
            self.headers["Connection"] = "close"  # what ends a stream that outlived its request
        self.timeout = None  # Quart would end any stream after RESPONSE_TIMEOUT, in silence


class _Stream:
    """One answer: at first within its request, and once its reader is level without one.

    A request costs Quart more memory than all the rest of an idle stream. So where the server offers its
    connection, the request ends when the reader is level; the hub writes to the connection, and a task comes
    into being only when something else is to be told.
    """

    __slots__ = ("_connection", "_hold", "_release", "_subscription", "_task")

    def __init__(self, subscription: Subscription, connection: Connection | None, hold: Hold | None) -> None:
        self._subscription = subscription
        self._connection = connection
        self._hold = hold
        self._release: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def body(self, retry_ms: int) -> AsyncIterator[bytes]:
        """The body as Quart sends it."""
        # Membership is taken here and not in the view: what never starts has nothing to give back.
        subscription, connection = self._subscription, self._connection
        subscription.__enter__()
        try:
            if connection is None:
                task = asyncio.current_task()
                subscription.abort = None if task is None else task.cancel
            else:
                subscription.write_directly(connection, wire.sse_chunk, park=True)
            spread_ms = retry_ms // 4
            yield wire.sse_retry(retry_ms + random.randint(-spread_ms, spread_ms))  # noqa: S311 - no secret
            if connection is not None:
                # The head is sent: from here on the send chain is only in the way.
                await self._tell(connection)
            else:
                async with aclosing(subscription.batches()) as batches:
                    async for batch in batches:
                        yield wire.sse(batch)
            if subscription.reason is not None:
                yield wire.sse_close(subscription.reason)
        except ConnectionError:
            if connection is None:
                raise
            connection.abort()  # the peer has gone
        finally:
            if not subscription.parked or connection is None:
                subscription.__exit__()
            else:
                self._release = None if self._hold is None else self._hold()
                subscription.on_wake = self._wake
                connection.detach(self._leave)

    def _wake(self) -> None:
        """Something is to be told that the hub cannot write: go on as a task until it can again."""
        if self._task is None and self._connection is not None:
            self._task = asyncio.get_running_loop().create_task(self._go_on(self._connection), name="stream")

    async def _go_on(self, connection: Connection) -> None:
        subscription = self._subscription
        try:
            await self._tell(connection)
            if subscription.parked:
                self._task = None
                return
            if subscription.reason is not None:
                connection.write(wire.chunk(wire.sse_close(subscription.reason)))
            connection.write(wire.LAST_CHUNK)
            connection.close()
        except ConnectionError:
            connection.abort()  # the peer has gone
        except Exception:
            log.exception("stream_failed", extra={"user_id": subscription.user_id})
            connection.abort()
        self._leave()

    async def _tell(self, connection: Connection) -> None:
        """Write what the reader is to be told, until it is level or closed. Raises ConnectionError."""
        async with aclosing(self._subscription.batches()) as batches:
            async for batch in batches:
                connection.write(wire.chunk(wire.sse(batch)))
                await connection.drain()

    def _leave(self) -> None:
        """Give back everything; called when the stream ends and when the connection does."""
        if self._connection is None:
            return
        self._connection = None
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._subscription.__exit__()
        if self._release is not None:
            self._release()
