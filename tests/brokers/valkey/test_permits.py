"""How fast users act is counted over all nodes, and the store is asked seldom."""

import asyncio
import re
import time

from tests.brokers.changes import USER
from tests.brokers.valkey.conftest import MakeNode, Node
from tests.harness import ValkeyServer, eventually
from wellnet_sse.brokers.valkey.names import rate_key
from wellnet_sse.brokers.valkey.permits import SHARE
from wellnet_sse.progress.broker import Rate

SLOW = Rate(per_second=0.1, burst=20)
FAST = Rate(per_second=1000, burst=1000)


async def admitted(nodes: list[Node], times: int, rate: Rate) -> list[int]:
    """How many of so many actions at each node, all at once, are let in there."""
    asked = [[node.broker.admit(USER, rate) for _ in range(times)] for node in nodes]
    waits = await asyncio.gather(*(asyncio.gather(*one) for one in asked))
    return [one.count(0) for one in waits]


async def scripts_run(valkey: ValkeyServer) -> int:
    """How often scripts were run in it."""
    found = re.search(r"'calls': (\d+)", str((await _stats(valkey)).get("cmdstat_evalsha")))
    return int(found[1]) if found else 0


async def _stats(valkey: ValkeyServer) -> dict[str, object]:
    async with valkey.client() as client:
        stats: dict[str, object] = await client.info("commandstats")
        return stats


async def test_all_nodes_together_let_in_one_burst(make_node: MakeNode) -> None:
    nodes = [await make_node(), await make_node()]
    assert sum(await admitted(nodes, 30, SLOW)) == 20
    for node in nodes:
        assert 0 < await node.broker.admit(USER, SLOW) <= 10


async def test_a_flood_at_all_nodes_is_let_in_at_the_lasting_rate(make_node: MakeNode) -> None:
    nodes = [await make_node(), await make_node()]
    rate = Rate(per_second=200, burst=100)  # which a pause of this process does not fill
    begun, count = time.monotonic(), 0
    while time.monotonic() < begun + 0.5:
        count += sum(await admitted(nodes, 20, rate))
    seconds = time.monotonic() - begun
    held = len(nodes) * rate.burst / SHARE
    assert 0.9 * rate.per_second * seconds - held < count - rate.burst < rate.per_second * seconds + 1


async def test_to_act_often_is_not_to_ask_often(make_node: MakeNode, valkey: ValkeyServer) -> None:
    node = await make_node()
    before = await scripts_run(valkey)
    assert await admitted([node], 500, FAST) == [500]
    assert await scripts_run(valkey) - before <= 500 / (FAST.per_second / SHARE) + 1  # or it looked once more


async def test_who_is_refused_is_refused_without_asking(make_node: MakeNode, valkey: ValkeyServer) -> None:
    node = await make_node()
    assert await admitted([node], 21, SLOW) == [20]
    before = await scripts_run(valkey)
    assert await admitted([node], 500, SLOW) == [0]
    assert await scripts_run(valkey) == before


async def test_what_is_noted_ends_by_itself(make_node: MakeNode, valkey: ValkeyServer) -> None:
    node = await make_node()
    assert await admitted([node], 3, Rate(per_second=0.2, burst=3)) == [3]
    left_ms = await valkey.call("PTTL", rate_key(USER))
    assert isinstance(left_ms, int)
    assert 0 < left_ms <= 15_000


async def test_while_the_store_is_away_each_node_counts_alone(
    make_node: MakeNode, own_valkey: ValkeyServer
) -> None:
    nodes = [await make_node(own_valkey.url, wait_seconds=0.2) for _ in range(2)]
    assert sum(await admitted(nodes, 30, SLOW)) == 20
    await own_valkey.kill()
    fresh = Rate(per_second=0.2, burst=5)
    for other, node in enumerate(nodes, 1):
        waits = [await node.broker.admit(type(USER)(USER + other), fresh) for _ in range(9)]
        assert waits.count(0) == 5
        assert all(0 <= wait <= 5 for wait in waits)
    await own_valkey.start()

    async def is_asked_again() -> bool:
        await nodes[0].broker.admit(USER + 1, fresh)  # type: ignore[arg-type]
        return bool(await own_valkey.call("EXISTS", rate_key(USER + 1)))  # type: ignore[arg-type]

    assert await eventually(is_asked_again)


async def test_a_store_that_hangs_holds_nobody_up_for_long(
    make_node: MakeNode, own_valkey: ValkeyServer
) -> None:
    node = await make_node(own_valkey.url)
    own_valkey.freeze()
    begun = time.monotonic()
    assert await admitted([node], 50, FAST) == [50]
    assert time.monotonic() - begun < 4
    own_valkey.thaw()
