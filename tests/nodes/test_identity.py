"""Who asks is known on every node: tokens, cookies, and tickets that another node has given out."""

import asyncio
from contextlib import AsyncExitStack

import httpx

from tests.e2e.identity import OPERATOR, SOCKET, STREAMS, TOKEN_MODE, bearer, cookie, knock, opens, ticket
from tests.e2e.support import publish
from tests.harness import SseReader, V2Socket
from tests.identity.signing import token
from tests.nodes.conftest import MakeNodes
from wellnet_sse.identity.tokens import LEEWAY_SECONDS

A, B = 7, 8


async def test_a_ticket_of_one_node_opens_one_stream_on_any_other(make_nodes: MakeNodes) -> None:
    """What is published on one node is read on the other, and expires there; nobody else's is read."""
    nodes = await make_nodes(2, database="postgresql", **TOKEN_MODE)
    here, there = nodes
    short = token(A, seconds=-LEEWAY_SECONDS + 6)
    async with AsyncExitStack() as stack:
        opened = [
            SseReader(f"{there.url}/sse/progress?ticket={await ticket(here, token(A))}"),
            SseReader(f"{there.url}/sse/progress?userId={A}", headers=cookie(token(A))),
            SseReader(f"{there.url}/sse/progress?ticket={await ticket(here, short)}"),
            SseReader(f"{there.url}/sse/progress", headers=bearer(token(B))),
        ]
        for reader in opened:
            await stack.enter_async_context(reader)
            await reader.until_live()
        clients = [await stack.enter_async_context(here.http(headers=bearer(token(it)))) for it in (A, B)]
        for client, operation_id in zip(clients, ("of-a", "of-b"), strict=True):
            assert (await publish(client, operation_id, "copy")).status_code == 201
        assert [(await it.next()).json["operation_id"] for it in opened] == ["of-a", "of-a", "of-a", "of-b"]
        (end,) = await opened[2].rest()
        assert (end.event, end.json) == ("end", {"reason": "expired"})
        for door in (*STREAMS, SOCKET):
            answer = await knock(there, door, bearer(token(A)), {"userId": B})
            assert answer.status_code == 403
        # The other node sees the operations of all, and shows them to an operator.
        panel = await stack.enter_async_context(there.http(headers=bearer(token(OPERATOR, "operate"))))
        told = (await panel.get("/api/panel")).json()["operations"]
        assert {(it["userId"], it["operation_id"]) for it in told} == {(str(A), "of-a"), (str(B), "of-b")}

    async def used(made: str) -> list[int]:
        """What fifty uses of one ticket at once, over both nodes, are answered."""
        async with here.http() as one, there.http() as two:
            clients: list[httpx.AsyncClient] = [one, two]
            asked = (clients[n % 2].head(f"/sse/progress?ticket={made}") for n in range(50))
            return sorted(answer.status_code for answer in await asyncio.gather(*asked))

    assert await used(await ticket(here, token(A))) == [200] + [401] * 49
    await opens(here, {}, query=f"?ticket={await ticket(there, token(B))}")
    async with V2Socket(f"{there.ws_url}/ws/progress", headers=bearer(token(B))) as socket:
        assert {it.data["operation_id"] for it in await socket.until_live() if it.event == "progress"} == {
            "of-b"
        }
