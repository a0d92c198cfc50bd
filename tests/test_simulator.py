"""The simulated router answers as RouterOS does: over HTTP, to a client that is not ours."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.simulated_router import PASSWORD, USERNAME, served
from wellnet_sse.simulator import Behaviour, RouterSimulator

LISTS = "/rest/ip/firewall/address-list"


@pytest.fixture
def simulator() -> RouterSimulator:
    entries = {"ip/firewall/address-list": [{"list": "a", "address": f"10.0.0.{n}"} for n in (1, 2)]}
    return RouterSimulator(entries, username=USERNAME, password=PASSWORD)


@pytest.fixture
async def client(simulator: RouterSimulator) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        served(simulator.app) as url,
        httpx.AsyncClient(base_url=url, auth=(USERNAME, PASSWORD), trust_env=False) as client,
    ):
        yield client


async def test_a_menu_is_listed_filtered_and_cut_to_properties(client: httpx.AsyncClient) -> None:
    everything = (await client.get(LISTS)).json()
    assert [item["address"] for item in everything] == ["10.0.0.1", "10.0.0.2"]
    assert everything[0][".id"].startswith("*")
    filtered = await client.get(LISTS, params={"address": "10.0.0.2", ".proplist": "address"})
    assert filtered.json() == [{"address": "10.0.0.2"}]
    assert (await client.get(LISTS, params={"address": "10.0.0"})).json() == []


async def test_an_entry_is_added_read_and_removed_once(client: httpx.AsyncClient) -> None:
    added = await client.put(LISTS, json={"list": "a", "address": "10.0.0.3"})
    assert added.status_code == 201
    path = f"{LISTS}/{added.json()['.id']}"
    assert (await client.get(path)).json() == added.json()
    removed = await client.delete(path)
    assert (removed.status_code, removed.content) == (204, b"")
    again = await client.delete(path)
    assert again.status_code == 404
    assert again.json() == {"error": 404, "message": "Not Found", "detail": "no such item"}


async def test_an_unknown_menu_and_a_removal_of_everything_are_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/rest/no/such/menu")).json()["error"] == 400
    assert (await client.delete(LISTS)).status_code == 400
    assert len((await client.get(LISTS)).json()) == 2


@pytest.mark.parametrize("auth", [None, ("wellnet", "otra"), ("otro", PASSWORD)])
async def test_only_its_account_is_let_in(client: httpx.AsyncClient, auth: tuple[str, str] | None) -> None:
    answer = await client.get("/rest/system/identity", auth=auth)
    assert answer.status_code == 401
    assert answer.json() == {"error": 401, "message": "Unauthorized"}


async def test_refusing_is_switched_on_and_off_over_http(client: httpx.AsyncClient) -> None:
    assert (await client.put("/simulator/mode", json={"mode": "refusing"})).json()["mode"] == "refusing"
    item_id = (await client.get(LISTS)).json()[0][".id"]
    assert (await client.delete(f"{LISTS}/{item_id}")).status_code == 400
    await client.put("/simulator/mode", json={"mode": "normal"})
    assert (await client.delete(f"{LISTS}/{item_id}")).status_code == 204


async def test_everything_can_be_refused(client: httpx.AsyncClient, simulator: RouterSimulator) -> None:
    simulator.behave(Behaviour(mode="refusing", refuses_all=True, refusal_status=500))
    assert (await client.get("/rest/system/identity")).status_code == 500


async def test_an_unreachable_router_answers_once_it_is_back(client: httpx.AsyncClient) -> None:
    await client.put("/simulator/mode", json={"mode": "unreachable"})
    with pytest.raises(httpx.ReadTimeout):
        await client.get("/rest/system/identity", timeout=0.1)
    waiting = asyncio.create_task(client.get("/rest/system/identity"))
    await client.put("/simulator/mode", json={"mode": "normal"})
    assert (await waiting).status_code == 200


async def test_a_slow_router_takes_its_time(client: httpx.AsyncClient) -> None:
    await client.put("/simulator/mode", json={"mode": "slow", "delay_seconds": 30})
    with pytest.raises(httpx.ReadTimeout):
        await client.get("/rest/system/identity", timeout=0.1)
    await client.put("/simulator/mode", json={"mode": "slow", "delay_seconds": 0})
    assert (await client.get("/rest/system/identity")).json() == {"name": "simulador"}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"mode": "broken"}', b'{"mode": "slow", "delay_seconds": -1}', b'{"mode": {}}']
)
async def test_an_unknown_mode_changes_nothing(client: httpx.AsyncClient, body: bytes) -> None:
    assert (await client.put("/simulator/mode", content=body)).status_code == 422
    assert (await client.get("/simulator/mode")).json()["mode"] == "normal"


async def test_calls_are_counted_by_method_and_menu(client: httpx.AsyncClient) -> None:
    await client.get(LISTS)
    for item_id in ("*1", "*2"):
        await client.delete(f"{LISTS}/{item_id}")
    assert (await client.get("/simulator/calls")).json() == {
        "total": 3,
        "calls": {"GET ip/firewall/address-list": 1, "DELETE ip/firewall/address-list": 2},
    }
