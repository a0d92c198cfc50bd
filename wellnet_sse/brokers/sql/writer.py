"""Group commit: whoever waits while one batch is written is in the next."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wellnet_sse.brokers.sql.cache import Cache
from wellnet_sse.brokers.sql.identity import epoch_of
from wellnet_sse.brokers.sql.store import KeyUse, Store, Writes
from wellnet_sse.errors import UnavailableError, UnprocessableError
from wellnet_sse.progress.broker import Appended, Change, Feed, IdempotencyKey
from wellnet_sse.progress.codec import copy
from wellnet_sse.progress.events import Cursor, Record, UserId
from wellnet_sse.progress.operation import Operation

log = logging.getLogger(__name__)

MAX_BATCH = 1000


@dataclass(slots=True)
class Request:
    """An append that waits for its commit."""

    user_id: UserId
    operation_id: str
    change: Change
    key: IdempotencyKey | None
    answer: asyncio.Future[Appended]


@dataclass(slots=True)
class _Stage:
    """What a batch is about to write, on top of what is committed."""

    cache: Cache
    epoch: str
    now_ms: int
    keys: dict[tuple[UserId, str], KeyUse]
    operations: dict[tuple[UserId, str], Operation] = field(default_factory=dict)
    records: dict[UserId, list[Record]] = field(default_factory=dict)
    outcomes: list[tuple[Request, Appended | Exception]] = field(default_factory=list)
    new_keys: set[tuple[UserId, str]] = field(default_factory=set)

    def add(self, request: Request) -> None:
        """Apply a request; whether it is refused is also told only after the commit that it depends on."""
        try:
            self.outcomes.append((request, self._apply(request)))
        except Exception as error:
            self.outcomes.append((request, error))

    def _apply(self, request: Request) -> Appended:
        if (repeated := self._repeated(request)) is not None:
            return repeated
        place = (request.user_id, request.operation_id)
        operation = self._operation(place)
        created = operation is None
        operation = operation or Operation(request.operation_id)
        entries = request.change(operation, self.now_ms)
        if not operation.begun:
            return Appended((), created=False)
        mine = self.records.setdefault(request.user_id, [])
        known = self.cache.get(request.user_id, self.now_ms)
        seq = mine[-1].seq if mine else known.seq if known else 0
        epoch = epoch_of(self.epoch, request.user_id)
        records = [Record(epoch, seq + n, entry) for n, entry in enumerate(entries, 1)]
        for record in records:
            operation.placed(record.event, record.seq)
        mine += records
        known_operation = known.operations.get(request.operation_id) if known else None
        if entries or known_operation is None or operation != known_operation.operation:
            self.operations[place] = operation
        appended = Appended(records, created, records[0].cursor if records else None)
        if request.key is not None:
            use = KeyUse(request.key.fingerprint, None if not records else records[0].seq)
            self.keys[(request.user_id, request.key.key)] = use
            self.new_keys.add((request.user_id, request.key.key))
        return appended

    def _repeated(self, request: Request) -> Appended | None:
        if request.key is None:
            return None
        use = self.keys.get((request.user_id, request.key.key))
        if use is None:
            return None
        if use.fingerprint != request.key.fingerprint:
            raise UnprocessableError("Esa Idempotency-Key ya se usó con otros datos")
        epoch = epoch_of(self.epoch, request.user_id)
        return Appended((), created=False, cursor=None if use.seq is None else Cursor(epoch, use.seq))

    def _operation(self, place: tuple[UserId, str]) -> Operation | None:
        """The operation as this batch has it so far: a copy, so that a failed batch has changed nothing."""
        if place not in self.operations:
            known = self.cache.get(place[0], self.now_ms)
            kept = known.operations.get(place[1]) if known else None
            return None if kept is None else copy(kept.operation)
        return self.operations[place]

    def writes(self) -> Writes:
        """The rows of it all."""
        writes = Writes()
        for user_id, records in self.records.items():
            for record in records:
                writes.add_entry(user_id, record)
            if records:
                writes.add_user(user_id, records[-1].seq)
        for (user_id, _), operation in self.operations.items():
            trimmed_seq = self.cache.trimmed_seq(user_id, operation.operation_id)
            writes.add_operation(user_id, operation, trimmed_seq)
        for user_id, key in self.new_keys:
            writes.add_key(user_id, key, self.keys[(user_id, key)], self.now_ms)
        return writes


class Writer:
    """The one task that writes. `turn` is held while it does, so that others see history between batches.

    `committed` is told how many entries each batch has added, before they are fed.
    """

    def __init__(
        self,
        store: Store,
        cache: Cache,
        epoch: str,
        clock: Callable[[], int],
        *,
        feed: Feed,
        committed: Callable[[int], None],
    ) -> None:
        self.turn = asyncio.Lock()
        self._store = store
        self._cache = cache
        self._epoch = epoch
        self._clock = clock
        self._feed = feed
        self._committed = committed
        self.failing = False
        """Whether the last batch could not be written."""
        self._doubtful: set[UserId] = set()
        self._queue: list[Request] = []
        self._wake = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="history writer")

    async def append(
        self, user_id: UserId, operation_id: str, change: Change, key: IdempotencyKey | None
    ) -> Appended:
        """Wait for the commit that `change` is in."""
        answer: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self._queue.append(Request(user_id, operation_id, change, key, answer))
        self._wake.set()
        return await answer

    async def aclose(self) -> None:
        """Write what waits, and end."""
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._write_all()
        async with self.turn:  # a batch that was already being written is not left behind
            return

    async def abandon(self) -> None:
        """End without writing what waits: it is refused."""
        self._task.cancel()
        await asyncio.wait([self._task])
        async with self.turn:
            waiting, self._queue = self._queue, []
            _refuse(waiting, UnavailableError("El historial no está disponible", retry_after_seconds=5))

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                # Shielded: a batch whose writing was begun is finished, and its publishers are answered.
                await asyncio.shield(self._write_all())
            except Exception:
                log.exception("history_writer_failed")  # the next batch may do better

    async def _write_all(self) -> None:
        while self._queue:
            batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
            async with self.turn:
                await self._write(batch)

    async def _write(self, batch: Sequence[Request]) -> None:
        try:
            stage = await self._stage(batch)
            await self._store.commit(stage.writes())
        except Exception as error:
            # Nothing of it was installed, but whether it was committed may not be known.
            self._doubtful |= {request.user_id for request in batch}
            self.failing = True
            if isinstance(error, UnavailableError):
                # Those who came meanwhile have waited for the same: they need not wait for their own turn.
                _refuse([*batch, *self._queue], error)
                self._queue.clear()
            elif len(batch) == 1:
                log.exception("history_write_failed")
                _refuse(batch, UnavailableError("No se pudo guardar el evento", retry_after_seconds=5))
            else:
                # One entry that the database cannot take must not refuse its neighbours.
                for request in batch:
                    await self._write([request])
            return
        self.failing = False
        self._publish(stage)

    async def _stage(self, batch: Sequence[Request]) -> _Stage:
        now_ms = self._clock()
        if self._doubtful:
            await self._cache.reload(self._doubtful, now_ms)
            self._doubtful.clear()
        await self._cache.load({request.user_id for request in batch}, now_ms)
        await self._cache.load_operations({(request.user_id, request.operation_id) for request in batch})
        named = {(request.user_id, request.key.key) for request in batch if request.key is not None}
        stage = _Stage(self._cache, self._epoch, now_ms, await self._store.key_uses(named))
        for request in batch:
            stage.add(request)
        return stage

    def _publish(self, stage: _Stage) -> None:
        """It is durable: let it be seen, by those who come, by those who read, and by those who wrote it."""
        try:
            self._show(stage)
        finally:
            _answer(stage)

    def _show(self, stage: _Stage) -> None:
        self._committed(sum(map(len, stage.records.values())))
        for (user_id, _), operation in stage.operations.items():
            self._cache.install(user_id, operation)
        for user_id, records in stage.records.items():
            self._cache.extend(user_id, records)
        for user_id, records in stage.records.items():
            if records:
                self._feed(user_id, records)


def _answer(stage: _Stage) -> None:
    for request, outcome in stage.outcomes:
        if request.answer.done():
            continue  # the publisher has gone; its event stays
        if isinstance(outcome, Exception):
            request.answer.set_exception(outcome)
        else:
            request.answer.set_result(outcome)


def _refuse(batch: Sequence[Request], error: Exception) -> None:
    for request in batch:
        if not request.answer.done():
            request.answer.set_exception(error)
