"""deploy/hypercorn.toml: the application under Hypercorn alone."""

import sys
import tomllib
from pathlib import Path

from hypercorn.config import Config

from tests.deploy.proxies import DEPLOY
from tests.harness import Certificate, ServerProcess, SseReader

HYPERCORN = DEPLOY / "hypercorn.toml"
COMMAND = [sys.executable, "-m", "hypercorn", "--config", str(HYPERCORN), "wellnet_sse.asgi:app"]


def test_hypercorn_knows_all_that_is_configured() -> None:
    known = set(dir(Config()))
    assert tomllib.loads(HYPERCORN.read_text()).keys() <= known


async def test_hypercorn_serves_with_its_configuration(tmp_path: Path) -> None:
    settings = {"WELLNET_AUTH": "documented"}
    async with (
        ServerProcess(tmp_path, command=COMMAND, settings=settings) as server,
        server.http(user=7) as client,
        SseReader(f"{server.url}/sse/operations/one?userId=7") as stream,
    ):
        assert (await stream.opened()).status == 200
        await stream.until_live()
        update = {"status": "completed", "message": "Copiado"}
        published = await client.post("/api/operaciones/one/pasos/copy", json=update)
        assert published.status_code == 201
        stopped = await client.post("/api/operaciones/one/detener", json={})
        assert stopped.json()["outcome"] == "completed"
        assert [event.event for event in await stream.rest()] == ["message", "end"]
        assert "server" not in published.headers
        assert await server.terminate() == 0
    assert "Traceback" not in server.log


async def test_hypercorn_does_not_start_where_nobody_said_how_users_are_known(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, command=COMMAND)
    await server.start(ready=False)
    assert await server.wait() != 0
    assert "WELLNET_AUTH must be set" in server.log


async def test_hypercorn_does_not_start_in_plain_where_tls_was_meant(
    tmp_path: Path, certificate: Certificate
) -> None:
    settings = {"WELLNET_AUTH": "documented"}
    server = ServerProcess(tmp_path, command=COMMAND, settings=settings, certificate=certificate)
    await server.start(ready=False)
    assert await server.wait() != 0
    assert "only `wellnet-sse serve` reads it" in server.log
