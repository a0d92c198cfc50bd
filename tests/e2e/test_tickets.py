"""Tickets, the cookie, the end of a token, and where none of them may ever stand (mode `token`)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from http.cookies import SimpleCookie
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conftest import MakeServer, demo_settings
from tests.e2e.identity import COOKIE, SOCKET, STREAMS, TOKEN_MODE, bearer, cookie, knock, opens, ticket
from tests.e2e.support import published
from tests.harness import EventSourceClient, LegacySocket, ServerProcess, SseReader, V2Socket
from tests.identity.signing import SECRET, token
from wellnet_sse.identity.tokens import LEEWAY_SECONDS


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """A server in mode `token` that the tests of this module share."""
    settings = demo_settings(dict(TOKEN_MODE))
    async with ServerProcess(tmp_path_factory.mktemp("server"), settings=settings) as process:
        yield process
        assert await process.terminate() == 0, process.tail()
        assert "Traceback" not in process.log, process.log


# Tickets


async def test_a_ticket_opens_one_stream_or_socket(server: ServerProcess, user: int) -> None:
    async with server.http(headers=bearer(token(user))) as client:
        await published(client, "op", "copy", "in_progress")
    for door in STREAMS:
        query = f"?userId={user}&ticket={await ticket(server, token(user))}"
        async with SseReader(f"{server.url}{door.path}{query}") as stream:
            assert (await stream.until_live())[0].json["operation_id"] == "op"
        async with SseReader(f"{server.url}{door.path}{query}") as again:
            assert (await again.opened()).status == 401
    query = f"?ticket={await ticket(server, token(user))}"
    await opens(server, {}, query=query)
    answer = await knock(server, SOCKET, query={"ticket": query.partition("=")[2]})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="wellnet-sse", error="invalid_token"'


async def test_a_ticket_is_its_makers(server: ServerProcess, user: int) -> None:
    for door in (STREAMS[0], SOCKET):
        made = await ticket(server, token(user))
        answer = await knock(server, door, query={"ticket": made, "userId": user + 100_000})
        assert answer.status_code == 403
        made = await ticket(server, token(user))
        answer = await knock(server, door, bearer(token(user + 100_000)), {"ticket": made})
        assert answer.status_code == 400


async def test_a_ticket_beside_the_token_that_made_it_is_as_good(server: ServerProcess, user: int) -> None:
    """The browser client asks so why it was refused."""
    made = await ticket(server, token(user))
    headers = {**bearer(token(user)), **cookie(token(user))}
    async with SseReader(f"{server.url}/sse/progress?ticket={made}", headers=headers) as stream:
        await stream.until_live()


async def test_a_ticket_is_given_for_now_and_not_kept_by_caches(server: ServerProcess, user: int) -> None:
    async with server.http(headers=bearer(token(user))) as client:
        answer = await client.post("/api/tickets", json={})
    assert answer.headers["cache-control"] == "no-store"
    assert list(answer.json()) == ["ticket", "expires_at"]


async def test_an_eventsource_does_not_come_back_with_a_ticket_that_is_used(
    server: ServerProcess, user: int
) -> None:
    """It tries the same address again: 401 is final, and the page has to make a new one."""
    made = await ticket(server, token(user, seconds=-LEEWAY_SECONDS + 3))
    async with EventSourceClient(f"{server.url}/sse/progress?ticket={made}") as source:
        seen = await source.until(lambda it: it.type == "error" and it.ready_state == 2, 15)
    assert [it.data for it in seen if it.type == "end"] == ['{"reason":"expired"}']


async def test_nodes_that_share_the_database_take_a_ticket_once(
    make_server: MakeServer, tmp_path: Path
) -> None:
    nodes = [
        await make_server(demo=False, directory=tmp_path / "shared", broker_url="memory://", **TOKEN_MODE)
        for _ in range(2)
    ]
    made = await ticket(nodes[0], token(7))
    async with nodes[0].http() as one, nodes[1].http() as two:
        path = f"/sse/progress?ticket={made}"
        answers = await asyncio.gather(*((two if n % 2 else one).head(path) for n in range(50)))
        assert sorted(it.status_code for it in answers) == [200] + [401] * 49
    await opens(nodes[1], {}, query=f"?ticket={await ticket(nodes[0], token(7))}")


# The end of a token


async def test_whatever_is_open_ends_with_its_token(server: ServerProcess, user: int) -> None:
    """Within about a second, and each in its own words; a ticket ends with the token that made it."""
    short = token(user, seconds=-LEEWAY_SECONDS + 4)
    stream, socket = f"{server.url}/sse/progress", f"{server.ws_url}/ws/progress"
    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(SseReader(stream, headers=bearer(short))),
            await stack.enter_async_context(SseReader(stream, headers=cookie(short))),
            await stack.enter_async_context(SseReader(f"{stream}?ticket={await ticket(server, short)}")),
        ]
        legacy = await stack.enter_async_context(LegacySocket(socket, headers=bearer(short)))
        v2 = await stack.enter_async_context(V2Socket(f"{socket}?ticket={await ticket(server, short)}"))
        stays = await stack.enter_async_context(SseReader(stream, headers=bearer(token(user))))
        for reader in (*streams, stays):
            await reader.until_live()
        await v2.until_live()
        for reader in streams:
            (end,) = await reader.rest()
            assert (end.event, end.id, end.json) == ("end", None, {"reason": "expired"})
        assert await legacy.closed() == (1008, "expired")
        assert await v2.closed() == (1008, "expired")
        assert (v2.seen[-1].event, v2.seen[-1].id, v2.seen[-1].data) == ("end", None, {"reason": "expired"})
        async with server.http(headers=bearer(token(user))) as client:
            await published(client, "still", "copy", "in_progress")
        assert (await stays.next()).json["operation_id"] == "still"
    assert (await knock(server, STREAMS[0], bearer(short))).status_code == 401


# The cookie


async def test_a_token_becomes_a_cookie_that_no_script_reads(server: ServerProcess, user: int) -> None:
    made = token(user, seconds=600)
    async with server.http() as client:
        answer = await client.post("/api/sesion", json={}, headers=bearer(made))
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert list(answer.json()) == ["expires_at"]
        morsel = SimpleCookie(answer.headers["set-cookie"])[COOKIE]
        assert morsel.value == made
        assert (morsel["secure"], morsel["httponly"], morsel["samesite"]) == (True, True, "Lax")
        assert (morsel["path"], morsel["domain"]) == ("/", "")
        assert 500 < int(morsel["max-age"]) <= 600 + LEEWAY_SECONDS
        answer = await client.post("/api/sesion/cerrar", json={}, headers=cookie(made))
        assert answer.status_code == 204
        morsel = SimpleCookie(answer.headers["set-cookie"])[COOKIE]
        assert (morsel.value, morsel["max-age"]) == ("", "0")


async def test_a_page_can_ask_whose_its_cookie_is(server: ServerProcess, user: int) -> None:
    """Which it cannot read; and it has to name its user to the documented endpoints."""
    async with server.http() as client:
        answer = await client.get("/api/sesion", headers=cookie(token(user, "watch operate")))
        assert answer.status_code == 200
        assert list(answer.json()) == ["userId", "scope", "expires_at"]
        assert (answer.json()["userId"], answer.json()["scope"]) == (str(user), "operate watch")
        assert (await client.get("/api/sesion", headers=bearer(token(user, "")))).status_code == 200
        assert (await client.get("/api/sesion")).status_code == 401
        assert (
            await client.get("/api/sesion", headers=bearer(token("worker", "publish")))
        ).status_code == 403


async def test_only_a_good_token_in_the_header_becomes_a_cookie(server: ServerProcess, user: int) -> None:
    async with server.http() as client:
        for headers in ({}, cookie(token(user)), bearer(token(user, seconds=-60))):
            answer = await client.post("/api/sesion", json={}, headers=headers)
            assert answer.status_code == 401
            assert "set-cookie" not in answer.headers
        answer = await client.post("/api/sesion", headers=bearer(token(user)))
        assert answer.status_code == 415


# Secrets


async def test_no_token_and_no_ticket_is_ever_written_anywhere(make_server: MakeServer) -> None:
    """With all that the server and its libraries say, however a client may have put them."""
    server = await make_server(demo=False, log_level="DEBUG", **TOKEN_MODE)
    secrets = {SECRET}

    def secret(text: str) -> str:
        secrets.add(text)
        return text

    good = secret(token(7))
    told = []
    async with server.http() as client:
        for bad in (token(7, aud="other"), token(7, seconds=-60), good + "x", "no-token-at-all"):
            for headers in (bearer(secret(bad)), cookie(bad)):
                told += [await client.get("/api/operaciones", headers=headers)]
                told += [await client.post("/api/sesion", json={}, headers=headers)]
                told += [await knock(server, SOCKET, headers)]
            for name in ("ticket", "token", "access_token"):
                told += [await client.get("/sse/progress", params={name: bad})]
                told += [await client.get(f"/api/nada/{bad}", params={name: bad})]
                told += [await client.put("/sse/progress", params={name: bad})]
                told += [await knock(server, SOCKET, query={name: bad})]
        told += [await client.get("/api/operaciones", headers={**bearer(good), **cookie(token(8))})]
        told += [await client.get("/api/operaciones?userId=9", headers=bearer(good))]
        told += [
            await client.post("/api/operaciones/a/pasos/b", json={"message": good}, headers=bearer(good))
        ]
        told += [await client.post("/api/operaciones", content=b"{" + good.encode(), headers=bearer(good))]
        for _ in range(2):
            made = secret(await ticket(server, good))
            async with SseReader(f"{server.url}/sse/progress?ticket={made}") as stream:
                await stream.until_live()
            told += [await client.get("/sse/progress", params={"ticket": made})]
            made = secret(await ticket(server, good))
            async with LegacySocket(f"{server.ws_url}/ws/progress?ticket={made}") as socket:
                await socket.send_raw(good)
                await socket.send({"type": good, "operation_id": made})
            told += [await knock(server, SOCKET, query={"ticket": made})]
        # A request line that breaks the protocol, and a peer that goes away in the middle.
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"GET /sse/progress?ticket={made} HTTP/1.1\r\nHost : x\r\n\r\n".encode())
        assert b"400" in await reader.readline()
        writer.close()
        await writer.wait_closed()
        figures = (await client.get("/metrics")).text + (await client.get("/api/metricas")).text
    assert await server.terminate() == 0
    for text in (server.log, figures, *(it.text for it in told), *(str(it.headers) for it in told)):
        assert [one for one in secrets if one in text] == []
    assert "message_refused" in server.log, "it does write"
