"""A server that asks for tokens: the commands show theirs, and say what is missing."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.conftest import demo_settings
from tests.doctor.support import said
from tests.e2e.identity import TOKEN_MODE
from tests.harness import ServerProcess
from tests.identity.signing import token
from tests.terminal.support import Piped, ran
from wellnet_sse.identity.tokens import LEEWAY_SECONDS


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """A demo server in mode `token`."""
    directory = tmp_path_factory.mktemp("server")
    async with ServerProcess(directory, arguments=["--demo"], settings=demo_settings(TOKEN_MODE)) as process:
        yield process


async def test_token_says_who_asks(server: ServerProcess, user: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WELLNET_TOKEN", token(user))
    work = await ran("run", "eliminar", "--id-conexion", "3", "--operation", "one", "--url", server.url)
    assert work.process.returncode == 0, work.errors
    again = await ran("watch", "one", "--url", server.url)
    assert again.process.returncode == 0
    assert again.lines[-1] == work.lines[-1]


async def test_refusals_are_said(server: ServerProcess, user: int, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = await ran("watch", "one", "--user", "7", "--url", server.url)
    assert (nobody.process.returncode, "401: " in nobody.errors) == (1, True)
    monkeypatch.setenv("WELLNET_TOKEN", token(user, "watch"))
    watcher = await ran("publish", "one", "copy", "completed", "--url", server.url)
    assert (watcher.process.returncode, "403: " in watcher.errors) == (1, True)


async def test_token_that_ends_ends_the_watching(
    server: ServerProcess, user: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WELLNET_TOKEN", token(user, seconds=4 - LEEWAY_SECONDS))
    async with Piped("watch", "--all", "--json", "--url", server.url) as piped:
        await piped.take(lambda line: '"live"' in line)
        assert await piped.ended() == 1
    assert "the credentials have expired" in piped.errors
    assert "401: " in piped.errors


async def test_doctor_needs_one_as_well(server: ServerProcess, user: int) -> None:
    doctor = ["doctor", "--url", server.url]
    shown = await said(*doctor, directory=server.directory, settings={"token": token(user)})
    assert shown.wrong == set(), shown.text
    missing = await said(*doctor, directory=server.directory)
    assert missing.wrong == {"stream", "websocket"}
    assert "Say who asks" in missing.text
