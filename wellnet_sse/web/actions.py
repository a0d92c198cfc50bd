"""How fast a user may act, at all processes together."""

import math

from wellnet_sse.errors import TooManyActionsError
from wellnet_sse.progress.broker import Broker, Rate
from wellnet_sse.progress.events import UserId


class Actions:
    """Counts what users ask for from outside, whatever comes of it; with no `rate` they may ask as they like.

    What this application's own code publishes is not counted, and neither is reading.
    """

    def __init__(self, rate: Rate | None, broker: Broker) -> None:
        self._rate = rate
        self._broker = broker

    async def count(self, user_id: UserId) -> None:
        """Count one more, before anything is done for it. Raises TooManyActionsError, uncounted."""
        if self._rate is None:
            return
        wait_seconds = await self._broker.admit(user_id, self._rate)
        if wait_seconds > 0:
            retry_after_seconds = math.ceil(wait_seconds)
            raise TooManyActionsError(
                f"Demasiadas acciones de este usuario: vuelva a intentarlo en {retry_after_seconds} s",
                retry_after_seconds=retry_after_seconds,
            )
