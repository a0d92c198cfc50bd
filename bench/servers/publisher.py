"""The publishers of the asyncio servers: several tasks that each wait for their own events to be due."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from bench.servers.common import Offer

TASKS = 10
"""Divides any number of lanes that the workloads use, so an operation belongs to one task."""

LEAST_PAUSE_SECONDS = 0.001


class Published(NamedTuple):
    """What came of an offer."""

    events: int
    late_ms: float
    """How late the latest of them was published."""


async def publish_all(
    offer: Offer, publish: Callable[[int], Awaitable[object]], *, part: tuple[int, int] = (0, 1)
) -> Published:
    """Publish the events of `offer` when they are due; each task awaits its own, one after another.

    `part`: which of how many processes this is; each has its share of the tasks.
    """
    place, count = part
    tasks = range(place, TASKS, count)
    done = await asyncio.gather(*(_publish_each(offer, task, publish) for task in tasks))
    return Published(sum(one.events for one in done), max(one.late_ms for one in done))


async def _publish_each(offer: Offer, task: int, publish: Callable[[int], Awaitable[object]]) -> Published:
    events, late_ns, number = 0, 0, task
    turn = max(1, offer.turn // TASKS)
    end_ns = offer.end_ns
    while (due_ns := offer.due_ns(number)) < end_ns:
        now_ns = time.monotonic_ns()
        if now_ns >= end_ns:
            break
        if due_ns > now_ns:
            await asyncio.sleep(max(LEAST_PAUSE_SECONDS, (due_ns - now_ns) / 1e9))
            continue
        for _ in range(turn):
            if (due_ns := offer.due_ns(number)) > now_ns:
                break
            late_ns = max(late_ns, now_ns - due_ns)
            await publish(number)
            events += 1
            number += TASKS
        else:
            await asyncio.sleep(0)
    return Published(events, late_ns / 1e6)
