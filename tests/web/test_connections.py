"""`GET /api/conexiones`: the connections, page by page, and what is left of each."""

from typing import Any

import httpx
import pytest

from tests.conftest import MakeServer
from tests.harness import RouterControl, free_port

PATH = "/api/conexiones"


async def listed(http: httpx.AsyncClient, **query: object) -> list[dict[str, Any]]:
    """Return the first page."""
    response = await http.get(PATH, params={"userId": 7, **{name: str(it) for name, it in query.items()}})
    assert response.status_code == 200, response.text
    page: list[dict[str, Any]] = response.json()["conexiones"]
    return page


async def test_pages_follow_each_other_to_the_end(http: httpx.AsyncClient) -> None:
    url, ids, pages = f"{PATH}?userId=7&limit=20", [], 0
    while url:
        page = (await http.get(url)).json()
        ids += [one["id_conexion"] for one in page["conexiones"]]
        url, pages = page["next"], pages + 1
    assert ids == list(range(1, 51))
    assert pages == 3


async def test_a_connection_is_told_with_what_it_has(http: httpx.AsyncClient) -> None:
    assert await listed(http, after=11, limit=1) == [
        {
            "id_conexion": 12,
            "direccion_ip": "10.0.0.12",
            "id_usuario": 3,
            "router": "router-demo",
            "servicios": ["Fibra 50M"],
            "configurada": True,
            "limpieza_pendiente": False,
        }
    ]


async def test_what_was_removed_is_gone_from_it(http: httpx.AsyncClient, user: int) -> None:
    headers = {"X-User-ID": str(user)}
    done = await http.post(f"{PATH}/eliminar", json={"id_conexion": 20}, headers=headers)
    assert done.status_code == 200
    (one,) = await listed(http, after=19, limit=1)
    assert (one["servicios"], one["configurada"], one["limpieza_pendiente"]) == ([], False, False)


@pytest.mark.parametrize(
    ("search", "ids"),
    [
        ("10.0.0.4", [4, *range(40, 50)]),
        ("47", [47]),
        ("9", [9, 18, 27, 36, 45]),  # also a customer's number
        (" 10.0.0.50 ", [50]),
        ("10_0", []),
        ("%", []),
        ("nada", []),
    ],
)
async def test_search_finds_ids_customers_and_addresses(
    http: httpx.AsyncClient, search: str, ids: list[int]
) -> None:
    assert [one["id_conexion"] for one in await listed(http, buscar=search, limit=100)] == ids


async def test_search_goes_on_over_pages(http: httpx.AsyncClient) -> None:
    first = (await http.get(PATH, params={"userId": 7, "limit": 6, "buscar": "10.0.0.4"})).json()
    second = (await http.get(first["next"])).json()
    assert [one["id_conexion"] for one in second["conexiones"]] == [45, 46, 47, 48, 49]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 401),
        ({"userId": "7", "limit": "101"}, 400),
        ({"userId": "7", "limit": "-1"}, 400),
        ({"userId": "7", "after": "x"}, 400),
        ({"userId": "7", "after": "9" * 19}, 400),
        ({"userId": "7", "buscar": "1" * 46}, 400),
        ({"userId": "7", "buscar": "a\x00b"}, 400),
    ],
)
async def test_bad_questions_are_refused(http: httpx.AsyncClient, query: dict[str, str], status: int) -> None:
    assert (await http.get(PATH, params=query)).status_code == status


async def test_a_router_that_may_hold_something_is_told(make_server: MakeServer, user: int) -> None:
    port = free_port()
    server = await make_server(
        demo_router_bind=f"127.0.0.1:{port}", router_timeout_seconds=0.2, router_attempts=1
    )
    await RouterControl(port).behave("unreachable")
    async with server.http() as http:
        headers = {"X-User-ID": str(user)}
        refused = await http.post(f"{PATH}/eliminar", json={"id_conexion": 5}, headers=headers)
        assert refused.status_code == 504
        (one,) = await listed(http, after=4, limit=1)
    assert (one["servicios"], one["configurada"], one["limpieza_pendiente"]) == ([], True, True)
