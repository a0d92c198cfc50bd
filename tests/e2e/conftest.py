"""A demo server a module whose router can be steered, and a client that speaks for the test's user."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.conftest import demo_settings
from tests.harness import RouterControl, ServerProcess, free_port


@pytest.fixture(scope="module")
def router_port() -> int:
    """Where the module's simulated router listens."""
    return free_port()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory, router_port: int) -> AsyncIterator[ServerProcess]:
    """A demo server that the tests of a module share; it must end well and without a traceback in its log."""
    settings = demo_settings({"demo_router_bind": f"127.0.0.1:{router_port}"})
    directory = tmp_path_factory.mktemp("server")
    async with ServerProcess(directory, arguments=["--demo"], settings=settings) as process:
        yield process
        assert process.exit_code is None, f"it ended by itself\n{process.tail()}"
        assert await process.terminate() == 0, process.tail()
        assert "Traceback" not in process.log, process.log


@pytest_asyncio.fixture
async def router(server: ServerProcess, router_port: int) -> AsyncIterator[RouterControl]:
    """The module's simulated router, which behaves again after the test."""
    assert server.exit_code is None
    control = RouterControl(router_port)
    yield control
    await control.behave("normal")


@pytest_asyncio.fixture
async def mine(server: ServerProcess, user: int) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the module's server that speaks for the test's user."""
    async with server.http(user=user) as client:
        yield client
