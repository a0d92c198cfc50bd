"""The server as it is spoken with: who asks, what is refused for good, when to ask again."""

import asyncio
import email.utils
import json
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from wellnet_sse.terminal.exits import RefusedError, StrangerError, UnreachableError

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 60.0
"""A connection that says nothing for so long, not even the comment of every 15 s, is taken for dead."""
BACKOFF_SECONDS = 15.0
FIRST_WAIT_SECONDS = 1.0
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""What another try may cure. 500, 502 and 504 are a proxy's as well, whose server is about to come back."""
_UNDONE = frozenset({425, 429, 503})
"""Said before anything is done."""


class BusyError(Exception):
    """This try came to nothing, and the next may not; `reason` is for a person.

    `in_doubt`: what was asked for may be done all the same.
    """

    def __init__(self, reason: str, *, retry_after_seconds: float = 0.0, in_doubt: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds
        self.in_doubt = in_doubt


class Remote:
    """The server at `url`, for one user. `async with` keeps its connections.

    `token` goes into `Authorization`; `cafile` holds the certificate (PEM) that the server, or whoever issued
    its own, is to be trusted by. Raises RefusedError where the URL is none or the file cannot be read.
    """

    def __init__(
        self, url: str, *, user_id: int | None = None, token: str | None = None, cafile: Path | None = None
    ) -> None:
        self.url = url.rstrip("/")
        headers = {"Accept-Encoding": "identity"}  # a stream is not to wait for a compressor's block
        if user_id is not None:
            headers["X-User-ID"] = str(user_id)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            parts = urlsplit(self.url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise RefusedError("--url must begin with http:// or https:// and name a host")
            self._client = httpx.AsyncClient(
                base_url=self.url,
                headers=headers,
                timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
                verify=True if cafile is None else ssl.create_default_context(cafile=str(cafile)),
                trust_env=False,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise RefusedError("--url or the token cannot be used") from error
        except OSError as error:
            raise RefusedError(f"--cafile {cafile}: cannot be read as certificates in PEM") from error

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._client.__aexit__(*error)

    def stream(self, method: str, path: str, **options: Any) -> AbstractAsyncContextManager[httpx.Response]:
        """An answer whose body is read as it comes; not yet checked."""
        return self._client.stream(method, path, **options)

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A whole answer. Raises BusyError and RefusedError, as `check` does; 404 is an answer."""
        try:
            response = await self._client.request(method, path, **options)
        except httpx.TransportError as error:
            raise BusyError(trouble(error)) from error
        if response.status_code != 404:
            await check(response)
        return response


async def check(response: httpx.Response) -> None:
    """Return if `response` is no refusal. Raises BusyError where another try may help, else RefusedError."""
    status = response.status_code
    if status < 300:
        return
    told = f"{status}: {_detail(status, await response.aread())}"
    if status in _AGAIN:
        raise BusyError(told, retry_after_seconds=_retry_after(response), in_doubt=status not in _UNDONE)
    raise RefusedError(f"The server answered {told}")


async def body_of(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer. Raises StrangerError where there is none."""
    try:
        body = json.loads(await response.aread())
    except ValueError:
        raise StrangerError from None
    if not isinstance(body, dict):
        raise StrangerError
    return body


def trouble(error: httpx.TransportError) -> str:
    """What went wrong with a connection, for a person."""
    if isinstance(error, httpx.TimeoutException):
        return "the server does not answer"
    if isinstance(error, httpx.ConnectError):
        return f"the server cannot be reached: {error}"
    return "the connection was cut"


def _detail(status: int, body: bytes) -> str:
    """The sentence of a Problem, or of a documented endpoint's answer; else what the status means."""
    try:
        told = httpx.Response(status, content=body).json()
        return str(told.get("detail") or told["message"])
    except (ValueError, LookupError, AttributeError):
        return httpx.codes.get_reason_phrase(status).lower() or "refused"


def _retry_after(response: httpx.Response) -> float:
    """Seconds (RFC 9110 §10.2.3), at most a minute; 0 where none are named."""
    text = str(response.headers.get("Retry-After", ""))
    if text.isascii() and text.isdigit():
        return min(float(text), 60.0)
    try:
        at = email.utils.parsedate_to_datetime(text).timestamp()
    except ValueError:
        return 0.0
    return min(max(at - time.time(), 0.0), 60.0)


class Patience:
    """How long to wait before the next try, and when to give up.

    Each wait is twice as long as the last, at most 15 s, and shortened by chance to a half at least, so that
    the clients of a server which comes back do not come all at once. `seconds`: how long it may be without
    an answer; 0 for ever.
    """

    def __init__(
        self,
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._chance = chance
        self._tries = 0
        self._since = clock()

    def answered(self) -> None:
        """All is well again."""
        self._tries = 0
        self._since = self._clock()

    def next_wait(self, busy: BusyError, *, first_seconds: float = FIRST_WAIT_SECONDS) -> float:
        """Seconds to wait, at least what the server asked for. Raises UnreachableError at the end of it."""
        longest = min(first_seconds * 2.0 ** min(self._tries, 10), BACKOFF_SECONDS)
        wait = max(longest * (1 + self._chance()) / 2, busy.retry_after_seconds * (1 + self._chance() / 4))
        self._tries += 1
        if self._seconds and self._clock() + wait > self._since + self._seconds:
            raise UnreachableError(f"Given up after {self._seconds:g} s: {busy.reason}")
        return wait


async def insist(
    attempt: Callable[[], Awaitable[httpx.Response]], patience: Patience, waiting: Callable[[str], None]
) -> httpx.Response:
    """Make `attempt` until it is answered; what it asks for must bear being asked twice."""
    while True:
        try:
            return await attempt()
        except BusyError as busy:
            wait = patience.next_wait(busy)
            waiting(f"{busy.reason}; trying again in {wait:.1f} s")
            await asyncio.sleep(wait)
