"""The demonstration's simulated router, from outside: how it behaves, what it was asked, what it holds."""

from typing import Any

import httpx

MENUS = ("queue/simple", "ppp/secret", "ppp/active", "ip/dhcp-server/lease", "ip/firewall/address-list")


class RouterControl:
    """Steers the simulated router that a demo server listens with on `port` (`WELLNET_DEMO_ROUTER_BIND`)."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    async def behave(self, mode: str, **options: Any) -> None:
        """Be `normal`, `slow` (`delay_seconds`), `refusing` or `unreachable` from now on."""
        async with self._client() as client:
            answer = await client.put("/simulator/mode", json={"mode": mode, **options})
        answer.raise_for_status()

    async def calls(self) -> int:
        """How often anybody asked it anything, `entries` aside."""
        async with self._client() as client:
            answer = (await client.get("/simulator/calls")).json()
        total: int = answer["total"]
        return total

    async def entries(self, address: str) -> int:
        """How many entries it holds of `address`; costs calls, so ask `calls` before."""
        found = 0
        async with self._client() as client:
            for menu in MENUS:
                answer = await client.get(f"/rest/{menu}")
                answer.raise_for_status()
                found += sum(1 for entry in answer.json() if _is_of(entry, address))
        return found

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, auth=("wellnet", ""), trust_env=False, timeout=10)


def _is_of(entry: dict[str, str], address: str) -> bool:
    named = {entry.get("target"), entry.get("address"), entry.get("remote-address")}
    return bool(named & {address, f"{address}/32"})
