"""Answers that only a broken, odd or hostile router gives."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.provisioning.odd_router import Answers, Asked, Cut, Reply, Silence, lists, odd_router
from tests.provisioning.support import FAST, WriteStates
from wellnet_sse.errors import RouterRefusedError, RouterUnreachableError
from wellnet_sse.provisioning import RouterClient, WriteState
from wellnet_sse.provisioning.router import Router

ADDRESS = "10.0.0.3"
LEASES = "/rest/ip/dhcp-server/lease"
LEASE = {".id": "*A", "address": ADDRESS}


@asynccontextmanager
async def router_that(answers: Answers) -> AsyncIterator[Router]:
    client = RouterClient("user", "s3creto", limits=FAST, verify=False)
    async with odd_router(answers) as url:
        yield client.router(url)
        await client.aclose()


@pytest.mark.parametrize(
    "gone",
    [
        Reply(404, b'{"error": 404, "message": "Not Found"}'),
        Reply(400, b'{"error": 400, "message": "Bad Request", "detail": "no such item (4)"}'),
    ],
)
async def test_an_entry_that_somebody_else_removed_meanwhile_is_done(gone: Reply) -> None:
    held = [LEASE]

    def answers(asked: Asked) -> Reply:
        if asked.method == "DELETE":
            held.clear()
            return gone
        return lists(held if asked.path == LEASES else [])

    states = WriteStates()
    async with router_that(answers) as router:
        await router.remove_address(ADDRESS, on_write=states.note)
    assert states.noted[-1] is WriteState.CONFIRMED


async def test_an_entry_that_is_still_there_after_its_removal_is_a_refusal() -> None:
    def answers(asked: Asked) -> Reply:
        if asked.method == "DELETE":
            return Reply(204)
        return lists([LEASE] if asked.path == LEASES else [])

    states = WriteStates()
    async with router_that(answers) as router:
        with pytest.raises(RouterRefusedError, match="conserva"):
            await router.remove_address(ADDRESS, on_write=states.note)
    assert states.noted == [WriteState.NOT_SENT, WriteState.UNKNOWN]


async def test_a_removal_that_is_answered_by_a_redirect_is_a_refusal() -> None:
    def answers(asked: Asked) -> Reply:
        if asked.method == "DELETE":
            return Reply(302, headers=("Location: /login",))
        return lists([{**LEASE, "dynamic": []}] if asked.path == LEASES else [])

    async with router_that(answers) as router:
        with pytest.raises(RouterRefusedError, match="rechazó"):
            await router.remove_address(ADDRESS)


async def test_a_sessions_own_queue_is_left_to_it_and_waited_for() -> None:
    """It cannot be removed, and takes a moment to go after its session."""
    looks = 0
    deleted: list[str] = []

    def answers(asked: Asked) -> Reply:
        nonlocal looks
        if asked.method == "DELETE":
            deleted.append(asked.path)
            return Reply(204)
        if asked.path == "/rest/ppp/active":
            return lists([] if deleted else [{".id": "*1", "address": ADDRESS, "dynamic": "true"}])
        if asked.path == "/rest/queue/simple" and asked.query["target"] == f"{ADDRESS}/32":
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

    def answers(asked: Asked) -> Reply:
        nonlocal deletes
        if asked.method == "DELETE":
            deletes += 1
            if held:
                held.clear()
                raise Silence  # it was removed, but nobody heard
            return Reply(404)
        return lists(held if asked.path == LEASES else [])

    async with router_that(answers) as router:
        await router.remove_address(ADDRESS)
    assert deletes == 2


async def test_a_removal_that_is_never_answered_stays_unknown() -> None:
    def answers(asked: Asked) -> Reply:
        if asked.method == "DELETE":
            raise Cut
        return lists([LEASE] if asked.path == LEASES else [])

    states = WriteStates()
    async with router_that(answers) as router:
        with pytest.raises(RouterUnreachableError) as caught:
            await router.remove_address(ADDRESS, on_write=states.note)
    assert states.noted == [WriteState.NOT_SENT, WriteState.UNKNOWN]
    assert caught.value.detail == "El router no responde"


@pytest.mark.parametrize(
    "response",
    [
        Reply(200, b"<html>"),
        Reply(200, b""),
        Reply(200, b"\xff\xfe"),
        Reply(200, b"[" * 50_000),
        lists({"error": 200}),
        lists(["10.0.0.3"]),
        lists([{"address": ADDRESS, "target": ADDRESS, "remote-address": ADDRESS}]),
        lists([{".id": "../../user/*1", "target": ADDRESS}]),
        lists([{".id": f"*{n:X}", "target": ADDRESS} for n in range(101)]),
        lists([{".id": "*1", "comment": "x" * FAST.response_bytes}]),
        Reply(301, headers=("Location: http://elsewhere.invalid/",)),
        Reply(404, b'{"error": 404, "message": "Not Found"}'),
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
    response: Reply,
) -> None:
    methods: list[str] = []

    def answers(asked: Asked) -> Reply:
        methods.append(asked.method)
        return response

    async with router_that(answers) as router:
        with pytest.raises(RouterRefusedError) as caught:
            await router.remove_address(ADDRESS)
    assert "DELETE" not in methods
    assert "127.0.0.1" not in caught.value.detail


async def test_a_router_that_comes_back_between_attempts_is_not_a_failure() -> None:
    failures = [Silence()]

    def answers(_asked: Asked) -> Reply:
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
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    async with router_that(lambda _asked: lists([])) as router:
        await router.connect()


async def test_a_router_that_hangs_holds_up_no_other() -> None:
    """As many wait for it as it is asked over connections, and more."""

    def hangs(_asked: Asked) -> Reply:
        raise Silence

    client = RouterClient("user", "s3creto", limits=FAST, verify=False)
    async with odd_router(hangs) as hanging, odd_router(lambda _asked: lists([])) as other:
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(_fails(client.router(hanging))) for _ in range(FAST.connections + 2)]
            await client.router(other).connect()
            assert not any(task.done() for task in waiting)
        await client.aclose()


async def _fails(router: Router) -> None:
    with pytest.raises(RouterUnreachableError):
        await router.connect()


async def test_the_router_is_told_who_asks_and_to_compress_nothing() -> None:
    heard: list[Asked] = []

    def answers(asked: Asked) -> Reply:
        heard.append(asked)
        return lists([])

    async with router_that(answers) as router:
        await router.connect()
    (asked,) = heard
    assert asked.headers["authorization"] == "Basic " + b64encode(b"user:s3creto").decode()
    assert asked.headers["accept-encoding"] == "identity"
