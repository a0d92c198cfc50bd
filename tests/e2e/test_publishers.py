"""Another backend publishes its steps over HTTP; operations are read, listed, and ended in silence."""

import asyncio
import re
from typing import Any

import httpx
import pytest

from tests.conftest import MakeServer
from tests.e2e.support import begin, ended, mark, moved, publish, published, seq, state, told
from tests.harness import LegacySocket, ServerProcess, SseReader, V2Socket

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
STATE = ["operation_id", "outcome", "progress", "steps", "cursor", "started_at", "updated_at", "finished_at"]
STEP = ["step", "status", "message", "progress", "attempt", "timestamp"]


async def test_a_published_step_reaches_every_reader_with_the_cursor_that_the_publisher_was_told(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    async with (
        SseReader(f"{server.url}/sse/operations/op?userId={user}") as own,
        V2Socket(f"{server.ws_url}/ws/progress?userId={user}") as socket,
    ):
        await own.until_live()
        await socket.until_live()
        answer = await publish(mine, "op", "backup", message="Copiando «año» \u2028 \n 😀", progress=7)
        assert answer.status_code == 201
        assert list(answer.json()) == ["cursor"]
        on_stream, on_socket = await own.next(), await socket.next()
    assert on_stream.id == on_socket.id == answer.json()["cursor"]
    assert on_stream.json == on_socket.data
    assert told([on_stream.json]) == [("backup", "in_progress", 7, "Copiando «año» \u2028 \n 😀")]
    assert on_stream.json["operation_id"] == "op"


async def test_progress_never_falls_within_an_attempt(mine: httpx.AsyncClient) -> None:
    async def sent(status: str, progress: int | None) -> tuple[int | None, int]:
        answer = await publish(mine, "op", "copy", status, progress=progress)
        assert answer.status_code == 201, answer.text
        step = (await state(mine, "op"))["steps"][0]
        return step["progress"], step["attempt"]

    assert await sent("in_progress", 40) == (40, 1)
    assert await sent("in_progress", 30) == (40, 1)
    assert await sent("in_progress", 41) == (41, 1)
    assert await sent("error", 41) == (0, 1), "error sends 0"
    assert await sent("in_progress", 10) == (10, 2), "the next attempt"
    assert await sent("completed", 100) == (100, 2)
    assert await sent("pending", 0) == (0, 3)
    assert await sent("in_progress", 5) == (5, 3)


async def test_a_completed_step_takes_no_update_unless_pending_comes_first(mine: httpx.AsyncClient) -> None:
    await begin(mine, "op", "copy", "check")
    cursor = await published(mine, "op", "copy", "in_progress", "completed")
    for status in ("in_progress", "completed", "error"):
        answer = await publish(mine, "op", "copy", status)
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "step_completed"
    assert (await state(mine, "op"))["cursor"] == cursor, "and nothing was told"
    await published(mine, "op", "copy", "pending", "in_progress")


async def test_a_publisher_reopens_what_has_ended_but_not_what_was_cancelled(mine: httpx.AsyncClient) -> None:
    await begin(mine, "op", "copy")
    await published(mine, "op", "copy", "completed")
    assert (await state(mine, "op"))["outcome"] == "completed"
    assert (await publish(mine, "op", "copy", "in_progress")).status_code == 409
    assert (await state(mine, "op"))["outcome"] == "completed", "a refused update re-opens nothing"
    await published(mine, "op", "check", "in_progress")
    assert (await state(mine, "op"))["outcome"] is None

    answer = await mine.post("/api/operaciones/op/cancelar", json={})
    assert (answer.status_code, answer.json()["outcome"]) == (202, "cancelled"), "at once on its step"
    steps = {it["step"]: it for it in answer.json()["steps"]}
    assert (steps["check"]["status"], steps["check"]["progress"]) == ("error", 0)
    answer = await publish(mine, "op", "check")
    assert (answer.status_code, answer.json()["code"]) == (409, "operation_cancelled")
    assert (await mine.post("/api/operaciones/op/cancelar", json={})).status_code == 409
    for verb in ("cancelar", "detener"):
        assert (await mine.post(f"/api/operaciones/nobody/{verb}", json={})).status_code == 404


async def test_idempotency_key_makes_a_repeat_the_same_append(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    key = "abc-1"
    async with V2Socket(f"{server.ws_url}/ws/progress?userId={user}") as socket:
        await socket.until_live()
        first = await publish(mine, "op", "copy", message="uno", key=key)
        answers = await asyncio.gather(
            *(publish(mine, "op", "copy", message="uno", key=key) for _ in range(5))
        )
        await published(mine, "op", "copy", "completed")
        answers.append(await publish(mine, "op", "copy", message="uno", key=key))
        assert {(it.status_code, it.text) for it in answers} == {(201, first.text)}
        for other in (
            await publish(mine, "op", "copy", message="dos", key=key),
            await publish(mine, "op", "check", message="uno", key=key),
            await publish(mine, "op-2", "copy", message="uno", key=key),
        ):
            assert other.status_code == 422
        marker = await mark(mine)
        events = await socket.until(lambda it: it.data["operation_id"] == marker)
    assert [it.data["message"] for it in events] == ["uno", "…", "…"]
    for bad in ("", "x" * 256):
        answer = await publish(mine, "op", "copy", key=bad)
        assert answer.status_code == 400
    async with server.http(user=user + 1_000_000) as other_user:
        answer = await publish(other_user, "op", "copy", message="dos", key=key)
        assert answer.status_code == 201, "keys are a user's own"


async def test_two_publishers_at_once_hold_to_the_rules(mine: httpx.AsyncClient) -> None:
    """Only one of many may complete a step; cursors have no holes."""
    answers = await asyncio.gather(*(publish(mine, "op", "copy", "completed") for _ in range(12)))
    assert sorted(it.status_code for it in answers) == [201] + [409] * 11
    answers = await asyncio.gather(*(publish(mine, "op", f"s{n}", progress=n) for n in range(12)))
    assert sorted(seq(it.json()["cursor"]) for it in answers) == list(range(2, 14))


async def test_state_of_an_operation(server: ServerProcess, mine: httpx.AsyncClient, user: int) -> None:
    found = await begin(mine, "op", "copy", "check", "clean")
    assert list(found) == STATE
    assert (found["outcome"], found["progress"], found["finished_at"]) == (None, 0, None)
    assert [(it["step"], it["status"], it["message"], it["progress"]) for it in found["steps"]] == [
        (name, "pending", "Pendiente", 0) for name in ("copy", "check", "clean")
    ]
    await publish(mine, "op", "copy", "completed", progress=100, message="Hecho")
    await publish(mine, "op", "check", progress=55)
    await publish(mine, "op", "undeclared", progress=90)
    found = await state(mine, "op")
    assert found["progress"] == 51, "the mean of the declared steps, rounded down"
    for step in found["steps"]:
        assert list(step) == STEP
        assert TIMESTAMP.fullmatch(step["timestamp"])
    assert TIMESTAMP.fullmatch(found["started_at"])
    assert found["updated_at"] == found["steps"][-1]["timestamp"]
    assert seq(found["cursor"]) == 6
    answer = await mine.get("/api/operaciones/op")
    assert int(answer.headers["retry-after"]) > 0, "while it runs"

    await publish(mine, "op", "check", "error")
    await mine.post("/api/operaciones/op/detener", json={})
    answer = await mine.get("/api/operaciones/op")
    found = answer.json()
    assert "retry-after" not in answer.headers
    assert (found["outcome"], found["progress"]) == ("failed", 33)
    assert TIMESTAMP.fullmatch(found["finished_at"])
    async with SseReader(f"{server.url}/sse/operations/op?userId={user}") as stream:
        end = (await stream.rest())[-1]
    assert (end.id, end.json["progress"]) == (found["cursor"], 33), "the same cursor on every way"
    assert end.json["timestamp"] == found["finished_at"]


async def test_state_of_an_operation_without_an_event(mine: httpx.AsyncClient) -> None:
    found = await begin(mine, "op")
    assert found["steps"] == []
    assert (found["progress"], found["cursor"], found["outcome"]) == (None, None, None)
    assert TIMESTAMP.fullmatch(found["started_at"])
    assert TIMESTAMP.fullmatch(found["updated_at"])


async def test_null_progress_counts_as_zero(mine: httpx.AsyncClient) -> None:
    await begin(mine, "op", "a", "b")
    await publish(mine, "op", "a", "in_progress", progress=None)
    await publish(mine, "op", "b", "in_progress", progress=51)
    assert (await state(mine, "op"))["progress"] == 25
    await begin(mine, "undeclared")
    await publish(mine, "undeclared", "x", "in_progress", progress=50)
    assert (await state(mine, "undeclared"))["progress"] is None


async def test_etag_saves_what_has_not_changed(mine: httpx.AsyncClient) -> None:
    await published(mine, "op", "copy", "in_progress")
    first = await mine.get("/api/operaciones/op")
    etag = first.headers["etag"]
    for given in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        answer = await mine.get("/api/operaciones/op", headers={"If-None-Match": given})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
    await published(mine, "op", "copy", "completed")
    answer = await mine.get("/api/operaciones/op", headers={"If-None-Match": etag})
    assert answer.status_code == 200
    assert answer.headers["etag"] != etag
    head = await mine.head("/api/operaciones/op")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", answer.headers["etag"])


async def test_list_newest_first_page_by_page(mine: httpx.AsyncClient) -> None:
    assert (await mine.get("/api/operaciones")).json() == {"operations": [], "next": None}
    names = [f"op-{n}" for n in range(7)]
    for name in names:
        await begin(mine, name, "copy")
    await published(mine, "op-0", "copy", "completed")
    pages: list[list[dict[str, Any]]] = []
    following: str | None = "/api/operaciones?limit=3"
    while following is not None:
        page = (await mine.get(following)).json()
        assert list(page) == ["operations", "next"]
        pages.append(page["operations"])
        following = page["next"]
    assert [len(page) for page in pages] == [3, 3, 1]
    listed = [it for page in pages for it in page]
    assert [it["operation_id"] for it in sorted(listed, key=lambda it: it["started_at"], reverse=True)] == [
        it["operation_id"] for it in listed
    ]
    assert {it["operation_id"] for it in listed} == set(names)
    assert listed[0] == await state(mine, listed[0]["operation_id"])
    assert {it["operation_id"]: it["outcome"] for it in listed}["op-0"] == "completed"
    assert len((await mine.get("/api/operaciones?limit=100")).json()["operations"]) == 7


# Endings


async def test_declared_and_all_completed_ends_by_itself(mine: httpx.AsyncClient) -> None:
    await begin(mine, "op", "copy")
    await published(mine, "op", "check", "in_progress")
    await published(mine, "op", "copy", "completed")
    assert (await state(mine, "op"))["outcome"] is None, "every step, the undeclared one as well"
    cursor = await published(mine, "op", "check", "completed")
    found = await state(mine, "op")
    assert (found["outcome"], found["progress"]) == ("completed", 100)
    assert found["cursor"] == moved(cursor, 1), "the ending is an event of the same log"


async def test_silence_ends_operations(make_server: MakeServer, user: int) -> None:
    """At rest: by what its steps say, else expired. A publisher's step in the middle: interrupted, later."""
    server = await make_server(idle_seconds=1, silence_seconds=3)
    async with server.http(user=user) as client:
        await begin(client, "nothing")
        await begin(client, "pending", "copy")
        await published(client, "done", "copy", "completed")
        await published(client, "error", "copy", "in_progress", "error")
        await publish(client, "mid", "copy", progress=40)
        outcomes = {}
        for operation_id in ("nothing", "pending", "done", "error"):
            outcomes[operation_id] = (await ended(client, operation_id))["outcome"]
        assert outcomes == {
            "nothing": "expired",
            "pending": "expired",
            "done": "completed",
            "error": "failed",
        }
        assert (await state(client, "mid"))["outcome"] is None, "a publisher is in the middle of it"
        async with SseReader(f"{server.url}/sse/operations/mid?userId={user}") as stream:
            events = await stream.rest()
        assert [(it.event, it.json.get("status")) for it in events if it.event != "live"][-2:] == [
            ("message", "error"),
            ("end", None),
        ]
        error = events[-2].json
        assert error["progress"] == 0
        assert "copy" in error["message"], "it names the step"
        assert events[-1].json["outcome"] == "interrupted"
        # It was only silent: what it says next re-opens.
        assert (await publish(client, "mid", "copy", progress=10)).status_code == 201
        step = (await state(client, "mid"))["steps"][0]
        assert (step["attempt"], step["progress"]) == (2, 10)
    assert "Traceback" not in server.log


async def test_documented_socket_and_publisher_share_an_operation(
    server: ServerProcess, mine: httpx.AsyncClient, user: int
) -> None:
    """The Node server of old publishes; the page begins, watches and stops."""
    async with LegacySocket(f"{server.ws_url}/ws/progress?userId={user}") as tab:
        await tab.start("op", steps=["copy"])
        assert told([await tab.next()]) == [("copy", "pending", 0, "Pendiente")]
        await publish(mine, "op", "copy", progress=50, message="A medias")
        assert told([await tab.next()]) == [("copy", "in_progress", 50, "A medias")]
        await tab.stop("op")
        assert (await ended(mine, "op"))["outcome"] == "cancelled"


@pytest.mark.parametrize(
    "field", ["activeConnections", "activeOperations", "messagesPerSecond", "errorsPerMinute"]
)
async def test_the_documented_four_figures(mine: httpx.AsyncClient, field: str) -> None:
    figures = (await mine.get("/api/metricas")).json()
    assert isinstance(figures[field], int | float)
    assert len(figures) == 4
