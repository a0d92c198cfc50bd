"""Valkey for whoever asks: one server and one Cluster a session, emptied for each test."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.harness import ValkeyCluster, ValkeyServer


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """Start Valkey for the whole session; who kills it or freezes it starts one of his own instead."""
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    asyncio.run(server.start())
    yield server
    server.sweep()


@pytest.fixture(scope="session")
def valkey_cluster_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    """Start a Cluster of three for the whole session."""
    cluster = ValkeyCluster(tmp_path_factory.mktemp("cluster"))
    asyncio.run(cluster.start())
    yield cluster
    cluster.sweep()


@pytest.fixture
async def valkey(valkey_server: ValkeyServer) -> ValkeyServer:
    """The session's Valkey with nothing in it."""
    await valkey_server.call("FLUSHALL")
    return valkey_server


@pytest.fixture
async def own_valkey(tmp_path: Path) -> AsyncIterator[ValkeyServer]:
    """One that the test may kill or freeze."""
    async with ValkeyServer(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
async def valkey_cluster(valkey_cluster_servers: ValkeyCluster) -> ValkeyCluster:
    """The session's Cluster with nothing in it."""
    for server in valkey_cluster_servers.servers:
        await server.call("FLUSHALL")
    return valkey_cluster_servers
