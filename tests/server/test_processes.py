"""Several processes on one address: whatever becomes of one, the others serve."""

import asyncio
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.deploy.test_notify import Manager
from tests.harness import ServerProcess, eventually

pytestmark = pytest.mark.slow

SEVERAL = (sys.executable, str(Path(__file__).with_name("several.py")))
COUNT = 3


def several(directory: Path, *arguments: str, **environment: str) -> ServerProcess:
    return ServerProcess(
        directory,
        command=[*SEVERAL, "--processes", str(COUNT)],
        arguments=arguments,
        settings={"PYTHONPATH": os.environ.get("PYTHONPATH", ""), **environment},
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """Three processes, for all tests but those that end them; they must end well."""
    async with several(tmp_path_factory.mktemp("several")) as one:
        await all_serve(one)
        yield one
        assert await one.terminate() == 0, one.tail()
        assert "Traceback" not in one.log, one.log


async def all_serve(server: ServerProcess) -> None:
    """Wait until all do: the first one answers for them before that."""
    await eventually(lambda: "processes_ready" in server.log, timeout_seconds=20)


async def pids(server: ServerProcess, count: int = 60) -> Counter[int]:
    """Who answers so many connections."""

    async def ask() -> int:
        async with server.http(timeout=20) as client:
            return int((await client.get("/pid")).text)

    return Counter(await asyncio.gather(*(ask() for _ in range(count))))


class Load:
    """Clients that ask again and again: half of them on one connection, the others on a new one each time."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.answers: Counter[int] = Counter()
        self.failures: list[str] = []
        self._tasks = [asyncio.create_task(self._ask(keep=n % 2 == 0)) for n in range(12)]

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _ask(self, *, keep: bool) -> None:
        while True:
            async with self._server.http(timeout=20) as client:
                for _ in range(1_000_000 if keep else 1):
                    try:
                        self.answers[int((await client.get("/pid")).raise_for_status().text)] += 1
                    except httpx.HTTPError as error:
                        self.failures.append(repr(error))
                    await asyncio.sleep(0.01)


async def test_connections_are_spread_over_all(server: ServerProcess) -> None:
    answered = await pids(server, 120)
    assert set(answered) == server.children
    assert min(answered.values()) > 12, answered


async def test_one_that_is_killed_is_started_again(server: ServerProcess) -> None:
    before = server.children
    victim = min(before)
    os.kill(victim, signal.SIGKILL)

    async def is_replaced() -> bool:
        answered = set(await pids(server))
        return len(answered) == COUNT and victim not in answered

    await eventually(is_replaced)
    assert len(before & server.children) == COUNT - 1
    assert "process_died" in server.log


async def test_stock_hypercorn_ends_all_when_one_is_killed_as_if_all_were_well(tmp_path: Path) -> None:
    """See pgjones/hypercorn#269."""
    workers = [sys.executable, "-m", "hypercorn", "--workers", "2", "tests.server.several:Several()"]
    async with ServerProcess(tmp_path, command=workers) as stock:
        os.kill(min(await pids(stock, 1)), signal.SIGKILL)
        assert await stock.wait() == 0


async def test_while_one_cannot_come_back_the_others_serve_everybody(server: ServerProcess) -> None:
    before = server.children
    victim = min(before)
    died, broken = server.log.count("process_died"), server.directory / "broken"
    broken.touch()
    os.kill(victim, signal.SIGKILL)
    await eventually(lambda: server.log.count("process_died") > died + 1)  # and whoever was to replace it
    assert set(await pids(server)) == before - {victim}
    broken.unlink()

    async def all_answer() -> bool:
        return len(await pids(server)) == COUNT

    await eventually(all_answer, timeout_seconds=20)


async def test_sighup_replaces_them_one_after_another_and_no_client_notices(server: ServerProcess) -> None:
    before = server.children
    load = Load(server)
    async with server.http() as client, client.stream("GET", "/stream") as stream:
        most = 0
        server.signal(signal.SIGHUP)
        while len(now := server.children) != COUNT or now & before:
            most = max(most, len(now))
            await asyncio.sleep(0.01)
        assert (await stream.aread()).decode() == "open drained"
    await eventually(lambda: set(load.answers) >= now)
    await load.end()
    assert load.failures == []
    assert most == COUNT + 1  # never two less, never all at once
    assert sum(load.answers.values()) > 100


async def test_a_replacement_that_does_not_come_to_serve_replaces_nobody(server: ServerProcess) -> None:
    before = server.children
    broken = server.directory / "broken"
    broken.touch()
    server.signal(signal.SIGHUP)
    await eventually(lambda: "replacement_failed" in server.log)
    assert server.children == before
    broken.unlink()
    assert set(await pids(server)) == before


async def test_sigterm_ends_all_after_their_work_and_the_manager_is_told_once(tmp_path: Path) -> None:
    with Manager(f"@wellnet-{os.getpid()}-{tmp_path.name}") as manager:
        async with several(tmp_path, NOTIFY_SOCKET=manager.address) as server:
            assert await manager.told() == "READY=1"
            processes = server.children
            assert set(await pids(server)) == processes
            async with server.http() as client, client.stream("GET", "/stream") as stream:
                assert await server.terminate() == 0
                assert (await stream.aread()).decode() == "open drained"
        assert await manager.told() == "STOPPING=1"
        assert manager.told_nothing()
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)  # noqa: ASYNC240 - no disk
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port)).close()


async def test_one_that_does_not_end_is_killed_and_the_exit_code_says_so(tmp_path: Path) -> None:
    async with several(tmp_path, "--grace", "-4.5") as server:
        await all_serve(server)
        os.kill(min(server.children), signal.SIGSTOP)
        assert await server.terminate() == 1


async def test_they_end_with_their_supervisor_however_that_dies(tmp_path: Path) -> None:
    async with several(tmp_path) as server:
        await all_serve(server)
        processes = server.children
        await server.kill()
        await eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes))
    assert "Traceback" not in server.log, server.log


async def test_one_that_cannot_serve_at_first_ends_all(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    server = several(tmp_path)
    await server.start(ready=False)
    assert await server.wait() == 1
    server.sweep()


@pytest.mark.parametrize(
    ("settings", "arguments", "said"),
    [
        ({}, [], "WELLNET_BROKER_URL: sql:// serves one process; several need a broker that they share"),
        (
            {"WELLNET_BROKER_URL": "redis://127.0.0.1", "WELLNET_DATABASE_URL": "sqlite://"},
            [],
            "WELLNET_DATABASE_URL: several processes cannot share a database in memory",
        ),
        ({}, ["--demo"], "--demo is for one process"),
    ],
)
async def test_what_several_could_not_share_is_refused(
    tmp_path: Path, settings: dict[str, object], arguments: list[str], said: str
) -> None:
    server = ServerProcess(tmp_path, arguments=["--processes", "2", *arguments], settings=settings)
    await server.start(ready=False)
    assert await server.wait() > 0
    assert said in server.log
    assert "Traceback" not in server.log
