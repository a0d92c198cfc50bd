"""RouterOS's REST API over HTTP: connections, waiting, trying again, and how much may be answered."""

import asyncio
import ssl
from base64 import b64encode
from dataclasses import dataclass
from typing import NamedTuple

import aiohttp
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from wellnet_sse.errors import RouterRefusedError, RouterUnreachableError


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterLimits:
    """How long a router is waited for, how often it is asked again, and how much it may answer.

    `call_seconds` bounds one call with all its attempts. An attempt is repeated when the router cannot be
    reached, is silent or answers 5xx; every call here may be repeated without harm. `looks` is how often the
    router is read back before what is left counts as left: a PPP session takes a moment to be torn down.
    `connections` is how many each router is asked over at once: one that hangs holds up no other.
    """

    connect_seconds: float = 3.0
    read_seconds: float = 5.0
    call_seconds: float = 10.0
    attempts: int = 3
    wait_seconds: float = 0.2
    looks: int = 3
    response_bytes: int = 8 * 1024 * 1024
    connections: int = 8


class Reply(NamedTuple):
    """What a router answered, but for 5xx: those are tried again, and then an error."""

    status: int
    body: bytes


class _TransientError(Exception):
    """An attempt that may be made again; never leaves this module."""

    def __init__(self, meaning: RouterRefusedError | RouterUnreachableError) -> None:
        super().__init__(meaning.detail)
        self.meaning = meaning


class Rest:
    """Asks every router of the house, each over a few connections of its own.

    `username` and `password` are an account that all of them have. `verify` is what their certificates are
    checked by; False: they are not.
    """

    def __init__(
        self, username: str, password: str, *, limits: RouterLimits, verify: ssl.SSLContext | bool
    ) -> None:
        self._limits = limits
        self._account = "Basic " + b64encode(f"{username}:{password}".encode()).decode()
        self._verify = verify
        self._opened: aiohttp.ClientSession | None = None

    @property
    def _session(self) -> aiohttp.ClientSession:
        # Opened when it is first used: it belongs to the loop that runs then.
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                headers={
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",  # a short answer must not unfold to `response_bytes`
                    "Authorization": self._account,
                },
                connector=aiohttp.TCPConnector(
                    limit=0, limit_per_host=self._limits.connections, ssl=self._verify
                ),
                timeout=aiohttp.ClientTimeout(
                    sock_connect=self._limits.connect_seconds, sock_read=self._limits.read_seconds
                ),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,  # routers are in the house: no proxy, no .netrc
            )
        return self._opened

    async def aclose(self) -> None:
        """Close every connection."""
        if self._opened is not None:
            await self._opened.close()

    async def call(self, method: str, url: str, query: dict[str, str]) -> Reply:
        """Ask once, or a few times. Raises RouterRefusedError and RouterUnreachableError."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._limits.attempts),
            wait=wait_random_exponential(multiplier=self._limits.wait_seconds),
            retry=retry_if_exception_type(_TransientError),
            reraise=True,
        )
        try:
            async with asyncio.timeout(self._limits.call_seconds):
                return await retrying(self._attempt, method, url, query)
        except _TransientError as error:
            raise error.meaning from error.__cause__
        except TimeoutError as error:
            raise RouterUnreachableError("El router no responde a tiempo") from error

    async def _attempt(self, method: str, url: str, query: dict[str, str]) -> Reply:
        try:
            async with self._session.request(method, url, params=query, allow_redirects=False) as response:
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > self._limits.response_bytes:
                        response.close()  # unread: the connection is of no more use
                        raise RouterRefusedError("El router dio una respuesta demasiado grande")
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise RouterUnreachableError("La dirección registrada del router no es válida") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _TransientError(RouterUnreachableError("El router no responde")) from error
        if response.status >= 500:
            raise _TransientError(refusal(response.status))
        return Reply(response.status, bytes(body))


def refusal(status: int) -> RouterRefusedError:
    """What to tell of an answer that is none of those a call can do with."""
    if status in {401, 403}:
        return RouterRefusedError("El router no aceptó las credenciales del sistema")
    return RouterRefusedError("El router rechazó la operación")
