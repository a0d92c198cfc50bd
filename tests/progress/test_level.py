"""Level readers are written the same, with no look at each (design §4)."""

from collections.abc import Sequence

import pytest

from tests.brokers.changes import USER, publish
from tests.progress.connecting import Connection, close, direct, settle
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.progress.hub import Hub
from wellnet_sse.progress.items import Item
from wellnet_sse.progress.level import Level


async def test_what_cannot_be_encoded_ends_those_it_was_for_and_nobody_else(
    hub: Hub, broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_items: Sequence[Item]) -> bytes:
        raise ValueError("a fault of this transport alone")

    healthy, failing = await direct(hub), await direct(hub)
    failing.subscription.encode = fail
    await publish(broker, 1)
    await settle()
    assert (healthy.connection.lines, failing.connection.lines) == (["1"], [])
    assert (healthy.connection.aborted, failing.connection.aborted) == (False, True)
    assert "readers_failed" in caplog.text
    await close(hub, healthy, failing)


async def test_who_comes_while_records_are_pending_is_told_each_once(
    hub: Hub, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await direct(hub)
    monkeypatch.setattr(hub, "_schedule_flush", lambda: None)
    await publish(broker, 2)
    earliest, _ = await broker.bounds(USER)
    assert earliest is not None
    second = await direct(hub, cursor=str(earliest._replace(seq=0)))
    assert (first.connection.lines, second.connection.lines) == ([], ["1", "2"])
    for _ in range(2):
        await publish(broker, 1)
        hub._flush()
        await settle()
    assert first.connection.lines == second.connection.lines == ["1", "2", "3", "4"]
    assert first.connection.written[-1] is second.connection.written[-1]
    await close(hub, first, second)


async def test_a_connection_is_asked_for_its_room_only_when_it_may_have_none(
    hub: Hub, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Connection] = []
    buffered = Connection.buffered

    def looked_at(self: Connection) -> int:
        looks.append(self)
        return buffered(self)

    monkeypatch.setattr(Connection, "buffered", looked_at)
    reader = await direct(hub)
    for _ in range(20):
        await publish(broker, 1)
        await settle()
    assert len(reader.connection.lines) == 20
    assert len(looks) < 5
    await close(hub, reader)


async def test_what_was_pending_when_history_began_anew_is_not_told_after_it(
    hub: Hub, broker: MemoryBroker
) -> None:
    reader = await direct(hub)
    await publish(broker, 5)
    await settle()
    await publish(broker, 1)  # is pending
    broker._logs.clear()  # all is lost, and numbers begin again
    await publish(broker, 1)
    await settle()
    await close(hub, reader)
    assert "6" not in reader.connection.lines
    assert reader.connection.lines[-1] == "1"


async def test_a_flush_that_fails_takes_nothing_from_anybody(
    hub: Hub, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = await direct(hub), await direct(hub, operation_id="op")
    await publish(broker, 1)
    await settle()

    def fail(*_: object) -> list[object]:
        raise LookupError("nobody expected that")

    with monkeypatch.context() as patch:
        patch.setattr(Level, "without_room", fail)
        await publish(broker, 1)
        await settle()
    await publish(broker, 1)
    await settle()
    assert "flush_failed" in caplog.text
    assert [reader.connection.lines for reader in (first, second)] == [["1", "2", "3"]] * 2
    await close(hub, first, second)
