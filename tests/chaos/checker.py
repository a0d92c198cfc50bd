"""Compares the ledger of the publishers with the log of each client (protocol §2, §3, §5 and §8)."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from tests.chaos.ledger import Ledger, Log, Place, Publish, Seen, seq_of, split_cursor

ANNOUNCED = "Pendiente"


class Fault(StrEnum):
    """What can be wrong with a history."""

    LOST = "lost"
    DOUBLED = "doubled"
    DISORDER = "out of order"
    AFTER_ENDING = "after the ending"
    FALLING = "progress falling"
    CONFLICT = "different content"
    INVENTED = "never published"
    GAP = "unexpected gap"


class Finding(NamedTuple):
    """One fault, and where."""

    fault: Fault
    client: str
    detail: str


def check(ledger: Ledger, logs: Sequence[Log]) -> list[Finding]:
    """Everything that is wrong; nothing where the promise was kept.

    For histories that are kept whole: a `gap`, or a change of epoch, is a fault here.
    """
    book = _Book(ledger)
    findings = list(_contents_differ(logs))
    for log in logs:
        events = log.events()
        if log.operation_id is None and log.complete_after is None:
            findings.append(Finding(Fault.LOST, log.client, "it was never live"))
        findings += _gaps(log)
        findings += _order_on_the_wire(log)
        findings += _order(log, events)
        findings += _holes(log, events)
        findings += _against(book, log, events)
        findings += _doubled(book, log, events)
        findings += _stories(book, log, events)
    return findings


def summary(findings: Iterable[Finding], *, examples: int = 20) -> str:
    """How many of each fault, and the first of them."""
    findings = list(findings)
    counts = Counter(finding.fault.value for finding in findings)
    lines = [f"  {fault}: {count}" for fault, count in counts.most_common()]
    lines += [f"  {it.client}: {it.fault}: {it.detail}" for it in findings[:examples]]
    return "\n".join([f"{len(findings)} faults", *lines])


class _Book:
    """The ledger, as it is looked up."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.by_user: dict[int, list[Publish]] = defaultdict(list)
        self.by_place: dict[Place, list[Publish]] = defaultdict(list)
        self.by_message: dict[tuple[Place, str, str], Publish] = {}
        for publish in ledger.publishes:
            self.by_user[publish.user].append(publish)
            self.by_place[publish.place].append(publish)
            self.by_message[(publish.place, publish.step, publish.message)] = publish

    def published(self, log: Log) -> Sequence[Publish]:
        """What the client should know of."""
        if log.operation_id is None:
            return self.by_user[log.user]
        return self.by_place[(log.user, log.operation_id)]

    def behind(self, user: int, seen: Seen) -> Publish | None:
        """The publish that an event tells."""
        data = seen.data
        return self.by_message.get(((user, data["operation_id"]), data["step"], data["message"]))


def _gaps(log: Log) -> Iterator[Finding]:
    for gap in log.gaps:
        yield Finding(Fault.GAP, log.client, str(dict(gap)))
    epochs = {split_cursor(seen.cursor)[0] for seen in log.seen}
    if len(epochs) > 1:
        yield Finding(Fault.GAP, log.client, f"the epoch changed: {sorted(epochs)}")


def _order_on_the_wire(log: Log) -> Iterator[Finding]:
    """On one connection ids rise, and the first is later than the cursor it was opened with."""
    last = [seq_of(asked) for asked in log.asked]
    for seen in log.seen:
        seq = seq_of(seen.cursor)
        if seq <= last[seen.connection]:
            detail = f"{seen.cursor} after {last[seen.connection]} on connection {seen.connection}"
            yield Finding(Fault.DISORDER, log.client, detail)
        last[seen.connection] = max(seq, last[seen.connection])


def _order(log: Log, events: Sequence[Seen]) -> Iterator[Finding]:
    """What the client has after it dropped what it had seen is in the order of history."""
    newest = 0
    for seen in events:
        seq = seq_of(seen.cursor)
        if seq < newest:
            yield Finding(Fault.DISORDER, log.client, f"{seen.cursor} after {newest}")
        newest = max(seq, newest)


def _holes(log: Log, events: Sequence[Seen]) -> Iterator[Finding]:
    """Who watches everything sees every place, also of what nobody was answered for."""
    if log.operation_id is not None or log.complete_after is None:
        return
    known = {seq_of(seen.cursor) for seen in events}
    for seq in range(seq_of(log.complete_after) + 1, max(known, default=0)):
        if seq not in known:
            yield Finding(Fault.LOST, log.client, f"no event at {seq}")


def _against(book: _Book, log: Log, events: Sequence[Seen]) -> Iterator[Finding]:
    """What was answered is there, at its place, as it was answered."""
    if log.complete_after is None:
        return
    by_cursor = {seen.cursor: seen for seen in events}
    upto = max((seq_of(seen.cursor) for seen in events), default=0) if log.closed else None
    for publish in book.published(log):
        if publish.cursor is None:
            continue
        seq = seq_of(publish.cursor)
        if seq <= seq_of(log.complete_after) or (upto is not None and seq > upto):
            continue
        seen = by_cursor.get(publish.cursor)
        if seen is None:
            yield Finding(Fault.LOST, log.client, f"{publish.cursor} {publish.message!r}")
        elif not _tells(seen, publish):
            yield Finding(Fault.CONFLICT, log.client, f"{dict(seen.data)} for {publish}")


def _tells(seen: Seen, publish: Publish) -> bool:
    data = seen.data
    wanted = (publish.operation_id, publish.step, publish.status, publish.message)
    if seen.is_ending or tuple(data[key] for key in ("operation_id", "step", "status", "message")) != wanted:
        return False
    told: int | None = data["progress"]
    if publish.status == "error":
        return told == 0
    if publish.progress is None:
        return told == (100 if publish.status == "completed" else None)
    return told is not None and told >= publish.progress


def _doubled(book: _Book, log: Log, events: Sequence[Seen]) -> Iterator[Finding]:
    """No publish is there twice, and nothing that nobody published."""
    places: dict[tuple[str, str, str], str] = {}
    for seen in events:
        if seen.is_ending:
            continue
        data = seen.data
        key = (data["operation_id"], data["step"], data["message"])
        if key in places:
            yield Finding(Fault.DOUBLED, log.client, f"{key} at {places[key]} and {seen.cursor}")
        places[key] = seen.cursor
        declared = book.ledger.declared.get((log.user, data["operation_id"]), ())
        announced = data["status"] == "pending" and data["message"] == ANNOUNCED and data["step"] in declared
        if not announced and book.behind(log.user, seen) is None:
            yield Finding(Fault.INVENTED, log.client, f"{seen.cursor} {dict(data)}")


def _contents_differ(logs: Sequence[Log]) -> Iterator[Finding]:
    """A cursor stands for one event, whoever sees it and however often."""
    contents: dict[tuple[int, str], Mapping[str, Any]] = {}
    for log in logs:
        for seen in log.seen:
            known = contents.setdefault((log.user, seen.cursor), seen.data)
            if known is not seen.data and known != seen.data:
                detail = f"{seen.cursor}: {dict(known)} and {dict(seen.data)}"
                yield Finding(Fault.CONFLICT, log.client, detail)


def _stories(book: _Book, log: Log, events: Sequence[Seen]) -> Iterator[Finding]:
    """What is told of each operation: nothing after its ending, progress that does not fall."""
    stories: dict[str, list[Seen]] = defaultdict(list)
    for seen in sorted(events, key=lambda it: seq_of(it.cursor)):
        stories[seen.data["operation_id"]].append(seen)
    known = {operation_id for user, operation_id in book.ledger.endings if user == log.user}
    wanted = known if log.operation_id is None else known & {log.operation_id}
    for operation_id in wanted | stories.keys():
        story = stories[operation_id]
        yield from _after_ending(book, log, story)
        yield from _falling(log, story)
        yield from _endings(book, log, operation_id, story)


def _after_ending(book: _Book, log: Log, story: Sequence[Seen]) -> Iterator[Finding]:
    ended: Seen | None = None
    for seen in story:
        if ended is None:
            ended = seen if seen.is_ending else None
            continue
        publish = None if seen.is_ending else book.behind(log.user, seen)
        if publish is None or not publish.reopens:
            yield Finding(Fault.AFTER_ENDING, log.client, f"{seen.cursor} {dict(seen.data)} after {ended}")
        if not seen.is_ending:
            ended = None


def _falling(log: Log, story: Sequence[Seen]) -> Iterator[Finding]:
    last: dict[str, tuple[str, int]] = {}
    for seen in story:
        if seen.is_ending:
            continue
        data = seen.data
        status, floor = last.get(data["step"], ("pending", 0))
        again = status == "error" or (data["status"] == "pending" and status != "pending")
        floor = 0 if again else floor
        progress = data["progress"]
        if data["status"] != "error" and progress is not None:
            if progress < floor:
                detail = f"{seen.cursor} {data['operation_id']} {data['step']}: {progress} after {floor}"
                yield Finding(Fault.FALLING, log.client, detail)
            floor = progress
        last[data["step"]] = (data["status"], floor)


def _endings(book: _Book, log: Log, operation_id: str, story: Sequence[Seen]) -> Iterator[Finding]:
    """One ending for each opening, with the outcome that the rules give it."""
    if log.complete_after is None:
        return
    wanted = book.ledger.endings.get((log.user, operation_id), [])
    told = [seen.data["outcome"] for seen in story if seen.is_ending]
    published = book.by_place[(log.user, operation_id)]
    first = min((seq_of(it.cursor) for it in published if it.cursor is not None), default=0)
    if seq_of(log.complete_after) < first and not log.closed:
        differs = told != wanted
    else:
        # Joined in the middle, or left before a re-opening: a part of the endings, in their order.
        rest = iter(wanted)
        differs = not all(outcome in rest for outcome in told) or (bool(wanted) and not told)
    if differs:
        fault = Fault.LOST if len(told) < len(wanted) else Fault.DOUBLED
        yield Finding(fault, log.client, f"endings of {operation_id}: {told} instead of {wanted}")
