"""Which readers to look at, by the second: a look at ten thousand costs, and most of them are at rest."""

from wellnet_sse.progress.subscription import Subscription


class Wheel:
    """Each reader is in it once, at the time (in monotonic seconds) when it is to be looked at."""

    def __init__(self) -> None:
        self._slots: dict[int, set[Subscription]] = {}
        self._places: dict[Subscription, int] = {}

    def put(self, subscription: Subscription, at: float) -> None:
        """Look at it then, to the second; what is past is due."""
        place = self._places[subscription] = int(at)
        self._slots.setdefault(place, set()).add(subscription)

    def discard(self, subscription: Subscription) -> None:
        """Look at it no more."""
        place = self._places.pop(subscription, None)
        if place is not None:
            self._slots[place].discard(subscription)

    def take_due(self, now: float) -> list[Subscription]:
        """Take out whoever is to be looked at by `now`."""
        due = [reader for place in sorted(self._slots) if place <= now for reader in self._slots.pop(place)]
        for reader in due:
            del self._places[reader]
        return due
