"""The Valkey of the tests: durable, killed and started again, and three of them as a Cluster."""

from pathlib import Path

import pytest
from redis.asyncio import RedisCluster
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.harness import ValkeyCluster, ValkeyServer


async def test_what_it_answered_survives_its_being_killed(tmp_path: Path) -> None:
    async with ValkeyServer(tmp_path) as server:
        await server.call("SET", "a", "1")
        await server.restart()
        assert await server.call("GET", "a") == "1"


async def test_a_frozen_one_answers_nothing_until_it_is_thawed(tmp_path: Path) -> None:
    async with ValkeyServer(tmp_path) as server, server.client(timeout_seconds=0.2) as client:
        await client.set("a", "1")
        server.freeze()
        with pytest.raises(RedisTimeoutError):
            await client.get("a")
        server.thaw()
        assert await client.get("a") == "1"


async def test_three_make_one_cluster(valkey_cluster: ValkeyCluster) -> None:
    ports = {server.port for server in valkey_cluster.servers}
    async with RedisCluster(host="127.0.0.1", port=min(ports), decode_responses=True) as client:
        for number in range(50):
            await client.set(f"{{{number}}}", number)
        assert [await client.get(f"{{{number}}}") for number in range(50)] == [str(n) for n in range(50)]
        assert {node.port for node in client.get_primaries()} == ports
    assert all([await server.call("DBSIZE") for server in valkey_cluster.servers])
