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
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

from wellnet_sse.errors import RouterRefusedError
from wellnet_sse.provisioning.rest import Reply, Rest, RouterLimits, refusal

_Address = IPv4Address | IPv6Address

_ID = re.compile(r"\*[0-9A-Fa-f]{1,16}")
_MATCHES_LIMIT = 100  # nobody has more entries of one address in one menu


class WriteState(Enum):
    """What is known of a removal on the router."""

    NOT_SENT = "not_sent"  # nothing was asked to be removed
    UNKNOWN = "unknown"  # something was, and nobody has looked since
    CONFIRMED = "confirmed"  # read back: the router holds nothing of the address


OnWrite = Callable[[WriteState], Awaitable[None]]


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


class Router:
    """One router. Made by `RouterClient.router`; holds nothing that must be closed."""

    def __init__(
        self, send: Callable[[str, str, dict[str, str]], Awaitable[Reply]], limits: RouterLimits
    ) -> None:
        self._send = send
        self._limits = limits

    async def check(self) -> None:
        """See that the router takes our account. Raises `RouterRefusedError`, `RouterUnreachableError`."""
        reply = await self._send("GET", "system/identity", {})
        if reply.status != 200:
            raise refusal(reply.status)

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
            raise refusal(reply.status)


class RouterClient:
    """Gives every router of the house; see `Rest` for what they are asked by."""

    def __init__(
        self,
        username: str,
        password: str,
        *,
        limits: RouterLimits | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._limits = limits or RouterLimits()
        self._rest = Rest(username, password, limits=self._limits, verify=verify)

    def router(self, url: str) -> Router:
        """Name the router at `url` (`https://10.255.0.1`); nothing is sent yet."""
        base = url.rstrip("/") + "/rest/"

        async def send(method: str, path: str, query: dict[str, str]) -> Reply:
            return await self._rest.call(method, base + path, query)

        return Router(send, self._limits)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._rest.aclose()


async def _to_nobody(_state: WriteState) -> None:
    return


def _already_gone(reply: Reply) -> bool:
    # RouterOS says it as 404 or, in some versions, as 400 with this detail.
    return reply.status == 404 or (reply.status == 400 and b"no such item" in reply.body)


def _entries(reply: Reply) -> list[dict[str, object]]:
    if reply.status != 200:
        raise refusal(reply.status)
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
