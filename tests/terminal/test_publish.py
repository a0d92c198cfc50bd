"""`publish`: one event, however often it had to be sent."""

from pathlib import Path

import httpx
import pytest

from tests.conftest import MakeServer
from tests.harness import ServerProcess, eventually, free_port
from tests.terminal.support import Piped, ScriptedServer, answer, ran, refusal
from tests.terminal.test_watch import of

PUBLISH = ["publish", "one", "copy", "in_progress", "--progress", "40", "--message", "Copiando..."]
KEPT = answer('{"cursor":"k-1"}', status="201 Created")


async def test_step_is_published(server: ServerProcess, mine: httpx.AsyncClient, user: int) -> None:
    piped = await ran(*PUBLISH, *of(server, user))
    assert (piped.process.returncode, piped.lines, piped.errors) == (0, [], "")
    (step,) = (await mine.get("/api/operaciones/one")).json()["steps"]
    assert (step["step"], step["status"], step["message"], step["progress"]) == (
        "copy",
        "in_progress",
        "Copiando...",
        40,
    )


async def test_refusal_is_said(server: ServerProcess, user: int) -> None:
    await ran("publish", "one", "copy", "completed", *of(server, user))
    piped = await ran(*PUBLISH, *of(server, user))
    assert piped.process.returncode == 1
    assert "409: " in piped.errors
    assert (await ran("publish", "one", "copy", "done", *of(server, user))).process.returncode == 2


async def test_lost_answer_makes_no_second_event() -> None:
    server = ScriptedServer(b"", refusal("503 Busy", "Retry-After: 0"), KEPT)
    async with server.serving():
        piped = await ran(*PUBLISH, "--url", server.url, "--user", "7")
    assert piped.process.returncode == 0
    keys = {
        line
        for head in server.requests
        for line in head.splitlines()
        if line.lower().startswith("idempotency-key")
    }
    assert (len(server.requests), len(keys)) == (3, 1)


@pytest.mark.parametrize(
    "given",
    [
        answer("<html>", media_type="text/html"),
        answer('{"cursor":"k-1"}'),
        answer("{}", status="201 Created"),
        answer("", status="204 No Content"),
        answer("<html>", status="404 Not Found", media_type="text/html"),
    ],
)
async def test_only_what_the_server_says_it_keeps_counts_as_kept(given: bytes) -> None:
    """A wrong --url often answers 200, to anything."""
    server = ScriptedServer(given)
    async with server.serving():
        piped = await ran(*PUBLISH, "--url", server.url, "--user", "7")
    assert piped.process.returncode == 1
    assert "no wellnet-sse server" in piped.errors


async def test_server_that_is_away_is_waited_for(make_server: MakeServer, user: int) -> None:
    port = free_port()
    async with Piped(*PUBLISH, "--url", f"http://127.0.0.1:{port}", "--user", str(user)) as piped:
        await eventually(lambda: "trying again" in piped.errors)
        server = await make_server(demo=False, port=port)
        assert await piped.ended() == 0
    async with server.http(user=user) as client:
        assert (await client.get("/api/operaciones/one")).json()["steps"][0]["progress"] == 40


# Who asks


async def test_token_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never from the command line, which everybody on a machine can read."""
    file = tmp_path / "token"
    file.write_text("of-file\n")
    monkeypatch.setenv("WELLNET_TOKEN", "of-environment")
    server = ScriptedServer(KEPT)
    async with server.serving():
        for options in (["--token-file", str(file)], []):
            assert (await ran(*PUBLISH, "--url", server.url, *options)).process.returncode == 0
    assert "authorization: bearer of-file\r" in server.requests[0].lower()
    assert "authorization: bearer of-environment\r" in server.requests[1].lower()


@pytest.mark.parametrize("text", ["", "two words", "é"])
async def test_file_without_a_token_is_said(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    piped = await ran(*PUBLISH, "--token-file", str(file))
    assert piped.process.returncode == 2
    assert "holds no token" in piped.errors


async def test_nobody_who_asks_is_said() -> None:
    piped = await ran(*PUBLISH)
    assert piped.process.returncode == 2
    assert "Say who asks" in piped.errors
