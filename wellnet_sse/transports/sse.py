"""A subscription as the answer of a Quart view: `return EventSourceResponse(subscription)`."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing

from quart import Response, has_request_context, request

from wellnet_sse.progress.items import Sink
from wellnet_sse.progress.subscription import Subscription
from wellnet_sse.transports import wire
from wellnet_sse.transports.direct import sink_of

RETRY_MS = 2000


class EventSourceResponse(Response):
    """Streams a subscription as Server-Sent Events (HTML §9.2), until it ends or the client leaves.

    `retry_ms` is how long a client should wait before it reconnects; each gets it jittered by a quarter, so
    that a restart does not bring all of them at once.
    """

    def __init__(self, subscription: Subscription, *, retry_ms: int = RETRY_MS) -> None:
        sink = sink_of(request.scope) if has_request_context() else None
        super().__init__(_stream(subscription, retry_ms, sink), headers=wire.SSE_HEADERS)
        self.timeout = None  # Quart would end any stream after RESPONSE_TIMEOUT, in silence


async def _stream(subscription: Subscription, retry_ms: int, sink: Sink | None) -> AsyncIterator[bytes]:
    # Membership is taken here and not in the view: a generator that never starts has nothing to give back.
    with subscription:
        task = asyncio.current_task()
        subscription.abort = None if task is None else task.cancel
        if sink is not None:
            subscription.write_directly(sink, wire.sse_chunk)
        spread_ms = retry_ms // 4
        yield wire.sse_retry(retry_ms + random.randint(-spread_ms, spread_ms))  # noqa: S311 - spread, not secrecy
        async with aclosing(subscription.batches()) as batches:
            async for batch in batches:
                yield wire.sse(batch)
        if subscription.reason is not None:
            yield wire.sse_close(subscription.reason)
