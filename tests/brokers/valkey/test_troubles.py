"""A store that dies, freezes, is full, is cut off for one node, or comes back with less than it had."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.brokers.changes import USER, update
from tests.brokers.valkey.conftest import MakeNode
from tests.brokers.valkey.history import kept, messages
from tests.chaos.proxy import CALM, FaultProxy
from tests.harness import ValkeyServer, eventually
from tests.progress.reading import Reader, gaps, record_of
from wellnet_sse.brokers.valkey import writer
from wellnet_sse.errors import UnavailableError
from wellnet_sse.progress.broker import Broker, IdempotencyKey, Rate, Wanted
from wellnet_sse.progress.items import Live

RETURN_SECONDS = 5.0
"""Within which all must be well again after the store is back."""

PACE_SECONDS = 0.005
"""Between a publisher's events: readers are to be told each, so not so many may come at once."""


async def _publish_on(broker: Broker, answered: list[str], lane: str) -> None:
    """Publish one event after another, each until it is answered, and note those that were."""
    for number in range(10_000):
        message = f"{lane}-{number}"
        while True:
            try:
                key = IdempotencyKey(message, message)
                await broker.append(USER, f"op-{lane}", update(message=message), key=key)
                break
            except UnavailableError:
                await asyncio.sleep(0.01)
        answered.append(message)
        await asyncio.sleep(PACE_SECONDS)


@contextmanager
def publishing(*brokers: Broker) -> Iterator[list[str]]:
    """Publishers at work in the block; what was answered."""
    answered: list[str] = []
    tasks = [asyncio.create_task(_publish_on(broker, answered, f"{n}")) for n, broker in enumerate(brokers)]
    try:
        yield answered
    finally:
        for task in tasks:
            task.cancel()


async def _until_told(reader: Reader, message: str) -> None:
    if message not in messages(reader.items):
        while message not in messages(await reader.next() or ()):
            assert reader.subscription.reason is None


async def _is_told_all(reader: Reader, broker: Broker, answered: list[str]) -> None:
    """It comes to be told all that is kept, once and in order; and what was answered is kept."""
    history = await kept(broker)
    await _until_told(reader, history[-1])
    assert messages(reader.items) == history
    assert len(set(history)) == len(history)
    assert set(answered) <= set(history)


async def _grows(answered: list[str]) -> None:
    before = len(answered)
    await eventually(lambda: len(answered) >= before + 5, RETURN_SECONDS)


async def test_what_was_answered_survives_a_store_that_is_killed_again_and_again(
    make_node: MakeNode, own_valkey: ValkeyServer
) -> None:
    nodes = [await make_node(own_valkey.url, wait_seconds=0.5) for _ in range(2)]
    async with Reader(nodes[1].hub.subscribe(USER)) as reader:
        await reader.until_live()
        with publishing(*(node.broker for node in nodes)) as answered:
            for _ in range(3):
                await _grows(answered)
                await own_valkey.restart()
                async with asyncio.timeout(RETURN_SECONDS):
                    await _grows(answered)
                    await _until_told(reader, answered[-1])
        await _is_told_all(reader, nodes[0].broker, answered)
    assert not gaps(reader.items)


async def test_a_frozen_store_answers_nobody_falsely_and_all_is_well_when_it_goes_on(
    make_node: MakeNode, own_valkey: ValkeyServer
) -> None:
    nodes = [await make_node(own_valkey.url, wait_seconds=0.3) for _ in range(2)]
    async with Reader(nodes[1].hub.subscribe(USER)) as reader:
        await reader.until_live()
        with publishing(*(node.broker for node in nodes)) as answered:
            await _grows(answered)
            own_valkey.freeze()
            async with asyncio.timeout(1):
                for question in (
                    nodes[0].broker.state(USER, Wanted()),
                    nodes[0].broker.append(USER, "other", update(message="refused")),
                ):
                    with pytest.raises(UnavailableError):
                        await question
            before = len(answered)
            await asyncio.sleep(1)  # so long it is away; nothing is waited for
            assert len(answered) == before
            own_valkey.thaw()
            async with asyncio.timeout(RETURN_SECONDS):
                await _grows(answered)
                await _until_told(reader, answered[-1])
        await _is_told_all(reader, nodes[0].broker, answered)


async def test_one_node_that_is_cut_off_catches_up_and_the_other_never_notices(
    make_node: MakeNode, valkey: ValkeyServer
) -> None:
    async with FaultProxy(valkey.port, seed=1, faults=CALM) as proxy:
        here = await make_node()
        there = await make_node(f"redis://127.0.0.1:{proxy.port}", wait_seconds=0.3)
        async with Reader(there.hub.subscribe(USER)) as reader:
            await reader.until_live()
            with publishing(here.broker) as answered:
                with proxy.cut_off():
                    with pytest.raises(UnavailableError):
                        await there.broker.append(USER, "other", update(message="in doubt"))
                    with pytest.raises(UnavailableError):
                        await there.broker.check()
                    await _grows(answered)
                async with asyncio.timeout(RETURN_SECONDS):
                    await _until_told(reader, answered[-1])
            await _is_told_all(reader, here.broker, answered)
        assert not gaps(reader.items)


async def test_so_many_may_wait_for_a_store_that_is_away_and_the_next_is_refused_at_once(
    make_node: MakeNode, own_valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_WAITING", 20)
    node = await make_node(own_valkey.url, wait_seconds=10)
    await node.broker.append(USER, "op", update())
    own_valkey.freeze()
    waiting = [asyncio.create_task(node.broker.append(USER, f"op{n}", update())) for n in range(20)]
    more: list[asyncio.Task[Any]] = []
    while not any(task.done() for task in more):
        assert len(more) <= 2 * writer.MAX_WAITING
        more.append(asyncio.create_task(node.broker.append(USER, f"more{len(more)}", update())))
        await asyncio.sleep(0)
    with pytest.raises(UnavailableError):
        await next(task for task in more if task.done())
    own_valkey.thaw()
    assert all(appended.records for appended in await asyncio.gather(*waiting))
    await asyncio.gather(*more, return_exceptions=True)


# A store that comes back with less than it had


async def _snapshot(valkey: ValkeyServer) -> Callable[[], Any]:
    """What is kept now; gives what puts it back, as a replica that lags behind would."""
    async with valkey.client() as client:
        client.connection_pool.connection_kwargs["decode_responses"] = False
        dumps = {name: await client.dump(name) or b"" for name in await client.keys("*")}

    async def restore() -> None:
        async with valkey.client() as client:
            client.connection_pool.connection_kwargs["decode_responses"] = False
            await client.flushall()
            for name, dump in dumps.items():
                await client.restore(name, 0, dump)

    return restore


@pytest.mark.parametrize("setting", ["maxmemory", "min-replicas-to-write"])
async def test_a_store_that_takes_nothing_new_refuses_it_whole_and_is_read_on(
    make_node: MakeNode, own_valkey: ValkeyServer, setting: str
) -> None:
    """Nothing of it stays there, its key neither; and once it may it goes on."""
    broker = (await make_node(own_valkey.url, wait_seconds=0.3)).broker
    await broker.append(USER, "op", update(message="before"))
    again = IdempotencyKey("key", "of the second")
    await own_valkey.call("CONFIG", "SET", setting, 1)
    with pytest.raises(UnavailableError):
        await broker.append(USER, "op", update(message="second"), key=again)
    with pytest.raises(UnavailableError):
        await broker.reserve(USER, "holder", streams=1, version=1, limit=9)
    with pytest.raises(UnavailableError):
        await broker.check()
    assert await broker.admit(USER, Rate(1, 1)) == 0
    assert await kept(broker) == ["before"]
    await own_valkey.call("CONFIG", "SET", setting, 0)
    await broker.append(USER, "op", update(message="second"), key=again)
    assert await kept(broker) == ["before", "second"]


async def test_numbers_that_fell_back_get_a_new_epoch_and_readers_a_gap(
    make_node: MakeNode, valkey: ValkeyServer
) -> None:
    here, there = await make_node(), await make_node()
    async with Reader(here.hub.subscribe(USER)) as reader:
        await reader.until_live()
        await here.broker.append(USER, "op", update(message="kept"))
        restore = await _snapshot(valkey)
        await here.broker.append(USER, "op", update(message="lost"))
        await reader.until(2)
        await restore()
        appended = await here.broker.append(USER, "op", update(message="after"))
        assert [record.cursor.seq for record in appended.records] == [2]
        await _until_told(reader, "after")
        (gap,) = gaps(reader.items)
        assert isinstance(reader.items[-1], Live) or await reader.until_live()
    epochs = {record.cursor.epoch for item in reader.items if (record := record_of(item)) is not None}
    assert len(epochs) == 2
    assert gap.latest is not None
    assert gap.latest.epoch == appended.records[0].cursor.epoch
    assert await kept(there.broker) == ["kept", "after"]


async def test_numbers_that_were_given_again_are_noticed_by_who_saw_the_first_ones(
    make_node: MakeNode, valkey: ValkeyServer
) -> None:
    """A node that had seen nothing writes on over the lost place, before anybody who knows better comes."""
    here = await make_node()
    async with Reader(here.hub.subscribe(USER)) as reader:
        await reader.until_live()
        await here.broker.append(USER, "op", update(message="kept"))
        restore = await _snapshot(valkey)
        await here.broker.append(USER, "op", update(message="lost"))
        old = (await reader.until(2))[-1]
        await restore()
        there = await make_node()
        await there.broker.append(USER, "op", update(message="again"))
        await _until_told(reader, "again")
        assert len(gaps(reader.items)) == 1
        record = record_of(old)
        assert record is not None
        resumed = Reader(there.hub.subscribe(USER, cursor=str(record.cursor)))
        async with resumed:
            await resumed.until_live()
        assert len(gaps(resumed.items)) == 1
