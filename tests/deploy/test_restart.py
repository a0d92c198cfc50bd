"""Streams behind a proxy live through a restart of the server, and tell each event exactly once."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.deploy.proxies import RETRY, Change, MakeProxy, Proxy, caddy, nginx, nginx_over_http_1_0
from tests.harness import BrowserEvent, Certificate, EventSourceClient, ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.system]

USER = 7


async def publish(through: ServerProcess | Proxy, *numbers: int) -> None:
    """Publish an update for each number."""
    async with through.http(user=USER) as client:
        for number in numbers:
            update = {"status": "in_progress", "message": f"Fila {number}", "progress": number}
            answer = await client.post("/api/operaciones/import/pasos/copy", json=update)
            assert answer.status_code == 201, answer.text


def has(number: int) -> Callable[[BrowserEvent], bool]:
    """Say whether an event tells of the number."""
    return lambda event: event.type == "message" and f"Fila {number}" in (event.data or "")


async def terminated(server: ServerProcess) -> None:
    assert await server.terminate() == 0


async def killed(server: ServerProcess) -> None:
    assert await server.kill() < 0


@pytest.mark.parametrize(
    ("make", "ended"),
    [(nginx, terminated), (nginx, killed), (nginx_over_http_1_0, killed), (caddy, killed)],
)
async def test_event_source_lives_through_a_restart(
    tmp_path: Path,
    trusted: Certificate,
    make: MakeProxy,
    ended: Callable[[ServerProcess], Awaitable[None]],
) -> None:
    settings = {"WELLNET_RETRY_MS": 100}
    async with (
        ServerProcess(tmp_path / "server", settings=settings) as server,
        make(tmp_path / "proxy", trusted, f"127.0.0.1:{server.port}", Change(*RETRY)) as proxy,
        EventSourceClient(f"{proxy.url}/sse/operations/import?userId={USER}") as source,
    ):
        await source.until(lambda it: it.type == "live")
        await publish(proxy, 1, 2, 3)
        await source.until(has(3))
        await publish(server, 4, 5, 6)
        await ended(server)
        # What the proxy answers now opens the stream as well, and ends it: the source will try again.
        while (event := await source.take()).type != "open":
            assert event.ready_state != 2
        assert server.exit_code is not None
        await server.start()
        await publish(proxy, 7, 8, 9)
        await source.until(has(9))
        async with server.http(user=USER) as client:
            await client.post("/api/operaciones/import/detener", json={})
        await source.until(lambda it: it.type == "end" and "outcome" in (it.data or ""))
        await source.exhausted()  # 204 to its last reconnect: it is closed for good, and its process ends
        told = [it for it in source.lines if it.type == "message"]
        assert [it.data and it.data.split("Fila ")[1].split('"')[0] for it in told] == list("123456789")
        assert len({it.last_event_id for it in told}) == 9
        assert "gap" not in {it.type for it in source.lines}
