"""How long a server is waited for, and what of its answers is final."""

from pathlib import Path

import httpx
import pytest

from wellnet_sse.terminal.exits import RefusedError, UnreachableError
from wellnet_sse.terminal.remote import BusyError, Patience, Remote, check

BUSY = BusyError("busy")


def test_waits_double_up_to_a_bound_and_are_shortened_by_chance() -> None:
    longest, shortest = Patience(0, chance=lambda: 1.0), Patience(0, chance=lambda: 0.0)
    assert [longest.next_wait(BUSY) for _ in range(6)] == [1, 2, 4, 8, 15, 15]
    assert [shortest.next_wait(BUSY) for _ in range(6)] == [0.5, 1, 2, 4, 7.5, 7.5]
    longest.answered()
    assert longest.next_wait(BUSY, first_seconds=2) == 2


def test_what_the_server_asks_for_is_the_least() -> None:
    assert Patience(0, chance=lambda: 0.0).next_wait(BusyError("", retry_after_seconds=5)) == 5
    assert Patience(0, chance=lambda: 1.0).next_wait(BusyError("", retry_after_seconds=5)) == 6.25


def test_patience_ends_so_long_after_the_last_answer() -> None:
    now = [0.0]
    patience = Patience(10, clock=lambda: now[0], chance=lambda: 1.0)
    now[0] = 8.0
    patience.answered()
    now[0] = 16.5
    patience.next_wait(BUSY)
    with pytest.raises(UnreachableError):
        patience.next_wait(BUSY)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_another_try_may_cure_is_tried_again(status: int) -> None:
    with pytest.raises(BusyError):
        await check(httpx.Response(status))


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 422])
async def test_what_it_cannot_is_not(status: int) -> None:
    with pytest.raises(RefusedError, match=str(status)):
        await check(httpx.Response(status))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3), ("900", 60), ("x", 0), ("", 0), ("-1", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)
async def test_retry_after_is_read_and_bounded(text: str, seconds: float) -> None:
    with pytest.raises(BusyError) as busy:
        await check(httpx.Response(503, headers={"Retry-After": text}))
    assert busy.value.retry_after_seconds == seconds


@pytest.mark.parametrize("url", ["127.0.0.1:4440", "ftp://127.0.0.1", "http://[", "http://127.0.0.1:x"])
async def test_an_address_that_is_none_is_said(url: str) -> None:
    with pytest.raises(RefusedError, match="--url"):
        async with Remote(url) as remote:
            await remote.ask("GET", "/")


async def test_a_file_that_holds_no_certificate_is_said(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(RefusedError, match="--cafile"):
        Remote("https://127.0.0.1", cafile=tmp_path / "ca.pem")
