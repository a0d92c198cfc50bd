"""A subscription as a WebSocket, in the documented dialect and in v2; and what clients say on it."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from quart import Websocket, wrappers

from wellnet_sse import strict_json
from wellnet_sse.errors import BadRequestError, TooManyActionsError, WellnetError
from wellnet_sse.progress.items import Item
from wellnet_sse.progress.subscription import Subscription
from wellnet_sse.transports import wire
from wellnet_sse.transports.direct import connection_of

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 64 * 1024
MAX_WAITING_COMMANDS = 256
"""How many commands may wait for the one before them, for instance while the database is away."""

_Disconnected: type[Exception] = getattr(wrappers, "ClientDisconnectedError", ConnectionError)
"""Raised by Quart 0.23 when the peer has gone, beside the cancellation that came alone before."""

Command = Callable[[dict[str, Any]], Awaitable[None]]
"""Does what a client's message asks for; raises WellnetError where it is not valid."""


@dataclass(frozen=True, slots=True)
class MessageRate:
    """How fast a client may talk: a bucket of `burst` messages, refilled with `per_second`."""

    per_second: float = 50.0
    burst: int = 200


class _Closed(Exception):  # noqa: N818 - not an error: it carries the close code out of a loop
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


class ProgressSocket:
    """One accepted socket: sends what its subscription yields, and runs the client's commands.

    `subprotocol` tells the dialect: None is the documented one. `on_refused` is told why a message is
    refused, which the documented dialect ignores and v2 answers.
    """

    def __init__(
        self,
        websocket: Websocket,
        subscription: Subscription,
        command: Command,
        *,
        subprotocol: str | None,
        rate: MessageRate,
        on_refused: Callable[[WellnetError], None],
    ) -> None:
        self._websocket = websocket
        self._subscription = subscription
        self._command = command
        self._is_v2 = subprotocol == wire.V2_SUBPROTOCOL
        self._rate = rate
        self._on_refused = on_refused
        self._commands: asyncio.Queue[str] = asyncio.Queue(MAX_WAITING_COMMANDS)
        self._at_hand: str | None = None

    async def serve(self) -> None:
        """Serve it to its end, and close it with the code that says why (RFC 6455 §7.4)."""
        try:
            await self._exchange()
        except asyncio.CancelledError:
            # The peer has gone: a page says `stop_operation` and closes its socket in one breath.
            with contextlib.suppress(_Closed):
                await self._hear_out()
            raise

    async def _exchange(self) -> None:
        code, reason = 1011, "internal error"
        try:
            with self._subscription:
                task = asyncio.current_task()
                self._subscription.abort = None if task is None else task.cancel
                if (connection := connection_of(self._websocket.scope)) is not None:
                    encode = wire.v2_frames if self._is_v2 else wire.documented_frames
                    self._subscription.write_directly(connection, encode)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._send_all(), name="socket send")
                    tasks.create_task(self._receive_all(), name="socket receive")
                    tasks.create_task(self._obey_all(), name="socket obey")
        except* _Closed as group:
            first = _first_closed(group)
            code, reason = first.code, first.reason
        except* _Disconnected:
            pass
        except* Exception:
            log.exception("socket_failed", extra={"user_id": self._subscription.user_id})
        await asyncio.sleep(0)  # where the peer has gone, the cancellation that a TaskGroup put off
        # Quart would close with 1000 after an error: the code is ours to send.
        with contextlib.suppress(_Disconnected):
            await self._websocket.close(code, reason)

    async def _send_all(self) -> None:
        async with aclosing(self._subscription.batches()) as batches:
            async for batch in batches:
                for message in self._encode(batch):
                    await self._websocket.send(message)
        reason = self._subscription.reason
        if reason is None:
            return
        if self._is_v2:
            await self._websocket.send(wire.v2_close(reason))
        raise _Closed(reason.websocket_code, reason.reason)

    def _encode(self, batch: Sequence[Item]) -> list[str]:
        return wire.v2(batch) if self._is_v2 else wire.documented(batch)

    async def _receive_all(self) -> None:
        # Always receiving, whatever a command waits for: Quart's queue has no bound, so the bound is here.
        clock = asyncio.get_running_loop().time
        tokens, refilled_at = float(self._rate.burst), clock()
        while True:
            message = await self._websocket.receive()
            now = clock()
            tokens = min(self._rate.burst, tokens + (now - refilled_at) * self._rate.per_second) - 1
            refilled_at = now
            if tokens < 0:
                raise _Closed(1008, "too many messages")
            if not isinstance(message, str):
                raise _Closed(1003, "text only")
            if len(message.encode(errors="surrogatepass")) > MAX_MESSAGE_BYTES:
                raise _Closed(1009, "message too big")
            try:
                self._commands.put_nowait(message)
            except asyncio.QueueFull:
                raise _Closed(1008, "too many messages") from None

    async def _obey_all(self) -> None:
        while True:
            self._at_hand = await self._commands.get()
            try:
                await self._obey(self._at_hand)
            except Exception:
                self._at_hand = None  # only what is cut off is done again, not what has failed
                raise
            self._at_hand = None

    async def _hear_out(self) -> None:
        """Do what was said before the end; what was cut in the middle is done again, with the same effect."""
        if self._at_hand is not None:
            await self._obey(self._at_hand)
        while not self._commands.empty():
            await self._obey(self._commands.get_nowait())
        with contextlib.suppress(TimeoutError, _Disconnected):
            for _ in range(MAX_WAITING_COMMANDS):
                async with asyncio.timeout(0):  # only what is in Quart's queue already
                    message = await self._websocket.receive()
                if isinstance(message, str):
                    await self._obey(message)

    async def _obey(self, text: str) -> None:
        try:
            await self._command(_parse(text))
        except WellnetError as error:
            log.info("message_refused", extra={"user_id": self._subscription.user_id, "code": error.code})
            self._on_refused(error)
            if self._is_v2:
                with contextlib.suppress(_Disconnected):
                    await self._websocket.send(wire.v2_error(error))
            elif isinstance(error, TooManyActionsError):  # it cannot be told, and must not go unnoticed
                raise _Closed(1008, "too many messages") from None


def _parse(text: str) -> dict[str, Any]:
    message = strict_json.load(text, what="El mensaje")
    if not isinstance(message, dict):
        raise BadRequestError("El mensaje debe ser un objeto JSON")
    return message


def _first_closed(group: BaseExceptionGroup[Exception]) -> _Closed:
    for error in group.exceptions:
        if isinstance(error, _Closed):
            return error
        if isinstance(error, BaseExceptionGroup):
            return _first_closed(error)
    raise group
