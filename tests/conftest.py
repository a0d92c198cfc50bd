"""Fixtures for every test: a demo server a module, a fresh user a test, servers with special settings.

A test has an event loop of its own. A fixture that outlives a test is synchronous, or says
`@pytest_asyncio.fixture(scope="module", loop_scope="module")` and then hands out nothing tied to its loop.
"""

import itertools
from collections.abc import AsyncIterator, Generator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import httpx
import pytest
import pytest_asyncio

from tests.harness import ServerProcess

pytest_plugins = ["tests.postgres", "tests.databases", "tests.certificates", "tests.valkeys"]

_users = itertools.count(1001)


class MakeServer(Protocol):
    """Starts one more server; it ends with the test."""

    async def __call__(
        self,
        *arguments: str,
        demo: bool = True,
        ready: bool = True,
        directory: Path | None = None,
        port: int | None = None,
        **settings: object,
    ) -> ServerProcess:
        """Start it with command line arguments and settings, as in `heartbeat_seconds=1`.

        `directory` (of an earlier server) shares its database; `ready=False` does not wait until it is.
        """
        ...


def demo_settings(settings: dict[str, object]) -> dict[str, object]:
    """Return the environment of a demo without pauses, changed by `settings` (`WELLNET_` is put before)."""
    named = {f"WELLNET_{name.upper()}": value for name, value in settings.items()}
    return {"WELLNET_DEMO_PACE_SECONDS": 0, **named}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """A demo server that the tests of a module share; it must end well and without a traceback in its log."""
    directory = tmp_path_factory.mktemp("server")
    async with ServerProcess(directory, arguments=["--demo"], settings=demo_settings({})) as process:
        yield process
        assert process.exit_code is None, f"it ended by itself\n{process.tail()}"
        assert await process.terminate() == 0, process.tail()
        assert "Traceback" not in process.log, process.log


@pytest_asyncio.fixture
async def make_server(tmp_path: Path) -> AsyncIterator[MakeServer]:
    """Start servers with special settings: `await make_server(heartbeat_seconds=1)`."""
    async with AsyncExitStack() as stack:

        async def make(
            *arguments: str,
            demo: bool = True,
            ready: bool = True,
            directory: Path | None = None,
            port: int | None = None,
            **settings: object,
        ) -> ServerProcess:
            own = directory or tmp_path / f"server-{len(ServerProcess.known)}"
            process = ServerProcess(
                own,
                arguments=[*(["--demo"] if demo else []), *arguments],
                settings=demo_settings(settings),
                port=port,
            )
            stack.callback(process.sweep)
            await process.start(ready=ready)
            return process

        yield make


@pytest_asyncio.fixture
async def http(server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the module's server; name the user in each request."""
    async with server.http() as client:
        yield client


@pytest.fixture
def user() -> int:
    """A user id that no other test has, so that tests of one server do not see each other."""
    return next(_users)


@pytest.fixture(autouse=True)
def _forget_ended_servers() -> None:
    ServerProcess.known[:] = [it for it in ServerProcess.known if it.exit_code is None]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the servers wrote beside a test that fails."""
    report = yield
    if report.failed:
        for process in ServerProcess.known:
            report.sections.append((f"log of {process!r}", process.tail()))
    return report
