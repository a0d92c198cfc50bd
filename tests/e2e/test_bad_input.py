"""Input of every wrong kind: nothing crashes, no 5xx, no traceback, and nothing has changed after it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.e2e.support import DOCUMENTED, begin, joined, mark, published
from tests.harness import LegacySocket, ServerProcess, V2Socket

READ_SECONDS = 0.5
"""How long a connection that was sent nonsense is listened to: it may be waiting for more of it."""

UPGRADE = (
    "GET /ws/progress?userId=7 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
)
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
VERSION = "Sec-WebSocket-Version: 13\r\n"

POST = b"POST /api/operaciones?userId=7 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

REQUESTS: dict[str, bytes] = {
    "nothing": b"",
    "newlines": b"\r\n\r\n\r\n",
    "noise": bytes(range(256)) * 4,
    "tls hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "no version": b"GET /\r\n\r\n",
    "unknown version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "http/1.0": b"GET /sse/operations/%00?userId=7 HTTP/1.0\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "bad host": b"GET /api/operaciones?userId=7 HTTP/1.1\r\nHost: [::::\r\nOrigin: http://[\r\n\r\n",
    "host of bytes": b"GET /api/operaciones?userId=7 HTTP/1.1\r\nHost: \xff\xfe\r\nOrigin: http://\xff\xfe\r\n\r\n",
    "host with a huge port": b"GET /healthz HTTP/1.1\r\nHost: x:99999999\r\nOrigin: http://x:99999999\r\n\r\n",
    "target of bytes": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "target of percents": b"GET /%ff%fe%00%0a?userId=%ff&%00=%0d%0a HTTP/1.1\r\nHost: x\r\n\r\n",
    "target with dots": b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    "absolute target": b"GET http://evil.example/sse/progress HTTP/1.1\r\nHost: x\r\n\r\n",
    "target *": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "connect": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "unknown method": b"FROBNICATE /sse/progress?userId=7 HTTP/1.1\r\nHost: x\r\n\r\n",
    "long target": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "long header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    "many headers": b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    "header without colon": b"GET /healthz HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
    "user of bytes": b"GET /sse/progress HTTP/1.1\r\nHost: x\r\nX-User-ID: \xb2\r\n\r\n",
    "cursor of bytes": b"GET /sse/progress?userId=7 HTTP/1.1\r\nHost: x\r\nLast-Event-ID: \xff\r\n\r\n",
    "bad length": POST + b"Content-Length: -5\r\n\r\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length and chunks": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "bad chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nnot a number\r\n",
    "cut body": POST + b'Content-Length: 500\r\n\r\n{"operation_id": "bad"',
    "unknown coding": POST + b"Transfer-Encoding: gzip\r\n\r\n",
    "unmet expectation": POST + b"Expect: miracles\r\nContent-Length: 1\r\n\r\n[",
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64),
    "upgrade to nothing": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: nothing\r\n\r\n",
    "bad h2c": b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: !!!\r\n\r\n",
    "handshake without key": (UPGRADE + VERSION + "\r\n").encode(),
    "handshake of another version": (UPGRADE + KEY + "Sec-WebSocket-Version: 7\r\n\r\n").encode(),
    "handshake by post": (UPGRADE + VERSION + KEY).replace("GET", "POST").encode() + b"\r\n",
    "handshake elsewhere": (UPGRADE + VERSION + KEY).replace("/ws/progress", "/sse/progress").encode()
    + b"\r\n",
    "handshake with bad extensions": (UPGRADE + VERSION + KEY).encode()
    + b"Sec-WebSocket-Extensions: ;;,=\r\nSec-WebSocket-Protocol: ,,\r\n\r\n",
    "handshake in http/1.0": (UPGRADE + VERSION + KEY).replace("HTTP/1.1", "HTTP/1.0").encode() + b"\r\n",
}

HANDSHAKE = (UPGRADE + VERSION + KEY).encode() + b"\r\n"
MASK = b"\x00\x00\x00\x00"
FRAMES: dict[str, bytes] = {
    "unmasked": b"\x81\x02{}",
    "reserved opcode": b"\x83\x80" + MASK,
    "reserved bits": b"\xf1\x80" + MASK,
    "invalid utf-8": b"\x81\x82" + MASK + b"\xff\xfe",
    "long ping": b"\x89\xfe\x01\x00" + MASK + b"x" * 256,
    "fragmented ping": b"\x09\x80" + MASK,
    "continuation of nothing": b"\x80\x82" + MASK + b"{}",
    "impossible length": b"\x81\xff" + b"\xff" * 8 + MASK,
    "close with one byte": b"\x88\x81" + MASK + b"x",
    "close with a reserved code": b"\x88\x82" + MASK + b"\x03\xed",
    "cut frame": b"\x81\xfe\x10\x00" + MASK + b"{",
    "noise": bytes(range(256)),
}

MESSAGES = [
    "",
    " ",
    "hola",
    "{",
    "null",
    "7",
    '"start_operation"',
    "[]",
    "{}",
    "[" * 60_000,
    '{"a":' * 10_000,
    '{"operation_id":"bad"}',
    '{"type":"start_operation"}',
    '{"type":7,"operation_id":"bad"}',
    '{"type":null,"operation_id":"bad"}',
    '{"type":["start_operation"],"operation_id":"bad"}',
    '{"type":"START_OPERATION","operation_id":"bad"}',
    '{"type":"update_step","operation_id":"bad"}',
    '{"type":"start_operation","operation_id":7}',
    '{"type":"start_operation","operation_id":null}',
    '{"type":"start_operation","operation_id":""}',
    '{"type":"start_operation","operation_id":"con espacio"}',
    '{"type":"start_operation","operation_id":"\\ud800"}',
    '{"type":"start_operation","operation_id":"a\\u0000b"}',
    '{"type":"start_operation","operation_id":"bad","steps":"copy"}',
    '{"type":"start_operation","operation_id":"bad","steps":[7]}',
    '{"type":"start_operation","operation_id":"bad","steps":["un paso"]}',
    '{"type":"start_operation","operation_id":"bad","steps":{"copy":1}}',
    json.dumps({"type": "start_operation", "operation_id": "bad", "steps": [f"s{n}" for n in range(101)]}),
    json.dumps({"type": "start_operation", "operation_id": "x" * 129}),
    '{"type":"start_operation","operation_id":"bad","n":NaN}',
    '{"type":"start_operation","operation_id":"bad","n":Infinity}',
    '{"type":"start_operation","operation_id":"bad","n":' + "9" * 5000 + "}",
    '{"type":"start_operation","operation_id":"bad"} and more',
    "{'type':'start_operation','operation_id':'bad'}",
    '{"type":"stop_operation","operation_id":"nobody"}',
    '{"type":"stop_operation"}',
]


async def talk(server: ServerProcess, *pieces: bytes) -> bytes:
    """Send each piece over one connection when the one before was answered; return what comes back in all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    received = b""
    try:
        for piece in pieces[:-1]:
            writer.write(piece)
            received += await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        writer.write(pieces[-1])
        await writer.drain()
        while chunk := await asyncio.wait_for(reader.read(65536), READ_SECONDS):
            received += chunk
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return received


@pytest.fixture
async def unharmed(server: ServerProcess, mine: httpx.AsyncClient) -> AsyncIterator[None]:
    """After the test the server is well, has logged no failure, and has no operation that nonsense began."""
    logged = len(server.log)
    await begin(mine, "mine", "copy")
    await published(mine, "mine", "copy", "in_progress")
    before = (await mine.get("/api/operaciones/mine")).json()
    yield
    assert server.exit_code is None
    assert (await mine.get("/readyz")).status_code == 200
    log = server.log[logged:]
    assert "Traceback" not in log, log
    assert not re.search(r"\[error|\[critical", log), log
    after = (await mine.get("/api/operaciones?limit=100")).json()["operations"]
    ours = [it for it in after if not it["operation_id"].startswith(("joined-", "marker-"))]
    assert ours == [before]


@pytest.mark.usefixtures("unharmed")
async def test_malformed_requests(server: ServerProcess) -> None:
    names = list(REQUESTS)
    answers = await asyncio.gather(*(talk(server, REQUESTS[name]) for name in names))
    for name, answer in zip(names, answers, strict=True):
        for status in re.findall(rb"HTTP/1\.1 (\d{3})", answer):
            assert int(status) < 500 or status in {b"501", b"505"}, f"{name}: {answer!r}"


@pytest.mark.usefixtures("unharmed")
async def test_malformed_frames(server: ServerProcess) -> None:
    names = list(FRAMES)
    answers = await asyncio.gather(*(talk(server, HANDSHAKE, FRAMES[name]) for name in names))
    for name, answer in zip(names, answers, strict=True):
        assert answer.startswith(b"HTTP/1.1 101"), f"{name}: {answer!r}"


@pytest.mark.usefixtures("unharmed")
async def test_frames_before_the_handshake_is_over(server: ServerProcess) -> None:
    await asyncio.gather(*(talk(server, HANDSHAKE + frames) for frames in FRAMES.values()))


@pytest.mark.usefixtures("unharmed")
async def test_the_documented_socket_ignores_what_it_does_not_understand(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    """It is counted, and the socket goes on as if nothing had been said."""
    refused = await _refused(mine)
    messages = [*MESSAGES, '{"type":"cancel_operation","operation_id":"mine"}']
    async with LegacySocket(f"{server.ws_url}/ws/progress?userId={user}") as tab:
        assert (await tab.next())["operation_id"] == "mine"
        for message in messages:
            await tab.send_raw(message)
        await joined(tab, mine)
        unknown = [it for it in messages if "nobody" in it]  # which is nothing to stop, and no mistake
        assert await _refused(mine) - refused == len(messages) - len(unknown)
        marker = await mark(mine)
        assert (await tab.next())["operation_id"] == marker


async def _refused(client: httpx.AsyncClient) -> float:
    text = (await client.get("/metrics")).text
    found = re.search(r"^wellnet_refused_messages_total (\S+)$", text, re.MULTILINE)
    assert found, text
    return float(found[1])


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
async def test_v2_answers_what_it_does_not_understand(server: ServerProcess, user: int, message: str) -> None:
    async with V2Socket(f"{server.ws_url}/ws/progress?userId={user}") as socket:
        await socket.until_live()
        for _ in range(2):  # and stays open
            await socket.send_raw(message)
            answer = await socket.next()
            assert (answer.event, answer.id) == ("error", None)
            assert set(answer.data) == {"code", "detail"}
            assert all(isinstance(it, str) and it for it in answer.data.values())


async def test_v2_answers_with_the_codes_of_http(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    await begin(mine, "cancelled")
    await mine.post("/api/operaciones/cancelled/cancelar", json={})
    codes = {}
    async with V2Socket(f"{server.ws_url}/ws/progress?userId={user}") as socket:
        await socket.until_live()
        for kind, operation_id in [
            ("stop_operation", "nobody"),
            ("cancel_operation", "nobody"),
            ("cancel_operation", "cancelled"),
            ("start_operation", "a b"),
            ("nonsense", "mine"),
        ]:
            await socket.send({"type": kind, "operation_id": operation_id})
            codes[kind, operation_id] = (await socket.next()).data["code"]
    assert codes == {
        ("stop_operation", "nobody"): "not_found",
        ("cancel_operation", "nobody"): "not_found",
        ("cancel_operation", "cancelled"): "operation_ended",
        ("start_operation", "a b"): "unprocessable",
        ("nonsense", "mine"): "bad_request",
    }


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(
    ("path", "fields"),
    [
        *[(path, ("id_conexion", "id_usuario", "direccion_ip")) for path in DOCUMENTED],
        ("/api/operaciones", ("operation_id", "steps")),
        ("/api/operaciones/other/pasos/copy", ("status", "message", "progress")),
    ],
)
async def test_values_of_every_wrong_kind_in_every_field(
    mine: httpx.AsyncClient, path: str, fields: tuple[str, ...]
) -> None:
    """A sound body with one such value: of these there is nothing to do, or nothing that may be done."""
    sound = {"id_conexion": 999, "id_usuario": 1, "direccion_ip": "10.9.9.9", "status": "bad", "steps": [""]}
    values = [True, -1, 0, 2**63, 2**64, 1e308, 1.5, "", "a b", "\ud800", "\0", [[]], {}, {"a": 1}, ["a b"]]
    for field in fields:
        for value in values:
            body = json.dumps({**sound, field: value})
            answer = await mine.post(path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in {404, 422}, f"{body}: {answer.status_code}"


@pytest.mark.usefixtures("unharmed")
async def test_nothing_from_outside_forges_a_line_of_the_log(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    forged = "2026-01-01T00:00:00Z [info     ] forged"
    async with LegacySocket(f"{server.ws_url}/ws/progress?userId={user}") as tab:
        await tab.send_raw(json.dumps({"type": f"\n{forged}\n", "operation_id": f"\r\n{forged}"}))
        await mine.get("/api/operaciones", params={"limit": f"1\n{forged}"})
        await mine.get(f"/sse/operations/%0a{forged.replace(' ', '%20')}")
        await joined(tab, mine)
    assert not [line for line in server.log.splitlines() if line.startswith(forged)]
