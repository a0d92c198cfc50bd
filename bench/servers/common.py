"""What all servers under test share: how they are told to publish, and what they publish.

It must run in the peers' own environment, so it knows the standard library alone.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

LANES = 20
"""Operations in progress, of one user or spread over many."""

STEP = "remove-router"
CATCH_UP_SECONDS = 0.005
"""A publisher that is late publishes so much of its offer at once, and then lets its server do other work."""


class Offer(NamedTuple):
    """Publish `rate` events per second for `seconds`, from `start_ns` (CLOCK_MONOTONIC), over `users`."""

    start_ns: int
    rate: float
    seconds: float
    users: int

    @property
    def end_ns(self) -> int:
        """When to stop, whatever is still due."""
        return self.start_ns + int(self.seconds * 1e9)

    @property
    def lanes(self) -> int:
        """How many operations the events are spread over; event n belongs to lane n mod lanes."""
        return max(LANES, self.users)

    @property
    def turn(self) -> int:
        """How many events a late publisher may publish at a time."""
        return max(1, int(self.rate * CATCH_UP_SECONDS))

    def due(self, now_ns: int) -> int:
        """How many events should have been published by now."""
        elapsed = (min(now_ns, self.end_ns) - self.start_ns) / 1e9
        return max(0, int(elapsed * self.rate))

    def due_ns(self, number: int) -> int:
        """When event `number` should be published."""
        return self.start_ns + int(number / self.rate * 1e9)

    def user(self, number: int) -> int:
        """Whose event it is."""
        return 1 + number % self.lanes % self.users

    def operation_id(self, number: int) -> str:
        """Of which operation it tells."""
        return f"remove-config-1721181234567-abc{number % self.lanes:06d}"

    def progress(self, number: int) -> int:
        """A number that rises within each operation, as real ones do."""
        return min(99, int(number * 100 / (self.rate * self.seconds)))


def message(number: int) -> str:
    """A sentence for a person, which carries the moment when it was written (CLOCK_MONOTONIC, 19 digits)."""
    return f"Eliminando configuración IP del equipo, regla {number:08d} t={time.monotonic_ns():019d}"


def event(offer: Offer, number: int) -> dict[str, Any]:
    """The documented message."""
    now = datetime.now(UTC)
    return {
        "operation_id": offer.operation_id(number),
        "step": STEP,
        "status": "in_progress",
        "message": message(number),
        "progress": offer.progress(number),
        "timestamp": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z",
    }


def dumps(value: object) -> str:
    """Compact JSON, as JSON.stringify writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def tell(**fields: object) -> None:
    """Tell the harness: one line of JSON on stdout."""
    sys.stdout.write(dumps(fields) + "\n")
    sys.stdout.flush()


def listen_for_commands(obey: Callable[[dict[str, Any]], object], *, ended: Callable[[], object]) -> None:
    """Call `obey` for each command of the harness, and `ended` when it is gone, in a thread of its own."""

    def read() -> None:
        for line in sys.stdin:
            obey(json.loads(line))
        ended()

    threading.Thread(target=read, name="commands", daemon=True).start()


def offer_of(command: dict[str, Any]) -> Offer:
    """The offer that a `publish` command speaks of."""
    return Offer(command["start_ns"], command["rate"], command["seconds"], command["users"])
