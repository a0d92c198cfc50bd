"""What users may still do: taken from the store a few at a time, so that to act often is not to ask often."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from wellnet_sse.brokers.rates import Rates
from wellnet_sse.brokers.valkey import scripts
from wellnet_sse.brokers.valkey.link import Call, Link
from wellnet_sse.brokers.valkey.names import bucket_of, rate_key
from wellnet_sse.errors import UnavailableError
from wellnet_sse.progress.broker import Rate
from wellnet_sse.progress.events import UserId

SHARE = 10
"""The part of a second's actions, or of the burst where that is less, which is taken at once..."""
KEEP_MS = 10_000
"""...and for how long. So what a process takes in vain is at most a hundredth of the rate."""
ASK_SECONDS = 2.0
"""How long the store may take to say; then it is away."""
ALONE_MS = 1000
"""How long this process then counts alone, before the store is asked again."""
MAX_KNOWN = 8192
"""Of how many users it is remembered what was taken."""


def _monotonic_ms() -> float:
    return time.monotonic() * 1000


@dataclass(slots=True)
class _Lot:
    """What was taken for a user, or is known of them, each until a time on this process's clock."""

    left: int = 0
    left_until: float = 0.0
    none_until: float = 0.0
    alone_until: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Permits:
    """Counts the actions of users with the other processes.

    `clock` gives milliseconds, for the store as well; where there is none each goes by its own.
    """

    def __init__(self, link: Link, clock: Callable[[], int] | None) -> None:
        self._link = link
        self._store_clock = clock
        self._clock: Callable[[], float] = clock or _monotonic_ms
        self._lots: OrderedDict[UserId, _Lot] = OrderedDict()
        self._own = Rates(self._clock)

    async def admit(self, user_id: UserId, rate: Rate) -> float:
        """See `Broker.admit`."""
        lot = self._lot(user_id)
        async with lot.lock:  # whoever comes while the store is asked wants to know the same
            now = self._clock()
            if lot.left and now < lot.left_until:
                lot.left -= 1
                return 0.0
            if now < lot.none_until:
                return (lot.none_until - now) / 1000
            if now >= lot.alone_until:
                try:
                    return await self._take(user_id, rate, lot)
                except (UnavailableError, TimeoutError):
                    lot.alone_until = self._clock() + ALONE_MS
            return self._own.admit(user_id, rate)

    async def _take(self, user_id: UserId, rate: Rate, lot: _Lot) -> float:
        wanted = max(1, int(min(rate.per_second, rate.burst) / SHARE))
        now = "" if self._store_clock is None else self._store_clock()
        args = (now, repr(rate.per_second), rate.burst, wanted)
        call = Call(bucket_of(user_id), scripts.PERMIT, (rate_key(user_id),), args)
        async with asyncio.timeout(ASK_SECONDS):
            given, wait_ms = await self._link.ask(call)
        if not given:
            lot.none_until = self._clock() + wait_ms
            return float(wait_ms / 1000)
        lot.left, lot.left_until = given - 1, self._clock() + KEEP_MS
        return 0.0

    def _lot(self, user_id: UserId) -> _Lot:
        lot = self._lots.get(user_id)
        if lot is None:
            lot = self._lots[user_id] = _Lot()
            if len(self._lots) > MAX_KNOWN:
                self._lots.popitem(last=False)
        else:
            self._lots.move_to_end(user_id)
        return lot
