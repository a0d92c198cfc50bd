"""Waiting for conditions, never for time."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast, overload

T = TypeVar("T")

POLL_SECONDS = 0.02


@overload
async def eventually(check: Callable[[], Awaitable[T]], timeout_seconds: float = 5.0) -> T: ...
@overload
async def eventually(check: Callable[[], T], timeout_seconds: float = 5.0) -> T: ...
async def eventually(check: Callable[[], T | Awaitable[T]], timeout_seconds: float = 5.0) -> T:
    """Call `check`, a plain or a coroutine function, again and again; return its first truthy value.

    A check that raises counts as "not yet". At the deadline an AssertionError tells the last value seen, or
    carries the last exception as its cause.
    """
    last: object = None
    failure: Exception | None = None
    try:
        async with asyncio.timeout(timeout_seconds):
            while True:
                try:
                    value = check()
                    last = await value if inspect.isawaitable(value) else value
                    failure = None
                except Exception as error:  # noqa: BLE001, RUF100 - whatever it is, the deadline reports it
                    failure = error
                if failure is None and last:
                    return cast("T", last)
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        seen = f"raised {failure!r}" if failure else f"was {last!r}"
        raise AssertionError(f"not within {timeout_seconds} s: the last check {seen}") from failure
