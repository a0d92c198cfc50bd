"""The routers, over the RouterOS v7 REST API.

https://help.mikrotik.com/docs/spaces/ROS/pages/47579162/REST+API: `GET /rest/<menu>?<property>=<value>` lists
what matches, `DELETE /rest/<menu>/<.id>` removes one entry; everything is JSON, and every value a string.
"""

import asyncio
import json
import re
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

import httpx
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from wellnet_sse.errors import RouterRefusedError, RouterUnreachableError

_Address = IPv4Address | IPv6Address

_ID = re.compile(r"\*[0-9A-Fa-f]{1,16}")
_MATCHES_LIMIT = 100  # nobody has more entries of one address in one menu


class WriteState(Enum):
    """What is known of a removal on the router."""

    NOT_SENT = "not_sent"  # nothing was asked to be removed
    UNKNOWN = "unknown"  # something was, and nobody has looked since
    CONFIRMED = "confirmed"  # read back: the router holds nothing of the address


OnWrite = Callable[[WriteState], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterLimits:
    """How long a router is waited for, how often it is asked again, and how much it may answer.

    `call_seconds` bounds one call with all its attempts. An attempt is repeated when the router cannot be
    reached, is silent or answers 5xx; every call here may be repeated without harm. `looks` is how often the
    router is read back before what is left counts as left: a PPP session takes a moment to be torn down.
    """

    connect_seconds: float = 3.0
    read_seconds: float = 5.0
    call_seconds: float = 10.0
    attempts: int = 3
    wait_seconds: float = 0.2
    looks: int = 3
    response_bytes: int = 8 * 1024 * 1024
    connections: int = 20


class _Place(NamedTuple):
    """A menu that can hold an address: in which property, and how the router may write it there."""

    menu: str
    field: str
    suffixes: tuple[str, ...] = ("",)
    owned: bool = False  # a dynamic entry is its session's, cannot be removed, and goes when the session does


# In the order of removal: a secret goes before its session, or the client would dial in again.
_PLACES: dict[int, tuple[_Place, ...]] = {
    4: (
        _Place("queue/simple", "target", ("/32", ""), owned=True),
        _Place("ppp/secret", "remote-address"),
        _Place("ppp/active", "address"),
        _Place("ip/dhcp-server/lease", "address"),
        _Place("ip/firewall/address-list", "address"),
    ),
    6: (
        _Place("queue/simple", "target", ("/128", ""), owned=True),
        _Place("ipv6/dhcp-server/binding", "address", ("/128", "")),
        _Place("ipv6/firewall/address-list", "address", ("/128", "")),
    ),
}


class _TransientError(Exception):
    """An attempt that may be made again; never leaves this module."""

    def __init__(self, meaning: RouterRefusedError | RouterUnreachableError) -> None:
        super().__init__(meaning.detail)
        self.meaning = meaning


class _Reply(NamedTuple):
    status: int
    body: bytes


class Router:
    """One router. Made by `RouterClient.router`; holds nothing that must be closed."""

    def __init__(
        self, send: Callable[[str, str, dict[str, str]], Awaitable[_Reply]], limits: RouterLimits
    ) -> None:
        self._send = send
        self._limits = limits

    async def check(self) -> None:
        """See that the router takes our account. Raises `RouterRefusedError`, `RouterUnreachableError`."""
        reply = await self._send("GET", "system/identity", {})
        if reply.status != 200:
            raise _refusal(reply.status)

    async def connect(self) -> None:
        """See that the router answers, whatever it answers: a refusal is the work's to meet (protocol §6).

        Raises `RouterUnreachableError`.
        """
        with suppress(RouterRefusedError):
            await self.check()

    async def remove_address(self, address: str, *, on_write: OnWrite | None = None) -> None:
        """Remove every entry of exactly this address, and read back that none is left.

        What is already gone is done. An entry that serves other addresses as well (a network, a range, a
        queue with several targets) is not this address's, and stays.

        `on_write` hears of each change in what is known. Raises `RouterRefusedError`,
        `RouterUnreachableError`; `ValueError` when `address` is none.
        """
        notify = on_write or _to_nobody
        wanted = ip_address(address)
        await notify(WriteState.NOT_SENT)
        sent = False
        for place in _PLACES[wanted.version]:
            for entry_id, dynamic in (await self._find(place, wanted)).items():
                if dynamic and place.owned:
                    continue
                if not sent:
                    # Before it is sent: it may arrive although its answer does not.
                    await notify(WriteState.UNKNOWN)
                    sent = True
                await self._remove(place, entry_id)
        await self._confirm(wanted)
        await notify(WriteState.CONFIRMED)

    async def _confirm(self, address: _Address) -> None:
        for look in range(self._limits.looks):
            if look:
                await asyncio.sleep(self._limits.wait_seconds)
            for place in _PLACES[address.version]:
                if await self._find(place, address):
                    break
            else:
                return
        raise RouterRefusedError("El router conserva entradas de la dirección después de eliminarlas")

    async def _find(self, place: _Place, address: _Address) -> dict[str, bool]:
        """Give the ids of the address's entries, each with whether the router made it by itself."""
        found: dict[str, bool] = {}
        for suffix in place.suffixes:
            query = {place.field: f"{address}{suffix}", ".proplist": f".id,dynamic,{place.field}"}
            reply = await self._send("GET", place.menu, query)
            for entry in _entries(reply):
                # Filtered again here: a router that ignores the query must not cost another customer's line.
                if _is_just(entry.get(place.field), address):
                    found[_id_of(entry)] = entry.get("dynamic") in ("true", True)
        if len(found) > _MATCHES_LIMIT:
            raise RouterRefusedError("El router devolvió demasiadas entradas de la dirección")
        return found

    async def _remove(self, place: _Place, entry_id: str) -> None:
        reply = await self._send("DELETE", f"{place.menu}/{entry_id}", {})
        if not 200 <= reply.status < 300 and not _already_gone(reply):
            raise _refusal(reply.status)


class RouterClient:
    """Gives every router of the house over one pool of connections.

    `username` and `password` are an account that all of them have. `verify` and `transport` are httpx's own.
    """

    def __init__(
        self,
        username: str,
        password: str,
        *,
        limits: RouterLimits | None = None,
        verify: ssl.SSLContext | bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._limits = limits or RouterLimits()
        self._client = httpx.AsyncClient(
            auth=httpx.BasicAuth(username, password),
            # Not compressed: a short answer must not unfold to more than `response_bytes`.
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(self._limits.read_seconds, connect=self._limits.connect_seconds),
            limits=httpx.Limits(max_connections=self._limits.connections),
            verify=verify,
            transport=transport,
            trust_env=False,  # routers are in the house: no proxy, no .netrc
        )

    def router(self, url: str) -> Router:
        """Name the router at `url` (`https://10.255.0.1`); nothing is sent yet."""
        base = url.rstrip("/") + "/rest/"

        async def send(method: str, path: str, query: dict[str, str]) -> _Reply:
            return await self._call(method, base + path, query)

        return Router(send, self._limits)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _call(self, method: str, url: str, query: dict[str, str]) -> _Reply:
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

    async def _attempt(self, method: str, url: str, query: dict[str, str]) -> _Reply:
        try:
            async with self._client.stream(method, url, params=query) as response:
                body = bytearray()
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > self._limits.response_bytes:
                        raise RouterRefusedError("El router dio una respuesta demasiado grande")
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise RouterUnreachableError("La dirección registrada del router no es válida") from error
        except httpx.TransportError as error:
            raise _TransientError(RouterUnreachableError("El router no responde")) from error
        if response.status_code >= 500:
            raise _TransientError(_refusal(response.status_code))
        return _Reply(response.status_code, bytes(body))


async def _to_nobody(_state: WriteState) -> None:
    return


def _refusal(status: int) -> RouterRefusedError:
    if status in {401, 403}:
        return RouterRefusedError("El router no aceptó las credenciales del sistema")
    return RouterRefusedError("El router rechazó la operación")


def _already_gone(reply: _Reply) -> bool:
    # RouterOS says it as 404 or, in some versions, as 400 with this detail.
    return reply.status == 404 or (reply.status == 400 and b"no such item" in reply.body)


def _entries(reply: _Reply) -> list[dict[str, object]]:
    if reply.status != 200:
        raise _refusal(reply.status)
    try:
        entries = json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise _nonsense() from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _nonsense()
    return entries


def _id_of(entry: dict[str, object]) -> str:
    entry_id = entry.get(".id")
    if not isinstance(entry_id, str) or not _ID.fullmatch(entry_id):  # it becomes part of a path
        raise _nonsense()
    return entry_id


def _is_just(value: object, address: _Address) -> bool:
    """Say whether `value` names this address and nothing besides."""
    if not isinstance(value, str):
        return False
    try:
        return ip_network(value) == ip_network(address)
    except ValueError:
        return False


def _nonsense() -> RouterRefusedError:
    return RouterRefusedError("El router dio una respuesta que no se entiende")
