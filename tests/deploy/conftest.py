"""A demo server for the proxies to stand before."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.conftest import demo_settings
from tests.harness import ServerProcess


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """One a module; its work takes a second or two a step, so that it can be seen while it goes on."""
    settings = demo_settings({"demo_pace_seconds": 1})
    async with ServerProcess(
        tmp_path_factory.mktemp("server"), arguments=["--demo"], settings=settings
    ) as one:
        yield one
        assert await one.terminate() == 0, one.tail()
        assert "Traceback" not in one.log, one.log
