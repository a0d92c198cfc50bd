"""What users ask for, counted."""

import pytest

from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.errors import TooManyActionsError
from wellnet_sse.progress.broker import Rate
from wellnet_sse.progress.events import UserId
from wellnet_sse.web.actions import Actions

USER = UserId(7)


def broker() -> MemoryBroker:
    return MemoryBroker(history_ms=86_400_000, history_events=100, clock=lambda: 1_752_722_400_000)


@pytest.mark.parametrize(("per_second", "seconds"), [(1000, 1), (0.4, 3), (0.001, 1000)])
async def test_who_is_refused_is_told_whole_seconds_that_are_enough(per_second: float, seconds: int) -> None:
    actions = Actions(Rate(per_second, burst=1), broker())
    await actions.count(USER)
    with pytest.raises(TooManyActionsError) as caught:
        await actions.count(USER)
    assert caught.value.retry_after_seconds == seconds
    assert f" {seconds} s" in caught.value.detail


async def test_without_a_rate_nobody_is_refused() -> None:
    actions = Actions(None, broker())
    for _ in range(10_000):
        await actions.count(USER)
