"""What is followed comes once, whatever happens to the connection: against servers that play a part."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.terminal.support import GAP, ScriptedServer, answer, ending, event, live, refusal, stream
from wellnet_sse.progress.events import UserId
from wellnet_sse.terminal.exits import LostError, RefusedError, UnreachableError
from wellnet_sse.terminal.following import Following, Start, Told, Waiting
from wellnet_sse.terminal.remote import BusyError, Patience, Remote

DRAIN = 'event: end\ndata: {"reason":"drain"}'
PAGE = answer("<html>", media_type="text/html")
START = Start("/api/conexiones/eliminar", {"id_conexion": 3})
NEW = START._replace(is_new=True)
OVER = b"HTTP/1.1 204 No Content\r\n\r\n"
SLOW = 'event: end\ndata: {"reason":"slow"}'


@asynccontextmanager
async def following(
    server: ScriptedServer, operation_id: str | None = "one", **options: object
) -> AsyncIterator[Following]:
    async with server.serving(), Remote(server.url, user_id=UserId(7)) as remote:
        yield Following(remote, operation_id, patience=Patience(5, chance=lambda: 0.0), **options)  # type: ignore[arg-type]


async def told(server: ScriptedServer, operation_id: str | None = "one", **options: object) -> list[str]:
    """Follow to the end; return the messages, the outcome, and the reasons for waiting."""
    async with following(server, operation_id, **options) as one:
        return [_short(it) async for it in one.events()]


def _short(it: Told | Waiting) -> str:
    if isinstance(it, Waiting):
        return f"({it.reason})"
    return str(it.data.get("message") or it.data.get("outcome") or it.event)


def at(seq: int) -> bytes:
    """Return an operation's state, whose last event is that."""
    return answer(f'{{"cursor":"k-{seq}"}}')


def sent_cursors(server: ScriptedServer) -> list[str | None]:
    """The cursor of each request."""
    return [
        next((line[15:] for line in head.splitlines() if line.lower().startswith("last-event-id: ")), None)
        for head in server.requests
    ]


async def test_a_stream_that_just_ends_is_taken_up_where_it_was() -> None:
    server = ScriptedServer(
        stream(event(1, "a"), live(1), event(2, "b")), stream(event(2, "b"), event(3, "c"), ending(4))
    )
    assert await told(server) == ["a", "live", "b", "(the stream ended)", "c", "completed"]
    assert sent_cursors(server) == [None, "k-2"]


@pytest.mark.parametrize(
    ("close", "reason"),
    [(DRAIN, "the server is restarting"), (SLOW, "this terminal was too slow")],
)
async def test_a_stream_that_the_server_closes_is_no_ending(close: str, reason: str) -> None:
    server = ScriptedServer(stream(event(1, "a"), close), stream(ending(2)))
    assert await told(server) == ["a", f"({reason})", "completed"]
    assert sent_cursors(server) == [None, "k-1"]


async def test_a_full_server_is_asked_again_when_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    next_wait = Patience.next_wait

    def noted(self: Patience, busy: BusyError, *, first_seconds: float) -> float:
        waits.append(next_wait(self, busy, first_seconds=first_seconds))
        return 0.0

    monkeypatch.setattr(Patience, "next_wait", noted)
    full = refusal("429 Too Many Requests", "Retry-After: 2", body='{"detail":"Demasiadas"}')
    server = ScriptedServer(full, refusal("503 Busy", "Retry-After: 3"), stream(ending(2)))
    assert await told(server) == ["(429: Demasiadas)", "(503: service unavailable)", "completed"]
    assert waits == [2, 3]


async def test_a_refusal_is_final_and_says_why() -> None:
    server = ScriptedServer(refusal("403 Forbidden", body='{"detail":"No es suya"}'))
    with pytest.raises(RefusedError, match="403: No es suya"):
        await told(server)
    assert len(server.requests) == 1


async def test_a_gap_is_followed_by_state_of_which_the_known_is_left_out() -> None:
    server = ScriptedServer(
        stream(event(1, "a"), event(2, "b")),
        stream(GAP, event(2, "b"), event(9, "i"), live(9), ending(10)),
    )
    assert await told(server) == ["a", "b", "(the stream ended)", "gap", "i", "live", "completed"]


async def test_another_epoch_counts_anew() -> None:
    server = ScriptedServer(
        stream(event(7, "a")), stream(GAP, event(2, "b", epoch="n"), live(2, epoch="n")), stream(ending(3))
    )
    assert await told(server) == [
        "a", "(the stream ended)", "gap", "b", "live", "(the stream ended)", "completed",
    ]  # fmt: skip
    assert sent_cursors(server) == [None, "k-7", "n-2"]


async def test_what_history_does_not_know_any_more_is_lost() -> None:
    server = ScriptedServer(stream(event(7, "a")), stream(GAP, live(0, epoch="n")))
    with pytest.raises(LostError):
        await told(server)


async def test_what_was_never_seen_is_waited_for_through_a_gap() -> None:
    server = ScriptedServer(
        stream(live(7)), stream(GAP, live(0, epoch="n"), event(1, "a", epoch="n"), ending(2))
    )
    assert await told(server) == ["live", "(the stream ended)", "gap", "live", "a", "completed"]


async def test_an_ending_that_a_reopening_followed_is_not_the_last() -> None:
    server = ScriptedServer(stream(ending(1, "failed", event="operation"), event(2, "again"), ending(3)))
    assert await told(server) == ["failed", "again", "completed"]


async def test_nothing_more_to_tell_is_asked_for_the_outcome() -> None:
    state = answer('{"outcome":"failed","progress":33}')
    server = ScriptedServer(stream(event(1, "a")), OVER, state)
    assert await told(server) == ["a", "(the stream ended)", "failed"]


async def test_what_was_opened_again_meanwhile_is_followed_on() -> None:
    state = answer('{"outcome":null,"progress":33}')
    server = ScriptedServer(stream(event(1, "a")), OVER, state, stream(event(3, "b"), ending(4)))
    assert await told(server) == [
        "a", "(the stream ended)", "(the operation was opened again)", "b", "completed",
    ]  # fmt: skip


@pytest.mark.parametrize("operation_id", ["one", None])
@pytest.mark.parametrize("given", [PAGE, answer('{"success":true}'), answer("[]")])
async def test_what_is_no_stream_is_no_ending(given: bytes, operation_id: str | None) -> None:
    """A wrong --url, or a proxy that wants people to log in, often answers 200 to anything."""
    with pytest.raises(RefusedError, match="no wellnet-sse server"):
        await told(ScriptedServer(given), operation_id)


async def test_nothing_is_over_where_all_is_followed() -> None:
    with pytest.raises(RefusedError, match="no wellnet-sse server"):
        await told(ScriptedServer(OVER), None)


@pytest.mark.parametrize("given", [PAGE, answer('{"success":false}'), answer("7"), OVER])
async def test_what_does_not_say_that_the_work_is_done_is_no_answer_to_it(given: bytes) -> None:
    server = ScriptedServer(given, PAGE)
    with pytest.raises(RefusedError, match="no wellnet-sse server"):
        await told(server, start=NEW)


async def test_work_whose_history_is_gone_is_answered_alone() -> None:
    assert await told(ScriptedServer(answer('{"success":true,"message":"Hecho"}')), start=NEW) == [
        "completed"
    ]


def asked(server: ScriptedServer) -> list[str]:
    """The method of each request."""
    return [head.split()[0] for head in server.requests]


async def test_a_post_that_was_cut_off_is_not_sent_again_where_it_has_begun() -> None:
    server = ScriptedServer(b"", at(1), stream(event(1, "a"), ending(2)))
    assert await told(server, start=NEW) == ["(the connection was cut)", "a", "completed"]
    assert asked(server) == ["POST", "GET", "GET"]


async def test_a_post_that_began_nothing_is_sent_again() -> None:
    server = ScriptedServer(b"", refusal("404 Not Found"), stream(event(1, "a"), ending(2)))
    assert await told(server, start=NEW) == ["(the connection was cut)", "a", "completed"]
    assert asked(server) == ["POST", "GET", "POST"]
    assert all("x-operation-id: one" in head.lower() for head in server.requests[::2])


async def test_what_happened_before_under_the_same_id_is_not_what_was_asked_for() -> None:
    """Otherwise the old ending would be told as the new work's, which nobody has begun."""
    server = ScriptedServer(at(4), b"", at(4), b"", at(5), stream(event(5, "b"), ending(6)))
    assert await told(server, start=START) == [*["(the connection was cut)"] * 2, "b", "completed"]
    assert asked(server) == ["GET", "POST", "GET", "POST", "GET", "GET"]


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Busy"])
async def test_a_post_that_was_refused_for_now_is_sent_again(status: str) -> None:
    server = ScriptedServer(at(4), refusal(status), stream(event(5, "b"), ending(6)))
    assert (await told(server, start=START))[1:] == ["b", "completed"]
    assert asked(server) == ["GET", "POST", "POST"]


async def test_a_post_that_a_proxy_gave_up_may_have_begun() -> None:
    server = ScriptedServer(at(4), refusal("502 Bad Gateway"), at(5), stream(event(5, "b"), ending(6)))
    assert (await told(server, start=START))[1:] == ["b", "completed"]
    assert asked(server) == ["GET", "POST", "GET", "GET"]


async def test_a_server_that_never_answers_is_given_up() -> None:
    server = ScriptedServer(b"")
    async with server.serving(), Remote(server.url, user_id=UserId(7)) as remote:
        one = Following(remote, "one", patience=Patience(0.3, chance=lambda: 0.0))
        with pytest.raises(UnreachableError, match=r"0.3 s"):
            async for _ in one.events():
                pass


async def test_what_is_no_event_of_ours_is_passed_over() -> None:
    server = ScriptedServer(
        stream("event: novelty\ndata: {}", "data: no json", "data: 7", event(1, "a"), ending(2))
    )
    assert await told(server) == ["a", "completed"]
