"""Identity inside the application: what cannot be had from outside in a moment."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from quart import Quart
from quart.testing.connections import WebsocketResponseError
from quart.typing import TestClientProtocol as Client

from tests.identity.signing import SECRET
from wellnet_sse.app import create_app, services
from wellnet_sse.errors import UnavailableError
from wellnet_sse.identity.tokens import Claims
from wellnet_sse.settings import Settings
from wellnet_sse.web.identity import TokenIdentity


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Quart]:
    """The application in mode `token`, whose tickets nobody can look up."""
    settings = Settings.from_environment(
        {
            "WELLNET_AUTH": "token",
            "WELLNET_TOKEN_KEY": SECRET,
            "WELLNET_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/wellnet.db",
            "WELLNET_BROKER_URL": "memory://",
        }
    )
    app = create_app(settings)
    identity = services(app).identity
    assert isinstance(identity, TokenIdentity)

    async def away(ticket: str) -> Claims:
        raise UnavailableError(f"no {len(ticket)}", retry_after_seconds=5)

    identity.tickets.take = away  # type: ignore[method-assign]  # the database, when it is away
    yield app
    await services(app).database.aclose()


@pytest.fixture
def client(app: Quart) -> Client:
    return app.test_client()


async def test_a_ticket_that_cannot_be_looked_up_is_not_refused_for_good(client: Client) -> None:
    """EventSource takes a 503 as final: it is told to come back, while the ticket is still good."""
    for path in ("/sse/progress", "/sse/operations/op"):
        answer = await client.get(f"{path}?ticket=x")
        assert answer.status_code == 200
        assert answer.content_type == "text/event-stream; charset=utf-8"
        assert await answer.get_data(as_text=True) == "retry: 2000\n\n"


async def test_a_socket_is_told_that_the_database_is_away(client: Client) -> None:
    with pytest.raises(WebsocketResponseError) as caught:
        async with client.websocket("/ws/progress?ticket=x") as socket:
            await socket.receive()
    assert caught.value.response.status_code == 503
    assert caught.value.response.headers["Retry-After"] == "5"
