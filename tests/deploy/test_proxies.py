"""What clients see of the server through nginx and through Caddy, while it is there and while it is not."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.deploy.proxies import DEPLOY, Change, MakeProxy, Proxy, bare_nginx, caddy, nginx
from tests.harness import (
    CurlReader,
    LegacySocket,
    NodeSocket,
    ServerProcess,
    SseReader,
    V2Socket,
    eventually,
    free_port,
)
from tests.harness.certificate import Certificate
from tests.harness.processes import installed
from wellnet_sse.server.websocket import MISSED_PONGS, PING_SECONDS
from wellnet_sse.settings import Settings

pytestmark = pytest.mark.system

PROXIES: list[MakeProxy] = [nginx, caddy]
UPDATE = {"status": "in_progress", "message": "Copiando...", "progress": 40}
STEP = "/api/operaciones/one/pasos/copy"
PAGE = "https://wellnet-rd.com"


@pytest.fixture(params=PROXIES)
async def proxy(
    request: pytest.FixtureRequest, server: ServerProcess, tmp_path: Path, trusted: Certificate
) -> AsyncIterator[Proxy]:
    """Each of them in front of the module's server."""
    make: MakeProxy = request.param
    async with make(tmp_path / "proxy", trusted, f"127.0.0.1:{server.port}") as proxy:
        yield proxy


@pytest.fixture(params=PROXIES)
async def forsaken(
    request: pytest.FixtureRequest, tmp_path: Path, trusted: Certificate
) -> AsyncIterator[Proxy]:
    """Each of them in front of nothing."""
    make: MakeProxy = request.param
    async with make(tmp_path / "proxy", trusted, f"127.0.0.1:{free_port()}") as proxy:
        yield proxy


# While the server is there


async def test_streams_are_read_over_http_2_on_both_ports(proxy: Proxy, user: int) -> None:
    for url in (proxy.url, proxy.documented_url):
        async with CurlReader(f"{url}/sse/progress?userId={user}", "--http2") as curl:
            head = await curl.opened()
            assert curl.lines[0].startswith(b"HTTP/2 200")
            assert head.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert "content-encoding" not in head.headers
            await curl.until(b"event: live")
            async with proxy.http(user=user) as client:
                assert (await client.post(STEP, json=UPDATE)).status_code == 201
            await curl.until(b"Copiando...")


async def test_sockets_of_both_dialects_pass(proxy: Proxy, user: int) -> None:
    """And a page of the proxy's own: the server compares its origin with the host and the port it asked."""
    url = f"{proxy.ws_url}/ws/progress?userId={user}"
    async with LegacySocket(url, origin=proxy.url) as legacy, V2Socket(url) as v2:
        await v2.until_live()
        await legacy.start("one", steps=["copy"])
        assert (await legacy.next())["status"] == "pending"
        assert (await v2.next()).data["status"] == "pending"


async def test_post_that_is_answered_with_its_stream_is_seen_as_it_goes(
    proxy: Proxy, server: ServerProcess, user: int
) -> None:
    headers = [f"X-User-ID: {user}", "X-Operation-ID: remove", "Accept: text/event-stream"]
    options = [part for header in headers for part in ("--header", header)]
    body = json.dumps({"id_conexion": 1 + user % 50})
    async with (
        CurlReader(f"{proxy.url}/api/conexiones/eliminar", *options, "--json", body) as curl,
        server.http(user=user) as client,
    ):
        assert (await curl.opened()).headers["content-type"].startswith("text/event-stream")
        await curl.until(b"in_progress")
        assert (await client.get("/api/operaciones/remove")).json()["outcome"] is None
        assert b"event: end" in await curl.body(timeout_seconds=20)


@pytest.mark.parametrize("path", ["/metrics", "/%6detrics", "//metrics", "/metrics/", "/metrics?x=1"])
async def test_metrics_are_not_public(proxy: Proxy, server: ServerProcess, path: str) -> None:
    async with proxy.http() as client, server.http() as inside:
        answer = await client.get(f"{proxy.url}{path}")  # a path alone that begins with // is a host
        assert answer.status_code in {308, 404}
        assert "wellnet_" not in answer.text
        assert "wellnet_" in (await inside.get("/metrics")).text


async def test_nginx_asks_for_what_it_was_asked(tmp_path: Path, trusted: Certificate) -> None:
    """With the port in the host's name; and of upgrades only that to a WebSocket is passed on."""
    asked: asyncio.Queue[str] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.put_nowait((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    async with (
        await asyncio.start_server(answer, "127.0.0.1", 0) as upstream,
        nginx(tmp_path / "proxy", trusted, f"127.0.0.1:{upstream.sockets[0].getsockname()[1]}") as proxy,
        proxy.http() as client,
    ):
        for wanted, passed in (("h2c", None), ("websocket", "websocket"), ("WebSocket", "websocket")):
            await client.get("/x", headers={"Connection": "Upgrade", "Upgrade": wanted})
            head = await asked.get()
            assert head.startswith("get /x http/1.1\r\n")
            assert f"\r\nhost: 127.0.0.1:{proxy.ports[0]}\r\n" in head
            assert ("\r\nupgrade:" in head) is (passed is not None)
            assert ("\r\nconnection: upgrade\r\n" in head) is (passed is not None)
            assert passed is None or f"\r\nupgrade: {passed}\r\n" in head


# While it is not


async def test_streams_are_told_to_come_back(forsaken: Proxy) -> None:
    for path in ("/sse/progress?userId=7", "/sse/operations/one?userId=7"):
        async with forsaken.http() as client:
            answer = await client.get(path, headers={"Origin": PAGE})
        assert (answer.status_code, answer.text) == (200, "retry: 2000\n\n")
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache, no-transform"
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-allow-credentials"] == "true"


async def test_requests_are_refused_in_a_form_that_clients_know(forsaken: Proxy) -> None:
    async with forsaken.http(user=7) as client:
        for path in ("/api/conexiones/eliminar", "/api/operaciones"):
            answer = await client.post(path, json={}, headers={"Origin": PAGE})
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"] == "2"
            assert answer.headers["access-control-allow-origin"] == PAGE
            refusal = answer.json()
            assert refusal["success"] is False
            assert refusal["message"] == refusal["detail"] == "El servidor no responde; repita la petición"
            assert (refusal["status"], refusal["code"]) == (503, "unavailable")


async def test_without_a_page_there_is_no_word_of_origins(forsaken: Proxy) -> None:
    async with forsaken.http() as client:
        for path in ("/sse/progress?userId=7", "/api/operaciones"):
            assert "access-control-allow-origin" not in (await client.get(path)).headers


async def test_sockets_are_refused_before_they_open(forsaken: Proxy) -> None:
    async with NodeSocket(f"{forsaken.ws_url}/ws/progress?userId=7") as socket:
        assert (await socket.refused())["status"] == 503


# What is written down


@pytest.mark.parametrize("make", PROXIES)
async def test_logs_tell_paths_and_not_who_asks(
    tmp_path: Path, trusted: Certificate, make: MakeProxy
) -> None:
    """While the server is there, while it dies, and while it is not."""
    secrets = {"query": "userId=424242&ticket=geheim", "referer": f"{PAGE}/?ticket=geheim"}
    headers = {"Referer": secrets["referer"], "Authorization": "Bearer geheim", "Cookie": "token=geheim"}
    async with (
        ServerProcess(tmp_path / "server") as server,
        make(tmp_path / "proxy", trusted, f"127.0.0.1:{server.port}") as proxy,
        proxy.http(user=424242) as client,
    ):
        client.headers.update(headers)
        async with SseReader(f"{proxy.url}/sse/progress?{secrets['query']}") as stream:
            await stream.until_live()
            await server.kill()
            await stream.exhausted()
        for path in ("/sse/operations/one", "/api/operaciones", "/ws/progress"):
            await client.get(f"{path}?{secrets['query']}")
        paths = ("/sse/progress", "/sse/operations/one", "/api/operaciones", "/ws/progress")
        await eventually(lambda: all(f'"{path}"' in proxy.written() for path in paths))
        written = proxy.written()
        assert "424242" not in written
        assert "geheim" not in written


# Time


@pytest.mark.parametrize("gzipped", ["identity", "gzip"])
async def test_even_a_proxy_that_knows_nothing_of_streams_holds_no_event_back(
    server: ServerProcess, tmp_path: Path, trusted: Certificate, user: int, gzipped: str
) -> None:
    """Each is waited for before the next is published: nothing else could have pushed it out."""
    upstream = f"127.0.0.1:{server.port}"
    async with (
        bare_nginx(tmp_path / "proxy", trusted, upstream) as proxy,
        SseReader(f"{proxy.url}/sse/progress?userId={user}", headers={"Accept-Encoding": gzipped}) as stream,
        server.http(user=user) as client,
    ):
        await stream.until_live()
        for number in range(1, 4):
            await client.post(STEP, json={**UPDATE, "progress": number})
            assert (await stream.next()).json["progress"] == number


IMPATIENT = {
    nginx: Change("proxy_read_timeout 90s", "proxy_read_timeout 3s"),
    caddy: Change("read_timeout 90s", "read_timeout 3s"),
}
PINGING = """
from wellnet_sse.server import runner, websocket
runner.BEAT_SECONDS, websocket.PING_SECONDS = 0.1, 0.5
from wellnet_sse.cli import main
main()
"""


@pytest.mark.parametrize("make", PROXIES)
async def test_an_idle_socket_lives_by_the_pings(
    tmp_path: Path, trusted: Certificate, user: int, make: MakeProxy
) -> None:
    """All in a fraction of the time: the proxy's patience, and the server's pauses between pings."""
    command = [sys.executable, "-c", PINGING, "serve"]
    async with (
        ServerProcess(tmp_path / "server", command=command) as server,
        make(tmp_path / "proxy", trusted, f"127.0.0.1:{server.port}", IMPATIENT[make]) as proxy,
        NodeSocket(f"{proxy.ws_url}/ws/progress?userId={user}") as socket,
        server.http(user=user) as client,
    ):
        await socket.opened()
        for _ in range(8):  # which takes more than three seconds, in which there is nothing else
            await socket.take(lambda line: "ping" in line)
        await client.post(STEP, json=UPDATE)
        assert (await socket.next())["message"] == "Copiando..."


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile"])
def test_proxies_are_more_patient_than_the_server_is_silent(name: str) -> None:
    (seconds,) = re.findall(r"read_timeout (\d+)s", (DEPLOY / name).read_text())
    assert int(seconds) > PING_SECONDS * (MISSED_PONGS + 1)
    assert int(seconds) > 3 * Settings.from_environment({}).heartbeat_seconds


# The file itself


def test_caddy_finds_the_file_as_it_writes_them() -> None:
    file = DEPLOY / "Caddyfile"
    laid_out = subprocess.run(  # noqa: S603
        [installed("caddy"), "fmt", file], capture_output=True, text=True, check=True
    ).stdout
    assert laid_out == file.read_text()


def test_caddy_finds_the_file_valid(tmp_path: Path) -> None:
    """As it is: with its own certificates, on 443 and 444."""
    file = tmp_path / "Caddyfile"
    file.write_text((DEPLOY / "Caddyfile").read_text().replace("/var/log/caddy", str(tmp_path)))
    command = [installed("caddy"), "validate", "--adapter", "caddyfile", "--config", str(file)]
    valid = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=False, env={"HOME": str(tmp_path)}
    )
    assert valid.returncode == 0, valid.stderr
