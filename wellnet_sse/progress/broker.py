"""The port behind which history lives; one suite of tests holds every broker to its contract."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from wellnet_sse.progress.events import Cursor, Record, UserId
from wellnet_sse.progress.operation import Entry, Operation

Change = Callable[[Operation, int], Sequence[Entry]]
"""What `append` does to an operation: usually a method of `Operation` with its arguments bound.

Called with the operation (blank where nobody named it yet) and the time in milliseconds since 1970; a broker
may call it again with a fresh operation when another process came first. It raises to refuse, before it has
changed anything."""

Feed = Callable[[UserId, Sequence[Record]], None]
"""Where a broker hands over what was appended: synchronous, in the order of `seq`, never failing."""


LEASE_MS = 30_000
"""How long a process that is not heard of counts as alive, unless it says otherwise."""


class Appended(NamedTuple):
    """What an append did."""

    records: Sequence[Record]
    created: bool
    """Whether the operation began with it."""
    cursor: Cursor | None = None
    """Of its first entry; also where it repeats an append by its key, whose records are not given again."""


class Gap(NamedTuple):
    """The answer to a cursor that history cannot serve."""

    requested: str
    """As received."""
    earliest: Cursor | None
    """The oldest entry still kept."""
    latest: Cursor | None
    """The newest entry."""


class Page(NamedTuple):
    """A piece of history, in order."""

    records: Sequence[Record]
    upto: Cursor
    """Everything up to here was looked at: where to read on."""
    level: bool
    """Whether `upto` was the newest when this was read."""


class Wanted(NamedTuple):
    """Which operations' state is asked for: those that have not ended, and some that have."""

    operation_id: str | None = None
    """Only this operation, ended or not."""
    ended_after_seq: int | None = None
    """Also those whose ending is later than this."""
    ended_since_ms: int | None = None
    """Also those that ended at or after this time..."""
    newest: int | None = None
    """...and of the ended ones only so many, the newest."""


class State(NamedTuple):
    """The state of operations: the last event of each step and the latest ending, in the order of cursors."""

    records: Sequence[Record]
    cursor: Cursor
    """The user's newest at that moment; `<epoch>-0` before the first event."""
    ended: bool
    """Whether the one operation that was asked for has ended."""


class IdempotencyKey(NamedTuple):
    """A publisher's own name for an append, so that its repeat is the same append."""

    key: str
    fingerprint: str
    """Of what is appended: the same key for something else is refused."""


class Rate(NamedTuple):
    """How fast a user may act: so many times a second for good, and `burst` times at once before that."""

    per_second: float
    """More than 0."""
    burst: int
    """At least 1."""


class Broker(Protocol):
    """Keeps each user's events in order and carries them between processes.

    An event is durable, and later readers will see it, once `append` has returned; it was fed to the hub
    before that, so a publisher that is cancelled in between hides nothing from readers. Every method may
    raise UnavailableError while the broker's store is away. An append has then changed nothing, as far as
    that can be known: where the store is lost while it answers, it may keep what nobody was told of.
    """

    def attach(self, feed: Feed) -> None:
        """Feed every entry of this process, and of others those of watched users, to `feed` from now on."""

    def watch(self, user_id: UserId) -> None:
        """Feed what other processes append for this user, too, from the next `since` on: somebody reads."""

    def unwatch(self, user_id: UserId) -> None:
        """Nobody reads any more."""

    async def start(self) -> None:
        """Open the store. Raises ConfigurationError where it cannot be used."""

    async def aclose(self) -> None:
        """Finish what was begun and let go of the store."""

    async def append(
        self, user_id: UserId, operation_id: str, change: Change, *, key: IdempotencyKey | None = None
    ) -> Appended:
        """Apply `change` atomically and log its entries; what `change` raises is raised and changes nothing.

        A change that leaves the operation unnamed is forgotten. With `key`, a repeat returns what the first
        one did; UnprocessableError where the fingerprint differs.
        """

    async def since(
        self, user_id: UserId, cursor: Cursor, *, operation_id: str | None = None, limit: int = 256
    ) -> Page | Gap:
        """The entries after `cursor`, at most `limit`, of one operation or of all.

        A Gap where entries after `cursor` may be gone (with `operation_id`: entries of that operation), or
        where the cursor is of another epoch or from the future.
        """

    async def state(self, user_id: UserId, wanted: Wanted) -> State:
        """The state of the wanted operations at one moment."""

    async def bounds(self, user_id: UserId) -> tuple[Cursor | None, Cursor | None]:
        """The cursors of the oldest and the newest entry kept; what a Gap tells."""

    async def operation(self, user_id: UserId, operation_id: str) -> tuple[Operation, Cursor] | None:
        """A copy of the operation and the cursor of its last entry (`<epoch>-0` before one), or None."""

    async def operations(
        self, user_id: UserId, *, limit: int, before: tuple[int, str] | None = None
    ) -> Sequence[tuple[Operation, Cursor]]:
        """Copies of the user's operations, newest first by (started_ms, operation_id), after `before`."""

    async def active(self, *, limit: int) -> Sequence[tuple[UserId, Operation]]:
        """Copies of all users' operations that have not ended: at most `limit`, whichever these are."""

    async def silent(
        self, before_ms: int, *, in_step_before_ms: int | None = None
    ) -> Sequence[tuple[UserId, str]]:
        """The operations of all users that have not ended, with nothing running and no entry since then.

        Those in the middle of a step only if there was none since `in_step_before_ms`, where that is given.
        """

    async def renew(self, holder: str, *, lease_ms: int = LEASE_MS) -> None:
        """Let `holder`, and what it runs, count as alive for so long from now."""

    async def alive(self, holder: str) -> bool:
        """Whether the holder's lease, whichever process it is, is not over."""

    async def orphans(self) -> Sequence[tuple[UserId, str, Sequence[str]]]:
        """The operations with runs whose holder's lease is over, and the ids of those runs.

        None where nobody at all was heard of for half a lease, until all have had time to say that they live.
        """

    async def reserve(self, user_id: UserId, holder: str, *, streams: int, version: int, limit: int) -> bool:
        """Note that `holder` has so many streams of the user open; an older `version` changes nothing.

        False, and nothing is noted, where that is more than before and all that live have more than `limit`.
        """

    async def admit(self, user_id: UserId, rate: Rate) -> float:
        """Count one more action of the user, whichever process it is asked of, and give 0.

        Where that would be faster than `rate` it is not counted, and the seconds are given until one is free.
        While the store is away each process counts its own alone, so this raises nothing and waits briefly.
        """

    async def check(self) -> None:
        """Return where the store can be used now. Raises UnavailableError."""

    async def trim(self) -> None:
        """Forget what retention no longer covers."""

    def active_operations(self) -> int:
        """How many operations have not ended, as far as this process knows."""
