"""Readers who are told the same are told together, and none of them pays for another."""

from collections.abc import Sequence

import pytest

from tests.brokers.changes import publish
from tests.progress.connecting import close, direct, encode, settle
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.progress.hub import Hub
from wellnet_sse.progress.items import Item


async def test_a_transport_that_cannot_encode_takes_nothing_from_the_others(
    hub: Hub, broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_items: Sequence[Item]) -> bytes:
        raise ValueError("a fault of this transport alone")

    readers = [await direct(hub, encoder=encoder) for encoder in (encode, fail, encode, fail)]
    await publish(broker, 3)
    await settle()
    assert [reader.connection.lines[-3:] for reader in readers[::2]] == [["1", "2", "3"]] * 2
    assert [reader.connection.aborted for reader in readers] == [False, True, False, True]
    assert "a fault of this transport alone" in caplog.text
    await close(hub, *readers)
