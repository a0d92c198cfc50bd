"""Which operations have not ended, in the order of their last activity; what works on them, and lives."""

from collections.abc import Sequence
from itertools import islice

from wellnet_sse.progress.events import UserId
from wellnet_sse.progress.operation import Operation

Place = tuple[UserId, str]

ORDER_MS = 1000
"""How exactly the order of activity is kept: an operation that is seldom at rest need not move each time."""


class Activity:
    """An index over the operations that have not ended, so that a sweep looks at the silent ones only.

    It also keeps the leases: a holder is alive until its lease, renewed by `renew`, is over.
    """

    def __init__(self) -> None:
        self._active: dict[Place, Operation] = {}
        """In the order of their `noted_ms`; none was noted after it was updated."""
        self._leases: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._active)

    def note(self, user_id: UserId, operation: Operation) -> None:
        """Note the operation's new state."""
        noted_ms, has_ended = operation.noted_ms, operation.outcome is not None
        if noted_ms is not None and not has_ended and operation.updated_ms < noted_ms + ORDER_MS:
            return
        place = (user_id, operation.operation_id)
        self._active.pop(place, None)
        operation.noted_ms = None
        if not has_ended:
            self._active[place] = operation  # to the end
            operation.noted_ms = operation.updated_ms

    def forget(self, user_id: UserId) -> None:
        """Forget the user's operations."""
        for place in [place for place in self._active if place[0] == user_id]:
            self._active.pop(place).noted_ms = None

    def longest_silent(self, limit: int) -> Sequence[tuple[UserId, Operation]]:
        """So many of them, oldest activity first."""
        return [(user_id, one) for (user_id, _), one in islice(self._active.items(), limit)]

    def silent(self, before_ms: int, in_step_before_ms: int | None) -> Sequence[Place]:
        """Those with nothing running and no activity since then; see `Broker.silent`."""
        found = []
        for place, operation in self._active.items():
            updated_ms = operation.updated_ms
            if (operation.noted_ms or 0) > before_ms:
                break
            if operation.runs or updated_ms > before_ms:
                continue
            if in_step_before_ms is None or updated_ms <= in_step_before_ms or not operation.in_step:
                found.append(place)
        return found

    def renew(self, holder: str, until_ms: int) -> None:
        """Let `holder` be alive until then."""
        self._leases[holder] = until_ms

    def alive(self, holder: str, now_ms: int) -> bool:
        """Whether the holder's lease is not over."""
        return self._leases.get(holder, 0) > now_ms

    def orphaned(self, now_ms: int) -> Sequence[tuple[UserId, str, Sequence[str]]]:
        """The operations on which holders that are no longer alive work, and the runs of those."""
        self._leases = {holder: until_ms for holder, until_ms in self._leases.items() if until_ms > now_ms}
        found = []
        for (user_id, operation_id), operation in self._active.items():
            dead = [run.run_id for run in operation.runs.values() if run.holder not in self._leases]
            if dead:
                found.append((user_id, operation_id, dead))
        return found
