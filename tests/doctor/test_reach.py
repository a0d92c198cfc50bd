"""`doctor --url`: what stands between a server and its readers."""

from pathlib import Path

import httpx
import pytest

from tests.deploy.proxies import Change, Proxy, bare_nginx, nginx
from tests.doctor.support import said
from tests.harness import ServerProcess, eventually
from tests.harness.certificate import Certificate
from tests.terminal.support import ScriptedServer, refusal

HOLDING_BACK = Change("location / {", "location / { proxy_ignore_headers X-Accel-Buffering;")
READY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


async def doctor(url: str, directory: Path, *arguments: str) -> tuple[set[str], str]:
    """What is wrong, and all that was said."""
    found = await said("doctor", "--url", url, *arguments, directory=directory)
    assert found.code == (1 if found.wrong else 0)
    return found.wrong, found.text


async def through(proxy: Proxy, directory: Path) -> tuple[set[str], str]:
    return await doctor(proxy.url, directory, "--cafile", str(proxy.certificate.path))


@pytest.mark.system
async def test_nginx_as_it_is_deployed_is_fine(
    server: ServerProcess, tmp_path: Path, trusted: Certificate
) -> None:
    async with nginx(tmp_path / "proxy", trusted, f"127.0.0.1:{server.port}") as proxy:
        wrong, text = await through(proxy, tmp_path)
    assert wrong == set(), text
    assert "each comes by itself" in text


@pytest.mark.system
async def test_nginx_that_holds_back_and_passes_no_upgrade_is_told_with_its_mends(
    server: ServerProcess, tmp_path: Path, trusted: Certificate
) -> None:
    async with bare_nginx(tmp_path / "proxy", trusted, f"127.0.0.1:{server.port}", HOLDING_BACK) as proxy:
        wrong, text = await through(proxy, tmp_path)
    assert wrong == {"stream", "websocket"}, text
    assert "`proxy_buffering off;`" in text
    assert "`Upgrade`" in text
    async with server.http() as client:
        await eventually(lambda: _nobody_is_connected(client))


async def _nobody_is_connected(client: httpx.AsyncClient) -> bool:
    return "wellnet_connections 0" in (await client.get("/metrics")).text


async def test_server_that_is_not_ready_says_why(tmp_path: Path) -> None:
    server = ScriptedServer(refusal("503 Busy", body='{"detail":"Se detiene"}'))
    async with server.serving():
        wrong, text = await doctor(server.url, tmp_path)
    assert (wrong, "503: Se detiene" in text) == ({"server"}, True)


async def test_another_server_is_told(tmp_path: Path) -> None:
    server = ScriptedServer(refusal("404 Not Found"))
    async with server.serving():
        wrong, text = await doctor(server.url, tmp_path)
    assert (wrong, "See that the URL is the server's" in text) == ({"server"}, True)


async def test_stream_that_is_compressed_or_none_is_told(tmp_path: Path) -> None:
    compressed = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n"
        b"Connection: close\r\n\r\n"
    )
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
    for answer, told in ((compressed, "compressed (gzip)"), (page, "of type text/html")):
        server = ScriptedServer(READY, answer)
        async with server.serving():
            wrong, text = await doctor(server.url, tmp_path)
        assert "stream" in wrong
        assert told in text


async def test_clocks_that_differ_are_told(tmp_path: Path) -> None:
    dated = READY.replace(b"Connection", b"Date: Wed, 21 Oct 2015 07:28:00 GMT\r\nConnection")
    server = ScriptedServer(dated, refusal("401 Unauthorized"))
    async with server.serving():
        wrong, text = await doctor(server.url, tmp_path)
    assert wrong == {"clock", "stream", "websocket"}
    assert "Let NTP set both clocks" in text
    assert "Say who asks" in text
