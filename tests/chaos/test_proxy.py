"""The bad network does what it is told, and nothing to what it carries."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.chaos.proxy import CALM, FaultProxy, Faults
from tests.harness import eventually

PAYLOAD = bytes(range(256)) * 400
NASTY = Faults(cut_per_second=0, stall_per_second=0, delay_share=0.5, split_share=0.5)


@asynccontextmanager
async def echoing(faults: Faults) -> AsyncIterator[FaultProxy]:
    """A proxy before a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, FaultProxy(server.sockets[0].getsockname()[1], seed=1, faults=faults) as proxy:
        yield proxy


@pytest.mark.parametrize("faults", [CALM, NASTY], ids=["calm", "nasty"])
async def test_what_is_carried_arrives_whole_and_in_order(faults: Faults) -> None:
    async with echoing(faults) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(PAYLOAD)
        assert await reader.readexactly(len(PAYLOAD)) == PAYLOAD
        writer.write_eof()
        assert await reader.read() == b"", "the end is carried as well"
        writer.close()
    assert bool(proxy.counts["split"] and proxy.counts["delayed"]) is (faults is NASTY)


async def test_connections_are_cut() -> None:
    async with echoing(Faults(cut_per_second=5)) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with suppress(ConnectionResetError):  # that too is how connections end
            assert await reader.read() == b""
        writer.close()
    assert proxy.counts["cut"] == 1


async def test_a_stalled_connection_carries_nothing_and_then_everything() -> None:
    faults = Faults(
        cut_per_second=0, stall_per_second=10, stall_seconds=(0.3, 0.3), delay_share=0, split_share=0
    )
    async with echoing(faults) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await eventually(lambda: proxy.counts["stalled"])
        proxy.faults = CALM
        begun = asyncio.get_running_loop().time()
        writer.write(PAYLOAD)
        assert await reader.readexactly(len(PAYLOAD)) == PAYLOAD
        assert asyncio.get_running_loop().time() - begun > 0.1
        writer.close()


async def test_a_server_that_is_away_refuses() -> None:
    async with FaultProxy(1, seed=1, faults=CALM) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await reader.read() == b""
        writer.close()
    assert proxy.counts["refused"] == 1
