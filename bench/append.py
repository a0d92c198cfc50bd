"""`python -m bench.append`: how many appends a second are durable, and how long each waits.

In process, with the `sql` broker on SQLite and with Valkey (`appendfsync always`): publishers that each await
their `append`; for Valkey also what an event costs. Then through the HTTP publisher endpoint of a real
server on either, from one process with keep-alive connections.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import httpx
import uvloop

from bench.load.meter import cpu_ns, memory_bytes
from bench.servers.several import valkey_in
from wellnet_sse.brokers.sql import SqlBroker
from wellnet_sse.brokers.valkey import ValkeyBroker
from wellnet_sse.progress.broker import Broker
from wellnet_sse.progress.events import Status, UserId
from wellnet_sse.progress.hub import wall_clock_ms
from wellnet_sse.progress.operation import Operation
from wellnet_sse.storage.database import Database

USERS = 50
MESSAGE = "Eliminando configuración IP..."

Publish = Callable[[int, int], Awaitable[object]]


def main() -> None:
    """Measure, and print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--publishers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        uvloop.run(_in_database(Path(directory), options.publishers, options.seconds))
        uvloop.run(_in_valkey(Path(directory), options.publishers, options.seconds))
        publishers = min(options.publishers, 64)
        uvloop.run(_over_http(Path(directory), publishers, options.seconds, "SQLite", "sql://"))
        folder = Path(directory) / "served"
        folder.mkdir()
        process, url = valkey_in(folder)
        try:
            uvloop.run(_over_http(Path(directory), publishers, options.seconds, "Valkey", url))
        finally:
            process.kill()
            process.wait()


async def _in_database(directory: Path, publishers: int, seconds: float) -> None:
    database = Database(f"sqlite:///{directory}/append.db")
    await database.migrate()
    broker = SqlBroker(
        database,
        history_ms=86_400_000,
        history_events=10_000,
        lock_wait_seconds=1,
        clock=wall_clock_ms,
    )
    await broker.start()

    async def checkpoint() -> None:
        while True:
            await asyncio.sleep(2)
            await database.checkpoint()

    checkpoints = asyncio.create_task(checkpoint())
    await _measure("in process, SQLite", partial(_append, broker), publishers, seconds)
    checkpoints.cancel()
    await broker.aclose()
    await database.aclose()


async def _in_valkey(directory: Path, publishers: int, seconds: float) -> None:
    process, url = valkey_in(directory)
    try:
        broker = ValkeyBroker(
            url, history_ms=86_400_000, history_events=1_000_000, wait_seconds=20, clock=wall_clock_ms
        )
        await broker.start()
        cpu, memory, own = cpu_ns(process.pid), memory_bytes([process.pid]), time.process_time()
        count = await _measure("in process, Valkey", partial(_append, broker), publishers, seconds)
        print(
            f"  an event: {(time.process_time() - own) / count * 1e6:.0f} µs here, "
            f"{(cpu_ns(process.pid) - cpu) / count / 1000:.0f} µs and "
            f"{(memory_bytes([process.pid]) - memory) / count:.0f} bytes in Valkey"
        )
        await broker.aclose()
    finally:
        process.kill()
        process.wait()


async def _append(broker: Broker, publisher: int, number: int) -> object:
    change = partial(
        Operation.update,
        step="remove-router",
        status=Status.IN_PROGRESS,
        message=MESSAGE,
        progress=number % 100,
    )
    return await broker.append(UserId(publisher % USERS + 1), f"op-{publisher}", change)


async def _over_http(directory: Path, publishers: int, seconds: float, history: str, broker_url: str) -> None:
    environment = {
        **os.environ,
        "WELLNET_DATABASE_URL": f"sqlite:///{directory}/{history}.db",
        "WELLNET_BROKER_URL": broker_url,
    }
    command = [sys.executable, "-m", "wellnet_sse", "serve", "--bind", "127.0.0.1:4489"]
    server = await asyncio.create_subprocess_exec(
        *command, env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        limits = httpx.Limits(max_connections=publishers)
        async with httpx.AsyncClient(
            base_url="http://127.0.0.1:4489", limits=limits, trust_env=False
        ) as client:
            await _ready(client)

            async def publish(publisher: int, number: int) -> object:
                body = {"status": "in_progress", "message": MESSAGE, "progress": number % 100}
                answer = await client.post(
                    f"/api/operaciones/op-{publisher}/pasos/remove-router",
                    content=json.dumps(body),
                    headers={"X-User-ID": str(publisher % USERS + 1), "Content-Type": "application/json"},
                )
                return answer.raise_for_status()

            cpu = cpu_ns(server.pid)
            count = await _measure(f"over HTTP, {history}", publish, publishers, seconds)
            print(f"  an event: {(cpu_ns(server.pid) - cpu) / count / 1000:.0f} µs in the server")
    finally:
        server.terminate()
        await server.wait()


async def _ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                if (await client.get("/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


async def _measure(what: str, publish: Publish, publishers: int, seconds: float) -> int:
    """Print what came of it; gives how many were published."""
    waits: list[float] = []
    end = time.perf_counter() + seconds

    async def go_on(publisher: int) -> None:
        number = 0
        while (begun := time.perf_counter()) < end:
            await publish(publisher, number)
            waits.append(time.perf_counter() - begun)
            number += 1

    begun = time.perf_counter()
    await asyncio.gather(*map(go_on, range(publishers)))
    took = time.perf_counter() - begun
    waits.sort()
    p50, p99 = (waits[int(len(waits) * share)] * 1000 for share in (0.5, 0.99))
    print(
        f"{what}: {len(waits) / took:,.0f} durable appends/s from {publishers} publishers, "
        f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    )
    return len(waits)


if __name__ == "__main__":
    main()
