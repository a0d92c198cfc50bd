"""The changes that tests append, and what came of them."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from wellnet_sse.progress.broker import Appended, Broker, Change, Page
from wellnet_sse.progress.events import Cursor, Ending, Outcome, Record, Status, UserId
from wellnet_sse.progress.operation import Operation

USER, OTHER = UserId(7), UserId(8)


def name(*steps: str) -> Change:
    return partial(Operation.name, steps=steps)


def update(
    step: str = "a", status: Status = Status.IN_PROGRESS, progress: int | None = None, message: str = "m"
) -> Change:
    return partial(Operation.update, step=step, status=status, progress=progress, message=message)


def begin_run(run_id: str, *steps: str, holder: str = "here", ends: bool | None = True) -> Change:
    return partial(Operation.begin_run, run_id=run_id, holder=holder, ends=ends, steps=steps)


def finish_run(run_id: str) -> Change:
    return partial(Operation.finish_run, run_id=run_id)


def seqs(records: Sequence[Record]) -> list[int]:
    return [record.cursor.seq for record in records]


def told(records: Sequence[Record]) -> list[tuple[str, str, Status] | tuple[str, Outcome]]:
    """Which operation and step came to what."""
    return [
        (it.event.operation_id, it.event.outcome)
        if isinstance(it.event, Ending)
        else (it.event.operation_id, it.event.step, it.event.status)
        for it in records
    ]


async def publish(broker: Broker, count: int, operation_id: str = "op", **arguments: Any) -> list[Record]:
    """Append so many updates to the operation."""
    appended: list[Appended] = [
        await broker.append(USER, operation_id, update(**arguments)) for _ in range(count)
    ]
    return [record for one in appended for record in one.records]


async def origin(broker: Broker, user_id: UserId = USER) -> Cursor:
    """The place before the user's first entry."""
    cursor = (await broker.operations(user_id, limit=1))[0][1]
    return Cursor(cursor.epoch, 0)


async def page(broker: Broker, cursor: Cursor, **arguments: Any) -> Page:
    """The page after `cursor`, which must not be a gap."""
    found = await broker.since(USER, cursor, **arguments)
    assert isinstance(found, Page), found
    return found
