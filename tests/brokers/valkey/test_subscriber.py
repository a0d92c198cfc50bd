"""The connection over which a node announces."""

import time

from tests.brokers.changes import USER, update
from tests.brokers.valkey.conftest import MakeNode
from tests.harness import ValkeyServer, eventually
from tests.progress.reading import Reader
from wellnet_sse.brokers.valkey.shards import One
from wellnet_sse.brokers.valkey.subscriber import Subscriber
from wellnet_sse.brokers.valkey.url import parse

CHANNELS = 20_000


async def test_one_who_comes_or_goes_costs_the_same_however_many_there_are(valkey: ValkeyServer) -> None:
    shards = One(parse(valkey.url))
    subscriber = Subscriber(shards.of(0), lambda _channel, _message: None)
    events = [subscriber.add(f"{number}") for number in range(CHANNELS)]
    await eventually(lambda: all(event.is_set() for event in events), 20)
    began = time.process_time()
    for number in range(CHANNELS):
        subscriber.remove(f"{number}")
        subscriber.add(f"{number}")
    assert time.process_time() - began < 2  # ten times that, if all were looked at for each
    await subscriber.aclose()
    await shards.aclose()


async def test_a_node_that_is_no_more_is_not_listened_to(make_node: MakeNode) -> None:
    node = await make_node()
    watches = node.broker._watches
    gone = Subscriber(node.broker._link.shards.of(0), lambda _channel, _message: None)
    watches._subscribers["gone", 1] = gone  # as if it had been of a Cluster until now
    async with Reader(node.hub.subscribe(USER)) as reader:
        await reader.until_live()
        await watches.check()
        assert gone._task.done()
        await node.broker.append(USER, "op", update())
        await reader.until(1)
