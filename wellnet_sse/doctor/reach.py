"""A running server by its URL, through whatever stands between: what it says must arrive when it says it."""

import asyncio
import base64
import contextlib
import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import httpx

from wellnet_sse.doctor.findings import Finding
from wellnet_sse.terminal.event_stream import Block, EventStream
from wellnet_sse.terminal.exits import RefusedError
from wellnet_sse.terminal.remote import BusyError, Remote

LATE_SECONDS = 3.0
"""What has not come by then is held back: a server answers within milliseconds."""
CLOCK_SECONDS = 5.0
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
_HELD_BACK = (
    "A proxy between holds answers back: in nginx `proxy_buffering off;`, and no `proxy_ignore_headers "
    "X-Accel-Buffering;`, for /sse/ and /api/, as deploy/nginx.conf has it."
)


async def examine(remote: Remote) -> AsyncIterator[Finding]:
    """Look at everything, as the user of `remote`; one operation is begun, and cancelled."""
    try:
        response = await remote.ask("GET", "/readyz")
    except BusyError as error:
        yield Finding.wrong("server", error.reason, "See that it runs, and what its log says.")
        return
    if response.status_code == 404:
        yield Finding.wrong(
            "server", "/readyz is not there", "See that the URL is the server's, or its proxy's."
        )
        return
    yield Finding.fine("server", "it is ready")
    yield _clock(response)
    async for finding in _stream(remote):
        yield finding
    yield await _socket(remote)


def _clock(response: httpx.Response) -> Finding:
    try:
        ahead = parsedate_to_datetime(response.headers["Date"]).timestamp() - time.time()
    except (KeyError, ValueError):
        return Finding.doubtful("clock", "the answer has no date", "See what the proxy makes of answers.")
    if abs(ahead) > CLOCK_SECONDS:
        mend = "Let NTP set both clocks: tokens and times of events go by them."
        return Finding.wrong("clock", f"the server's is {ahead:+.0f} s from this machine's", mend)
    return Finding.fine("clock", "the server's and this machine's agree")


async def _stream(remote: Remote) -> AsyncIterator[Finding]:
    """A stream of its own operation, which then gets an event and an ending; each must come at once."""
    operation_id = f"doctor-{secrets.token_hex(6)}"
    # What a browser asks for: whatever compresses may do so.
    headers = {"Accept": "text/event-stream", "Accept-Encoding": "gzip"}
    opening = remote.stream("GET", f"/sse/operations/{operation_id}", headers=headers)
    try:
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(LATE_SECONDS):
                    response = await stack.enter_async_context(opening)
            except TimeoutError:
                yield Finding.wrong("stream", f"nothing of it came within {LATE_SECONDS:g} s", _HELD_BACK)
                return
            for finding in _head(response):
                yield finding
            if response.status_code != 200:
                return
            blocks: asyncio.Queue[Block] = asyncio.Queue()
            pump = asyncio.create_task(_pump(response, blocks))
            stack.callback(pump.cancel)
            async for finding in _events(remote, operation_id, blocks):
                yield finding
    except httpx.TransportError:
        yield Finding.wrong("stream", "the connection was cut", "See what the proxy's log says of it.")


def _head(response: httpx.Response) -> list[Finding]:
    status, headers = response.status_code, response.headers
    if status in {401, 403}:
        return [
            Finding.wrong(
                "stream", f"refused with {status}", "Say who asks: --user, --token-file or WELLNET_TOKEN."
            )
        ]
    if status != 200:
        return [Finding.wrong("stream", f"answered with {status}", "See what the server's log says of it.")]
    found = []
    if not headers.get("Content-Type", "").startswith("text/event-stream"):
        mend = "See that the proxy passes /sse/ on to the server, and does not answer by itself."
        return [Finding.wrong("stream", f"it is of type {headers.get('Content-Type', 'none')}", mend)]
    if encoding := headers.get("Content-Encoding"):
        mend = "Do not compress text/event-stream: a compressor waits for more."
        found.append(Finding.wrong("stream", f"it is compressed ({encoding})", mend))
    if response.http_version == "HTTP/1.0":
        mend = "Let the proxy speak HTTP/1.1 (nginx: `proxy_http_version 1.1;`)."
        found.append(Finding.doubtful("stream", "it comes over HTTP/1.0", mend))
    return found or [Finding.fine("stream", f"opened over {response.http_version}, not compressed")]


async def _pump(response: httpx.Response, blocks: asyncio.Queue[Block]) -> None:
    stream = EventStream()
    with contextlib.suppress(httpx.TransportError):
        async for chunk in response.aiter_bytes():
            for block in stream.feed(chunk):
                blocks.put_nowait(block)


async def _events(remote: Remote, operation_id: str, blocks: asyncio.Queue[Block]) -> AsyncIterator[Finding]:
    operation = f"/api/operaciones/{operation_id}"
    try:
        if await _arrives(blocks, "live") is None:
            yield Finding.wrong(
                "stream", f"its first events did not come within {LATE_SECONDS:g} s", _HELD_BACK
            )
            return
        await remote.ask("POST", "/api/operaciones", json={"operation_id": operation_id, "steps": ["doctor"]})
        seconds = await _arrives(blocks, "message")
        await remote.ask("POST", f"{operation}/cancelar", json={})
        if seconds is None or await _arrives(blocks, "end") is None:
            yield Finding.wrong("events", f"one did not come within {LATE_SECONDS:g} s", _HELD_BACK)
        else:
            yield Finding.fine("events", f"each comes by itself, after {seconds * 1000:.0f} ms")
    except (BusyError, RefusedError) as error:
        yield Finding.wrong(
            "events", f"nothing could be published: {error}", "See what the server's log says."
        )


async def _arrives(blocks: asyncio.Queue[Block], event: str) -> float | None:
    """Seconds until a block of this kind; None where it is late."""
    began = time.monotonic()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LATE_SECONDS):
            while (await blocks.get()).event != event:
                pass
            return time.monotonic() - began
    return None


async def _socket(remote: Remote) -> Finding:
    """Whether an upgrade passes, and then messages."""
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    accept = base64.b64encode(hashlib.sha1(f"{key}{_GUID}".encode()).digest()).decode()  # noqa: S324 - RFC 6455
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Protocol": "wellnet.progress.v2",
    }
    mend = (
        "Let the proxy pass it on: in nginx `proxy_http_version 1.1;` and the headers `Upgrade` and "
        "`Connection`, as deploy/nginx.conf has them."
    )
    try:
        async with (
            asyncio.timeout(LATE_SECONDS),
            remote.stream("GET", "/ws/progress", headers=headers) as answer,
        ):
            if answer.status_code != 101 or answer.headers.get("Sec-WebSocket-Accept") != accept:
                return Finding.wrong("websocket", f"the upgrade was answered with {answer.status_code}", mend)
            network = answer.extensions["network_stream"]
            seen = b""
            while b'"live"' not in seen:
                piece = await network.read(4096, timeout=LATE_SECONDS)
                if not piece:
                    return Finding.wrong("websocket", "it was closed at once", "See what the log says of it.")
                seen += piece
            return Finding.fine("websocket", "opens, and messages come")
    except TimeoutError:
        return Finding.wrong("websocket", f"nothing came within {LATE_SECONDS:g} s", mend)
    except httpx.HTTPError:
        return Finding.wrong("websocket", "the connection was cut", mend)
