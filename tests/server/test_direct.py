"""Writing past the send chain: what waits for a peer is bounded, whatever the connection."""

import asyncio
import contextlib

import pytest
import uvloop

from tests.harness import Certificate
from wellnet_sse.progress.level import BUFFER_BYTES
from wellnet_sse.server.direct import DirectWriter
from wellnet_sse.server.tls import client_context, server_context


@pytest.mark.parametrize("is_tls", [False, True])
def test_as_much_waits_for_a_peer_over_tls_as_without(certificate: Certificate, is_tls: bool) -> None:
    assert uvloop.run(waiting_for_a_peer_that_reads_nothing(certificate, is_tls)) <= 2 * BUFFER_BYTES


async def waiting_for_a_peer_that_reads_nothing(certificate: Certificate, is_tls: bool) -> int:
    """How many bytes are in this process when there is no more room, where that can be seen."""
    accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(
        lambda _reader, writer: accepted.set_result(writer),
        "127.0.0.1",
        ssl=server_context(certificate.path, certificate.key) if is_tls else None,
    )
    async with server:
        trust = client_context(certificate.path) if is_tls else None
        _, mute = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=trust, limit=1)
        writer = await accepted
        connection = DirectWriter(writer)
        with contextlib.suppress(TimeoutError):
            while True:
                connection.write(bytes(16 * 1024))
                async with asyncio.timeout(0.5):
                    await connection.drain()
        waiting = connection.buffered()
        connection.abort()
        mute.transport.abort()
        return waiting
