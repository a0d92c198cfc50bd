"""TLS of our own server: HTTP/1.1 by ALPN, streams and sockets over it, and mistakes told at the start."""

import asyncio
import contextlib
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.harness import (
    Certificate,
    CurlReader,
    EventSourceClient,
    LegacySocket,
    NodeSocket,
    ServerProcess,
    SseReader,
    V2Socket,
    eventually,
)
from tests.server.conftest import STOCK
from wellnet_sse.errors import ConfigurationError
from wellnet_sse.server.sockets import listen, url_of
from wellnet_sse.server.tls import server_context

pytestmark = pytest.mark.system

UPDATE = {"status": "in_progress", "message": "Copiando...", "progress": 40}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    tmp_path_factory: pytest.TempPathFactory, certificate: Certificate
) -> AsyncIterator[ServerProcess]:
    """A server that speaks TLS; it must end well and without a word of trouble."""
    async with ServerProcess(tmp_path_factory.mktemp("tls"), certificate=certificate) as process:
        yield process
        assert await process.terminate() == 0, process.tail()
        assert "Traceback" not in process.log
        assert "error" not in process.log.lower()


async def publish(server: ServerProcess, user: int, operation_id: str = "one") -> None:
    async with server.http(user=user) as client:
        answer = await client.post(f"/api/operaciones/{operation_id}/pasos/copy", json=UPDATE)
    assert answer.status_code == 201, answer.text


# What is spoken


@pytest.mark.usefixtures("trusted")
async def test_curl_that_asks_for_http_2_gets_1_1(server: ServerProcess) -> None:
    async with CurlReader(f"{server.url}/healthz", "--http2", "--write-out", "%{http_version}") as curl:
        assert (await curl.opened()).status == 200
        assert (await curl.body()).endswith(b"1.1")


async def connected(server: ServerProcess, context: ssl.SSLContext) -> tuple[str | None, str | None]:
    """Return the version and the protocol (ALPN) that a connection comes to."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    spoken: ssl.SSLObject = writer.get_extra_info("ssl_object")
    found = spoken.version(), spoken.selected_alpn_protocol()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return found


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["h2", "http/1.1"], "http/1.1"), (["h2"], None), ([], None)]
)
async def test_only_http_1_1_is_agreed_on(
    server: ServerProcess, certificate: Certificate, offered: list[str], chosen: str | None
) -> None:
    context = certificate.trust()
    if offered:
        context.set_alpn_protocols(offered)
    assert await connected(server, context) == ("TLSv1.3", chosen)


async def test_tls_1_2_is_spoken_with_good_ciphers_only(
    server: ServerProcess, certificate: Certificate
) -> None:
    context = certificate.trust()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert (await connected(server, context))[0] == "TLSv1.2"
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA256")  # without authentication of its blocks
    with pytest.raises(OSError):  # noqa: PT011 - uvloop resets where others send an alert
        await connected(server, context)


def test_older_versions_are_not_spoken(certificate: Certificate) -> None:
    context = server_context(certificate.path, certificate.key)
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


async def test_stock_hypercorn_would_rather_speak_http_2(tmp_path: Path, certificate: Certificate) -> None:
    files = ["--certificate", str(certificate.path), "--key", str(certificate.key)]
    context = certificate.trust()
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with ServerProcess(tmp_path, command=STOCK, arguments=files, certificate=certificate) as server:
        assert await connected(server, context) == ("TLSv1.3", "h2")


# Streams and sockets


@pytest.mark.usefixtures("trusted")
async def test_streams_are_read_by_everybody(server: ServerProcess, user: int) -> None:
    url = f"{server.url}/sse/operations/one?userId={user}"
    async with SseReader(url) as reader, EventSourceClient(url) as source, CurlReader(url) as curl:
        assert (await reader.opened()).status == 200
        assert (await curl.opened()).headers["content-type"] == "text/event-stream; charset=utf-8"
        await reader.until_live()
        await source.until(lambda it: it.type == "live")
        await curl.until(b"event: live")
        await publish(server, user)
        assert (await reader.next()).json["message"] == "Copiando..."
        assert (await source.take()).type == "message"
        assert b"Copiando..." in (await curl.until(b'data: {"operation_id"'))[-1]


@pytest.mark.usefixtures("trusted")
async def test_sockets_speak_both_dialects(server: ServerProcess, user: int) -> None:
    url = f"{server.ws_url}/ws/progress?userId={user}"
    async with LegacySocket(url, origin=server.url) as legacy, V2Socket(url) as v2, NodeSocket(url) as node:
        await v2.until_live()
        assert (await node.opened())["protocol"] == ""
        await legacy.start("one", steps=["copy"])
        assert (await legacy.next())["status"] == "pending"
        await publish(server, user)
        assert (await legacy.next())["message"] == "Copiando..."
        assert [it.data["status"] for it in await v2.until(lambda it: it.data.get("progress") == 40)] == [
            "pending",
            "in_progress",
        ]
        assert (await node.next())["status"] == "pending"


async def test_many_events_come_through_whole(server: ServerProcess, user: int, trusted: Certificate) -> None:
    """More than one TLS record, and more than a write: frames and chunks must not be torn."""
    assert trusted.path.exists()
    many = 200
    async with (
        SseReader(f"{server.url}/sse/progress?userId={user}") as reader,
        server.http(user=user) as client,
    ):
        await reader.until_live()
        for number in range(many):
            update = {"status": "pending", "message": f"{number} " + "ñ" * 900, "progress": 0}
            answer = await client.post(f"/api/operaciones/many/pasos/step-{number % 90}", json=update)
            assert answer.status_code == 201, answer.text
        events = [await reader.next() for _ in range(many)]
        assert [event.json["message"].split()[0] for event in events] == [str(it) for it in range(many)]


# Those who speak something else


@pytest.mark.parametrize(
    "said",
    [b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n", b"\0" * 4096, b"\x16\x03\x01\x40\x00\x01", b""],
    ids=["plain HTTP", "noise", "half a greeting", "nothing"],
)
async def test_who_speaks_no_tls_is_let_go_and_nobody_else_notices(
    server: ServerProcess, said: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(said)
    writer.write_eof()
    async with asyncio.timeout(10):
        assert b"HTTP/1.1 200" not in await reader.read()
    writer.close()
    async with server.http() as client:
        assert (await client.get("/healthz")).status_code == 200


# The end


async def test_readers_are_told_of_the_end_and_nobody_holds_it_up(
    tmp_path: Path, trusted: Certificate
) -> None:
    """Beside a healthy reader one that stopped reading, and one that has not even begun to speak."""
    async with ServerProcess(tmp_path, certificate=trusted, settings={"WELLNET_GRACE_SECONDS": 0}) as server:
        url = f"{server.url}/sse/progress?userId=7"
        _, silent = await asyncio.open_connection("127.0.0.1", server.port)
        async with SseReader(url) as healthy, CurlReader(url) as stalled:
            await healthy.until_live()
            await stalled.until(b"event: live")
            stalled.pause()
            await publish(server, 7)
            assert (await healthy.next()).event == "message"
            assert await server.terminate(timeout_seconds=5) == 0
            assert [event.json for event in await healthy.rest()] == [{"reason": "drain"}]
        silent.close()
    assert "Traceback" not in server.log


# Mistakes


async def test_the_demo_shows_itself_over_tls(tmp_path: Path, certificate: Certificate) -> None:
    command = [sys.executable, "-m", "wellnet_sse", "demo"]
    settings = {"WELLNET_DEMO_PACE_SECONDS": 0}
    async with ServerProcess(tmp_path, command=command, settings=settings, certificate=certificate) as server:
        await eventually(lambda: "Serving until" in server.log, timeout_seconds=10)
        assert f"at {server.url}, with" in server.log
        assert "Configuración eliminada del sistema" in server.log
        assert f"curl -N '{server.url}/sse/progress" in server.log


async def test_without_its_certificate_it_does_not_start(tmp_path: Path, certificate: Certificate) -> None:
    gone = Certificate(tmp_path / "gone.crt", certificate.key)
    server = ServerProcess(tmp_path, certificate=gone)
    await server.start(ready=False)
    assert await server.wait() == 1
    assert "Error: WELLNET_TLS_CERTIFICATE: cannot be read: No such file or directory" in server.log
    assert "Traceback" not in server.log


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)  # noqa: S603, S607


def complaint(certificate: Path, key: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        server_context(certificate, key)
    return caught.value.detail


def test_without_a_certificate_it_is_plain() -> None:
    assert server_context(None, None) is None


def test_files_that_cannot_be_read_are_named(tmp_path: Path, certificate: Certificate) -> None:
    assert complaint(certificate.path, tmp_path / "x") == (
        "WELLNET_TLS_KEY: cannot be read: No such file or directory"
    )
    assert complaint(tmp_path, certificate.key) == "WELLNET_TLS_CERTIFICATE: cannot be read: Is a directory"


def test_key_of_another_certificate_is_told(tmp_path: Path, certificate: Certificate) -> None:
    other = Certificate.make(tmp_path)
    assert "is not the key of" in complaint(certificate.path, other.key)


def test_what_is_no_certificate_or_no_key_is_told(certificate: Certificate, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    for one, other in (
        (certificate.path, empty),
        (empty, certificate.key),
        (certificate.key, certificate.path),
    ):
        assert "not a certificate and its key, unencrypted, in PEM" in complaint(one, other)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(
    certificate: Certificate, tmp_path: Path
) -> None:
    locked = tmp_path / "locked.key"
    openssl("pkey", "-in", certificate.key, "-out", locked, "-aes256", "-passout", "pass:geheim")
    assert "unencrypted" in complaint(certificate.path, locked)


def test_the_url_says_how_it_is_spoken() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert url_of(listener) == f"http://127.0.0.1:{port}"
        assert url_of(listener, is_tls=True) == f"https://127.0.0.1:{port}"
