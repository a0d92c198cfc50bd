"""A router that is not there: the part of the RouterOS v7 REST API that this house uses, as an ASGI app.

Any ASGI server can serve it over real HTTP. `/rest/…` answers as RouterOS does; `/simulator/…`, which no
router has, lets a person or a test make it slow, refusing or unreachable, and count what was asked of it.
"""

import asyncio
import hmac
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from quart import Quart, Response, request

Mode = Literal["normal", "slow", "refusing", "unreachable"]
Entries = Mapping[str, Sequence[Mapping[str, str]]]

_IDENTITY = "system/identity"


@dataclass(slots=True)
class Behaviour:
    """How the router behaves: `slow` waits before each answer, `unreachable` never answers.

    `refusing` answers `refusal_status` to what would change it, or with `refuses_all` to everything.
    `ignores_filters` lists everything, whatever the query says.
    """

    mode: Mode = "normal"
    delay_seconds: float = 2.0
    refusal_status: int = 400
    refuses_all: bool = False
    ignores_filters: bool = False


class RouterSimulator:
    """One simulated router, which begins with `entries` (by menu) and knows one account."""

    def __init__(self, entries: Entries, *, username: str, password: str) -> None:
        self.behaviour = Behaviour()
        self.calls: Counter[str] = Counter()
        self.app = Quart(__name__)
        self._username = username
        self._password = password
        self._last_id = 0
        self._changed = asyncio.Event()
        self._menus: dict[str, dict[str, dict[str, str]]] = {menu: {} for menu in entries}
        for menu, items in entries.items():
            for item in items:
                self.add(menu, item)
        self.app.add_url_rule("/rest/<path:path>", "rest", self._rest, methods=["GET", "PUT", "DELETE"])
        self.app.add_url_rule("/simulator/mode", "read_mode", self._read_mode, methods=["GET"])
        self.app.add_url_rule("/simulator/mode", "write_mode", self._write_mode, methods=["PUT"])
        self.app.add_url_rule("/simulator/calls", "calls", self._read_calls, methods=["GET"])

    def add(self, menu: str, item: Mapping[str, str]) -> str:
        """Add an entry to a menu; gives the `.id` that it got."""
        self._last_id += 1
        item_id = f"*{self._last_id:X}"
        self._menus.setdefault(menu, {})[item_id] = {".id": item_id, **item}
        return item_id

    def entries(self, menu: str) -> list[dict[str, str]]:
        """Give what a menu holds now."""
        return [dict(item) for item in self._menus[menu].values()]

    def behave(self, behaviour: Behaviour) -> None:
        """Behave like this from now on; whoever waits for an unreachable router is answered after all."""
        self.behaviour = behaviour
        self._changed.set()
        self._changed = asyncio.Event()

    async def _rest(self, path: str) -> Response:
        menu, _, item_id = path.partition("/*")
        self.calls[f"{request.method} {menu}"] += 1
        if self.behaviour.mode == "unreachable":
            await self._changed.wait()
        elif self.behaviour.mode == "slow":
            await asyncio.sleep(self.behaviour.delay_seconds)
        if not self._authorized():
            return _error(401, "Unauthorized")
        if self._refuses(request.method):
            return _error(self.behaviour.refusal_status, "Refused", "failure: simulated refusal")
        if menu == _IDENTITY:
            return _json({"name": "simulador"})
        if menu not in self._menus:
            return _error(400, "Bad Request", "no such command or directory")
        if item_id:
            return self._one(menu, f"*{item_id}", request.method)
        return await self._all(menu, request.method)

    async def _all(self, menu: str, method: str) -> Response:
        if method == "GET":
            return _json(self._list(menu))
        if method == "PUT":
            item = await request.get_json()
            return _json(self._menus[menu][self.add(menu, item)], status=201)
        return _error(400, "Bad Request", "missing .id")

    def _one(self, menu: str, item_id: str, method: str) -> Response:
        item = self._menus[menu].get(item_id)
        if item is None:
            return _error(404, "Not Found", "no such item")
        if method == "GET":
            return _json(item)
        if method == "DELETE":
            del self._menus[menu][item_id]
            return Response("", status=204)
        return _error(400, "Bad Request", "unknown command")

    def _list(self, menu: str) -> list[dict[str, str]]:
        wanted = {key: value for key, value in request.args.items() if not key.startswith(".")}
        properties = request.args.get(".proplist")
        if self.behaviour.ignores_filters:
            wanted = {}
        found = [item for item in self._menus[menu].values() if wanted.items() <= item.items()]
        if properties is None:
            return found
        kept = set(properties.split(","))
        return [{key: value for key, value in item.items() if key in kept} for item in found]

    def _refuses(self, method: str) -> bool:
        return self.behaviour.mode == "refusing" and (self.behaviour.refuses_all or method != "GET")

    def _authorized(self) -> bool:
        given = request.authorization
        if given is None or given.type != "basic":
            return False
        pair = f"{given.username}\0{given.password}"
        return hmac.compare_digest(pair.encode(), f"{self._username}\0{self._password}".encode())

    async def _read_mode(self) -> Response:
        return _json({"mode": self.behaviour.mode, "delay_seconds": self.behaviour.delay_seconds})

    async def _write_mode(self) -> Response:
        body = await request.get_json(force=True, silent=True)
        if not isinstance(body, dict) or body.get("mode") not in get_args(Mode):
            return _error(422, "Unprocessable", f"mode must be one of {', '.join(get_args(Mode))}")
        delay = body.get("delay_seconds", Behaviour().delay_seconds)
        if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay <= 3600:
            return _error(422, "Unprocessable", "delay_seconds must be a number from 0 to 3600")
        self.behave(Behaviour(mode=body["mode"], delay_seconds=float(delay)))
        return await self._read_mode()

    async def _read_calls(self) -> Response:
        return _json({"total": self.calls.total(), "calls": dict(self.calls)})


def _json(value: Any, *, status: int = 200) -> Response:
    return Response(json.dumps(value), status=status, content_type="application/json")


def _error(status: int, message: str, detail: str | None = None) -> Response:
    body = {"error": status, "message": message}
    return _json(body if detail is None else {**body, "detail": detail}, status=status)
