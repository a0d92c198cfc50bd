"""Appends: judged here, by what is known of the operation, and written by a script if that still holds.

Whoever comes while one batch is under way is in the next, so a busy process asks once for many. Where another
process was first, the script says so and gives what is there now, and the change is judged again by that.

An answer may be lost. Then the append is in doubt: before it is tried again the store is asked whether it has
its mark, so that nothing is written twice.
"""

import asyncio
import itertools
import logging
import secrets
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence

from redis.exceptions import ResponseError

from wellnet_sse.brokers.valkey import scripts
from wellnet_sse.brokers.valkey.entries import UNNAMED, Kept, load_kept, load_records, settle
from wellnet_sse.brokers.valkey.heads import Heads
from wellnet_sse.brokers.valkey.link import Link, is_refusal
from wellnet_sse.brokers.valkey.names import bucket_of, idempotency_key
from wellnet_sse.brokers.valkey.request import Judged, Request, Terms, arguments, judge, repeated
from wellnet_sse.brokers.valkey.shards import AwayError, RefusedError, Reply
from wellnet_sse.errors import UnavailableError, UnprocessableError
from wellnet_sse.progress.broker import Appended, Change, IdempotencyKey
from wellnet_sse.progress.events import Record, UserId

log = logging.getLogger(__name__)

MAX_BATCH = 256
MAX_WAITING = 10_000
"""How many appends may wait for a node that is away; the next is refused at once."""
MAX_KNOWN = 8192
"""Of how many operations that have not ended the state is remembered."""
PAUSE_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Between attempts while the store is away; the last one for as long as it is."""

Sent = tuple[Request, Kept, Judged]


class Writer:
    """Writes appends. `show` is told of what was written, in the order of each user's places."""

    def __init__(
        self,
        link: Link,
        heads: Heads,
        terms: Terms,
        *,
        clock: Callable[[], int],
        wait_seconds: float,
        show: Callable[[UserId, Sequence[Record]], None],
    ) -> None:
        self._link = link
        self._heads = heads
        self._terms = terms
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._show = show
        self._known: OrderedDict[tuple[UserId, str], Kept] = OrderedDict()
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._name = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self.opened = 0
        """How many operations began or were opened again by what was written here, less those that ended."""

    async def append(
        self, user_id: UserId, operation_id: str, change: Change, key: IdempotencyKey | None
    ) -> Appended:
        """Wait until it is written. Raises what the change does, and UnavailableError after a while."""
        request = Request(user_id, operation_id, change, key, f"{self._name}.{next(self._numbers):x}")
        self._lane(bucket_of(user_id)).add(request)
        try:
            async with asyncio.timeout(self._wait_seconds):
                return await request.answer
        except TimeoutError:
            raise AwayError from None

    async def aclose(self) -> None:
        """Write what waits, as far as the store takes it, and end."""
        for lane in self._lanes.values():
            await lane.aclose(self._wait_seconds)

    def _lane(self, bucket: int) -> "_Lane":
        try:
            place = self._link.shards.of(bucket).place
        except AwayError:
            place = ("", 0)
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = _Lane(self._round, self._link)
        return lane

    async def _round(self, batch: Sequence[Request]) -> list[Request]:
        """Bring every request a step further; gives those that are to be tried again.

        Raises UnavailableError where the store is away: then all that are not answered are.
        """
        await self._look([request for request in batch if request.looks])
        sent: list[Sent] = []
        again: list[Request] = []
        for request in batch:
            if not request.answer.done():
                self._judge(request, sent, again)
        refused = False
        for (request, kept, judged), reply in zip(sent, await self._send(sent), strict=True):
            if is_refusal(reply):
                refused = True
            elif isinstance(reply, ResponseError):
                log.error("history_script_failed", extra={"detail": str(reply)})
                _refuse(request, UnavailableError("No se pudo guardar el evento", retry_after_seconds=5))
            elif self._settle(request, kept, judged, reply):
                again.append(request)
        if refused:
            raise RefusedError
        return again

    def _judge(self, request: Request, sent: list[Sent], again: list[Request]) -> None:
        certain = request.fresh is not None
        kept = request.fresh or self._known.get(request.place, UNNAMED)
        try:
            judged = judge(request, kept, self._clock())
        except Exception as error:
            if certain:
                _refuse(request, error)
                return
            judged = None
        if judged is not None:
            sent.append((request, kept, judged))
        elif certain:
            _answer(request, Appended((), created=False))
        else:
            request.looks = True
            again.append(request)

    async def _look(self, requests: Sequence[Request]) -> None:
        """Read what these are to be judged by, and whether those in doubt were written."""
        if not requests:
            return
        calls = [
            self._heads.call(
                request.user_id,
                scripts.LOOK,
                () if request.key is None else (idempotency_key(request.user_id, request.key.key),),
                request.operation_id,
                self._terms.history_ms,
                request.mark if request.in_doubt else "",
            )
            for request in requests
        ]
        for request, reply in zip(requests, await self._link.run(calls), strict=True):
            if isinstance(reply, ResponseError):
                raise RefusedError from reply
            epoch, value, use, mine, found = reply
            kept = load_kept(request.operation_id, value)
            self._remember(request, kept)
            if mine:
                records = load_records(epoch.decode(), found)
                self._written(request, records, created=request.began)
            elif request.key is not None and use:
                _repeat(request, request.key, epoch, use)
            else:
                request.fresh, request.looks = kept, False

    async def _send(self, sent: Sequence[Sent]) -> Sequence[Reply]:
        if not sent:
            return ()
        calls = []
        for request, kept, judged in sent:
            keys, args = arguments(request, kept, judged, self._terms)
            calls.append(self._heads.call(request.user_id, scripts.APPEND, keys, *args))
        try:
            return await self._link.run(calls)
        except AwayError:
            for request, _, _ in sent:
                request.in_doubt = request.looks = True
            raise

    def _settle(self, request: Request, kept: Kept, judged: Judged, reply: Reply) -> bool:
        """Take the script's answer; whether the request is to be tried again."""
        what, epoch = reply[0], reply[1].decode()
        if what == b"stale":
            request.fresh = load_kept(request.operation_id, reply[2])
            self._remember(request, request.fresh)
            # What is there now may be its own, written by a sending whose answer was lost.
            request.looks = request.in_doubt
            return True
        if what == b"used" and request.key is not None:
            _repeat(request, request.key, reply[1], reply[2:])
            return False
        base = int(reply[2])
        settle(judged.operation, base)
        self._remember(request, Kept(judged.operation, request.mark))
        self.opened += (judged.operation.outcome is None) - (
            judged.before is not None and judged.before.outcome is None
        )
        records = [Record(epoch, base + n, entry) for n, entry in enumerate(judged.entries, 1)]
        self._written(request, records, created=kept.operation is None)
        return False

    def _written(self, request: Request, records: Sequence[Record], *, created: bool) -> None:
        if records:
            self._heads.note(request.user_id, records[-1].cursor, request.mark)
            self._show(request.user_id, records)
        _answer(request, Appended(records, created, records[0].cursor if records else None))

    def _remember(self, request: Request, kept: Kept) -> None:
        self._known.pop(request.place, None)
        if kept.operation is not None and kept.operation.outcome is None:
            self._known[request.place] = kept
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)


class _Lane:
    """The way to one node: a batch at a time, so that what is written comes back in the order of places."""

    def __init__(self, work: Callable[[Sequence[Request]], Awaitable[list[Request]]], link: Link) -> None:
        self._work = work
        self._link = link
        self._waiting: deque[Request] = deque()
        self._wake = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="history writer")

    def add(self, request: Request) -> None:
        """Have it written. Raises RefusedError where too many wait."""
        if len(self._waiting) >= MAX_WAITING:
            raise RefusedError
        self._waiting.append(request)
        self._emptied.clear()
        self._wake.set()

    async def aclose(self, wait_seconds: float) -> None:
        """Write what waits or is under way, for so long, and end."""
        try:
            async with asyncio.timeout(wait_seconds):
                await self._emptied.wait()
        except TimeoutError:
            pass
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        pauses = iter(PAUSE_SECONDS)
        while True:
            await self._wake.wait()
            self._wake.clear()
            while batch := self._take():
                try:
                    again = await self._work(batch)
                    pauses = iter(PAUSE_SECONDS)
                except UnavailableError:
                    again = [request for request in batch if not request.answer.done()]
                    await asyncio.sleep(next(pauses, PAUSE_SECONDS[-1]))
                    await self._link.mend()
                except Exception as error:
                    log.exception("history_writer_failed")
                    again = []
                    for request in batch:
                        _refuse(request, error)
                self._waiting.extendleft(reversed(again))
            self._emptied.set()

    def _take(self) -> list[Request]:
        """The next batch: of each operation one, because the second is judged by what the first has done."""
        batch: dict[tuple[UserId, str], Request] = {}
        later: list[Request] = []
        while self._waiting and len(batch) < MAX_BATCH:
            request = self._waiting.popleft()
            if request.answer.done():
                continue  # nobody waits any more, and it was not sent; or it is settled
            if request.place in batch:
                later.append(request)
            else:
                batch[request.place] = request
        self._waiting.extendleft(reversed(later))
        return list(batch.values())


def _answer(request: Request, appended: Appended) -> None:
    if not request.answer.done():  # else the publisher has gone; its event stays
        request.answer.set_result(appended)


def _refuse(request: Request, error: Exception) -> None:
    if not request.answer.done():
        request.answer.set_exception(error)


def _repeat(request: Request, key: IdempotencyKey, epoch: bytes, use: Sequence[bytes]) -> None:
    try:
        _answer(request, repeated(key, epoch.decode(), *use))
    except UnprocessableError as error:
        _refuse(request, error)
