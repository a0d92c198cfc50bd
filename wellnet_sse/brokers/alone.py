"""What brokers have in common whose history one process has for itself."""

from collections.abc import Callable, Sequence

from wellnet_sse.brokers.activity import Activity
from wellnet_sse.brokers.rates import Rates
from wellnet_sse.progress.broker import Rate
from wellnet_sse.progress.codec import copy
from wellnet_sse.progress.events import UserId
from wellnet_sse.progress.operation import Operation


class Alone:
    """The part of the port that is about other processes, where there are none, and about all users at once.

    `clock` gives milliseconds since 1970.
    """

    def __init__(self, activity: Activity, clock: Callable[[], int]) -> None:
        self._activity = activity
        self._clock = clock
        self._rates = Rates(clock)

    def watch(self, user_id: UserId) -> None:
        """See `Broker.watch`: nobody else appends."""

    def unwatch(self, user_id: UserId) -> None:
        """See `Broker.unwatch`."""

    async def reserve(
        self,
        user_id: UserId,  # noqa: ARG002 - the port's
        holder: str,  # noqa: ARG002
        *,
        streams: int,
        version: int,  # noqa: ARG002
        limit: int,
    ) -> bool:
        """See `Broker.reserve`: there is one holder."""
        return streams <= limit

    async def admit(self, user_id: UserId, rate: Rate) -> float:
        """See `Broker.admit`."""
        return self._rates.admit(user_id, rate)

    async def active(self, *, limit: int) -> Sequence[tuple[UserId, Operation]]:
        """See `Broker.active`."""
        return [(user_id, copy(one)) for user_id, one in self._activity.longest_silent(limit)]

    async def silent(
        self, before_ms: int, *, in_step_before_ms: int | None = None
    ) -> Sequence[tuple[UserId, str]]:
        """See `Broker.silent`."""
        return self._activity.silent(before_ms, in_step_before_ms)

    async def alive(self, holder: str) -> bool:
        """See `Broker.alive`."""
        return self._activity.alive(holder, self._clock())

    async def orphans(self) -> Sequence[tuple[UserId, str, Sequence[str]]]:
        """See `Broker.orphans`."""
        return self._activity.orphaned(self._clock())

    def active_operations(self) -> int:
        """See `Broker.active_operations`."""
        return len(self._activity)
