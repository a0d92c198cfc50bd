"""Which servers are spoken to, and what happens when another one takes over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.brokers.changes import USER, begin_run, name, update
from tests.brokers.valkey.conftest import MakeNode
from tests.brokers.valkey.history import kept, messages
from tests.brokers.valkey.test_announcements import lose_announcements
from tests.harness import ValkeyCluster, ValkeyServer, eventually, free_port
from tests.harness.valkey import SLOTS
from tests.progress.reading import Reader, gaps
from wellnet_sse.brokers.valkey.names import BUCKETS, bucket_of, user_keys
from wellnet_sse.brokers.valkey.shards import Cluster
from wellnet_sse.brokers.valkey.url import parse
from wellnet_sse.errors import UnavailableError
from wellnet_sse.progress.broker import Broker, IdempotencyKey
from wellnet_sse.progress.events import UserId

TAKEN_OVER_SECONDS = 20.0


class Guarded(NamedTuple):
    """A primary, a replica of it, and the URL of the Sentinel that looks after them."""

    primary: ValkeyServer
    replica: ValkeyServer
    url: str


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(
            ValkeyServer(tmp_path / "primary", options={"repl-diskless-sync-delay": 0})
        )
        replica = await stack.enter_async_context(ValkeyServer(tmp_path / "replica"))
        await replica.call("REPLICAOF", "127.0.0.1", primary.port)

        async def follows() -> bool:
            return "'master_link_status': 'up'" in str(await replica.call("INFO", "replication"))

        await eventually(follows)
        configuration = tmp_path / "sentinel.conf"
        configuration.write_text(
            f"sentinel monitor main 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds main 300\n"
            "sentinel failover-timeout main 3000\n"
        )
        sentinel = ValkeyServer(
            tmp_path / "sentinel",
            port=free_port(),
            options={"requirepass": "watch"},
            mode=[str(configuration), "--sentinel"],
        )
        await stack.enter_async_context(sentinel)

        async def knows_replica() -> bool:
            return "'slaves': 1" in str(await sentinel.call("INFO", "sentinel"))

        await eventually(knows_replica, 15)
        yield Guarded(
            primary, replica, f"redis+sentinel://127.0.0.1:{sentinel.port}/main?sentinel_password=watch"
        )


async def append_until_taken(broker: Broker, message: str) -> None:
    key = IdempotencyKey(message, message)

    async def append() -> bool:
        return (await broker.append(USER, "op", update(message=message), key=key)).cursor is not None

    await eventually(append, TAKEN_OVER_SECONDS)


async def test_whoever_the_sentinels_name_next_goes_on_with_the_history(
    make_node: MakeNode, guarded: Guarded
) -> None:
    here, there = [await make_node(guarded.url, wait_seconds=0.5) for _ in range(2)]
    async with Reader(there.hub.subscribe(USER)) as reader:
        await reader.until_live()
        for number in range(3):
            await here.broker.append(USER, "op", update(message=f"{number}"))
        await reader.until(3)
        async with guarded.primary.client() as client:
            assert await client.wait(1, 2000) == 1
        await guarded.primary.kill()
        with pytest.raises(UnavailableError):
            await here.broker.append(USER, "op", update(message="in vain"))
        await append_until_taken(here.broker, "after")
        history = await kept(there.broker)
        assert history[:3] == ["0", "1", "2"]
        assert history[-1] == "after"
        while "after" not in messages(reader.items):
            assert await reader.next() is not None
        assert messages(reader.items) == history
        assert not gaps(reader.items)


async def test_a_bucket_that_moves_to_another_node_of_a_cluster_is_followed(
    make_node: MakeNode, valkey_cluster: ValkeyCluster
) -> None:
    """Its slot is empty: to move what is in one is for a Cluster's own tools."""
    here, there = [await make_node(valkey_cluster.url) for _ in range(2)]
    user_id = UserId(21)
    first, *_ = valkey_cluster.servers
    slot = await first.call("CLUSTER", "KEYSLOT", user_keys(user_id).heads)
    ids = [str(await server.call("CLUSTER", "MYID")) for server in valkey_cluster.servers]
    owner = _owner(slot)
    target = (owner + 1) % len(ids)
    try:
        await _give(valkey_cluster, slot, ids[target])
        async with Reader(there.hub.subscribe(user_id)) as reader:
            async with asyncio.timeout(5):
                await here.broker.append(user_id, "op", update())
                await reader.until(1)
        assert bucket_of(user_id) == 21
        assert await valkey_cluster.servers[target].call("DBSIZE")
    finally:
        for server in valkey_cluster.servers:
            await server.call("FLUSHALL")
        await _give(valkey_cluster, slot, ids[owner])


async def test_a_cluster_of_which_a_part_is_gone_is_not_there(make_node: MakeNode, tmp_path: Path) -> None:
    async with ValkeyCluster(tmp_path / "cluster") as cluster:
        node = await make_node(cluster.url, wait_seconds=0.5)
        await node.broker.check()
        await cluster.servers[1].kill()
        with pytest.raises(UnavailableError):
            await node.broker.check()
        for user_id in map(UserId, range(1, BUCKETS)):
            slot = await cluster.servers[0].call("CLUSTER", "KEYSLOT", user_keys(user_id).log)
            if _owner(slot) != 1:  # the rest goes on
                assert (await node.broker.append(user_id, "op", update())).records


async def test_users_of_other_nodes_are_looked_after_while_one_is_away(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with ValkeyCluster(tmp_path / "cluster") as cluster, AsyncExitStack() as stack:
        here, there = [await make_node(cluster.url, wait_seconds=0.5) for _ in range(2)]
        lose_announcements(there, monkeypatch, lambda: True)
        staying, leaving = [await _user_at(cluster, number) for number in (0, 1)]
        await here.broker.renew("here", lease_ms=60_000)
        for user_id in (staying, leaving):
            await here.broker.append(user_id, "run", begin_run("r1", holder="gone"))
            await here.broker.append(user_id, "rest", name())
        readers = [Reader(there.hub.subscribe(user_id)) for user_id in (staying, leaving)]
        for reader in readers:
            await (await stack.enter_async_context(reader)).until_live()
        assert len(await here.broker.silent(2**52)) == 2
        await cluster.servers[1].kill()

        for _ in range(2):  # in a Cluster it is known at once who is gone; then it is looked at anew
            await here.broker.renew("here", lease_ms=60_000)
            assert await here.broker.orphans() == [(staying, "run", ["r1"])]
            assert await here.broker.silent(2**52) == [(staying, "rest")]
            assert here.broker.active_operations() == 4
            await here.broker.trim()
        assert await there.broker.alive("here")
        with pytest.raises(UnavailableError):  # it may have said there that it lives
            await there.broker.alive("gone")
        appended = await here.broker.append(staying, "op", update())
        async with asyncio.timeout(5):
            await readers[0].until(appended.records[-1].cursor.seq)


async def test_nodes_that_are_gone_are_let_go_of_once_although_several_look_at_once(
    valkey: ValkeyServer, valkey_cluster: ValkeyCluster
) -> None:
    shards = Cluster(parse(valkey_cluster.url))
    await shards.refresh()
    for host in ("127.0.0.1", "localhost"):  # as if these had been of the Cluster until now
        await shards._shard(host, valkey.port).exchange([("PING",)])
    (ranges,) = await shards.all()[0].exchange([("CLUSTER", "SLOTS")])
    await asyncio.gather(*(shards._take("127.0.0.1", ranges) for _ in range(4)))
    assert len(shards._shards) == len(shards.all()) == len(valkey_cluster.servers)
    await shards.aclose()


async def _user_at(cluster: ValkeyCluster, number: int) -> UserId:
    """A user whose history stands at that server."""
    for user_id in map(UserId, range(1, BUCKETS)):
        if _owner(await cluster.servers[0].call("CLUSTER", "KEYSLOT", user_keys(user_id).log)) == number:
            return user_id
    raise LookupError(number)


def _owner(slot: object) -> int:
    return int(str(slot)) * 3 // SLOTS


async def _give(cluster: ValkeyCluster, slot: object, node_id: str) -> None:
    for server in cluster.servers:
        await server.call("CLUSTER", "SETSLOT", slot, "NODE", node_id)
