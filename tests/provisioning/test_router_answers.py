"""Answers that only a broken, odd or hostile router gives, through httpx's own fake transport."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.provisioning.support import FAST, WriteStates
from wellnet_sse.errors import RouterRefusedError, RouterUnreachableError
from wellnet_sse.provisioning import RouterClient, WriteState
from wellnet_sse.provisioning.router import Router

ADDRESS = "10.0.0.3"
LEASES = "/rest/ip/dhcp-server/lease"
LEASE = {".id": "*A", "address": ADDRESS}


@asynccontextmanager
async def router_that(answers: Callable[[httpx.Request], httpx.Response]) -> AsyncIterator[Router]:
    def unread(request: httpx.Request) -> httpx.Response:
        """Answer as a network does, whose responses have yet to be read."""
        answer = answers(request)
        return httpx.Response(answer.status_code, stream=httpx.ByteStream(answer.content))

    client = RouterClient("user", "s3creto", limits=FAST, verify=False, transport=httpx.MockTransport(unread))
    yield client.router("http://router.invalid/")
    await client.aclose()


def lists(items: object) -> httpx.Response:
    return httpx.Response(200, content=json.dumps(items).encode())


@pytest.mark.parametrize(
    "gone",
    [
        httpx.Response(404, json={"error": 404, "message": "Not Found"}),
        httpx.Response(400, json={"error": 400, "message": "Bad Request", "detail": "no such item (4)"}),
    ],
)
async def test_an_entry_that_somebody_else_removed_meanwhile_is_done(gone: httpx.Response) -> None:
    held = [LEASE]

    def answers(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            held.clear()
            return gone
        return lists(held if request.url.path == LEASES else [])

    states = WriteStates()
    async with router_that(answers) as router:
        await router.remove_address(ADDRESS, on_write=states.note)
    assert states.noted[-1] is WriteState.CONFIRMED


async def test_an_entry_that_is_still_there_after_its_removal_is_a_refusal() -> None:
    def answers(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            return httpx.Response(204)
        return lists([LEASE] if request.url.path == LEASES else [])

    states = WriteStates()
    async with router_that(answers) as router:
        with pytest.raises(RouterRefusedError, match="conserva"):
            await router.remove_address(ADDRESS, on_write=states.note)
    assert states.noted == [WriteState.NOT_SENT, WriteState.UNKNOWN]


async def test_a_removal_that_is_answered_by_a_redirect_is_a_refusal() -> None:
    def answers(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            return httpx.Response(302, headers={"location": "/login"})
        return lists([{**LEASE, "dynamic": []}] if request.url.path == LEASES else [])

    async with router_that(answers) as router:
        with pytest.raises(RouterRefusedError, match="rechazó"):
            await router.remove_address(ADDRESS)


async def test_a_sessions_own_queue_is_left_to_it_and_waited_for() -> None:
    """It cannot be removed, and takes a moment to go after its session."""
    looks = 0
    deleted: list[str] = []

    def answers(request: httpx.Request) -> httpx.Response:
        nonlocal looks
        if request.method == "DELETE":
            deleted.append(request.url.path)
            return httpx.Response(204)
        if request.url.path == "/rest/ppp/active":
            return lists([] if deleted else [{".id": "*1", "address": ADDRESS, "dynamic": "true"}])
        if request.url.path == "/rest/queue/simple" and request.url.params["target"] == f"{ADDRESS}/32":
            looks += 1
            own = {".id": "*2", "target": f"{ADDRESS}/32", "dynamic": "true"}
            return lists([own] if looks <= 2 else [])
        return lists([])

    async with router_that(answers) as router:
        await router.remove_address(ADDRESS)
    assert deleted == ["/rest/ppp/active/*1"]


async def test_an_unanswered_removal_is_sent_again_and_found_done() -> None:
    held = [LEASE]
    deletes = 0

    def answers(request: httpx.Request) -> httpx.Response:
        nonlocal deletes
        if request.method == "DELETE":
            deletes += 1
            if held:
                held.clear()
                raise httpx.ReadTimeout("it was removed, but nobody heard")
            return httpx.Response(404)
        return lists(held if request.url.path == LEASES else [])

    async with router_that(answers) as router:
        await router.remove_address(ADDRESS)
    assert deletes == 2


async def test_a_removal_that_is_never_answered_stays_unknown() -> None:
    def answers(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            raise httpx.ReadError("connection lost")
        return lists([LEASE] if request.url.path == LEASES else [])

    states = WriteStates()
    async with router_that(answers) as router:
        with pytest.raises(RouterUnreachableError) as caught:
            await router.remove_address(ADDRESS, on_write=states.note)
    assert states.noted == [WriteState.NOT_SENT, WriteState.UNKNOWN]
    assert caught.value.detail == "El router no responde"


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, content=b""),
        httpx.Response(200, content=b"\xff\xfe"),
        httpx.Response(200, content=b"[" * 50_000),
        lists({"error": 200}),
        lists(["10.0.0.3"]),
        lists([{"address": ADDRESS, "target": ADDRESS, "remote-address": ADDRESS}]),
        lists([{".id": "../../user/*1", "target": ADDRESS}]),
        lists([{".id": f"*{n:X}", "target": ADDRESS} for n in range(101)]),
        lists([{".id": "*1", "comment": "x" * FAST.response_bytes}]),
        httpx.Response(301, headers={"location": "http://elsewhere.invalid/"}),
        httpx.Response(404, json={"error": 404, "message": "Not Found"}),
    ],
    ids=[
        "html",
        "empty",
        "bytes",
        "deep",
        "object",
        "strings",
        "no-id",
        "path",
        "many",
        "large",
        "moved",
        "no-menu",
    ],
)
async def test_a_listing_that_makes_no_sense_is_a_refusal_and_removes_nothing(
    response: httpx.Response,
) -> None:
    methods: list[str] = []

    def answers(request: httpx.Request) -> httpx.Response:
        methods.append(request.method)
        assert request.url.host == "router.invalid"
        return response

    async with router_that(answers) as router:
        with pytest.raises(RouterRefusedError) as caught:
            await router.remove_address(ADDRESS)
    assert "DELETE" not in methods
    assert "router.invalid" not in caught.value.detail


async def test_a_router_that_comes_back_between_attempts_is_not_a_failure() -> None:
    failures = [httpx.ConnectError("refused")]

    def answers(_request: httpx.Request) -> httpx.Response:
        if failures:
            raise failures.pop()
        return lists([])

    async with router_that(answers) as router:
        await router.remove_address(ADDRESS)
    assert not failures


@pytest.mark.parametrize("url", ["", "ftp://router.invalid", "http://[::", "http://router.invalid:puerto"])
async def test_a_router_without_a_usable_url_is_unreachable(routers: RouterClient, url: str) -> None:
    with pytest.raises(RouterUnreachableError, match="no es válida"):
        await routers.router(url).connect()


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    client = RouterClient("user", "s3creto")
    assert not client._client._mounts
    await client.aclose()
