"""One user's readers, and how far the live feed has come: what comes twice is dropped, a hole is seen."""

from wellnet_sse.progress.audience import Audience
from wellnet_sse.progress.events import Cursor, Record
from wellnet_sse.progress.subscription import Subscription


class Channel:
    """The readers of one user, and how far the live feed has come."""

    __slots__ = ("_epoch", "_first_seq", "_seq", "all", "by_operation")

    def __init__(self) -> None:
        self.all = Audience(final_ends=False)
        self.by_operation: dict[str, Audience] = {}
        self._first_seq = 0
        self._epoch: str | None = None
        """None before the first."""
        self._seq = 0

    def __bool__(self) -> bool:
        return bool(self.all or self.by_operation)

    def audience(self, subscription: Subscription) -> Audience:
        """The audience that it belongs to."""
        operation_id = subscription.operation_id
        if operation_id is None:
            return self.all
        audience = self.by_operation.get(operation_id)
        if audience is None:
            audience = self.by_operation[operation_id] = Audience(final_ends=True)
        return audience

    def leave(self, subscription: Subscription) -> None:
        """Let it go, and its audience where it was the last."""
        audience = self.audience(subscription)
        audience.leave(subscription)
        if not audience and subscription.operation_id is not None:
            del self.by_operation[subscription.operation_id]

    def is_level(self, cursor: Cursor) -> bool:
        """Whether the feed goes on from `cursor`: nothing lies between it and what was fed first."""
        if self._epoch != cursor.epoch:  # history is the truth: the feed starts anew from there
            self._begin(cursor.epoch, cursor.seq + 1)
            self._seq = cursor.seq
        return self._first_seq <= cursor.seq + 1

    def admits(self, record: Record) -> bool:
        """Move on to the record, unless it was fed before; after a hole all readers go back to history."""
        seq = record.seq
        if record.epoch != self._epoch:
            self._begin(record.epoch, seq)
        elif seq != self._seq + 1:
            if seq <= self._seq:
                return False
            self._first_seq = seq
            self._lose()
        self._seq = seq
        return True

    def _begin(self, epoch: str, first_seq: int) -> None:
        if self._epoch is not None:
            self._lose()
        self._epoch, self._first_seq = epoch, first_seq

    def _lose(self) -> None:
        for audience in (self.all, *self.by_operation.values()):
            audience.lose()
