"""What a broker is spared whose history one process has for itself."""

from wellnet_sse.progress.events import UserId


class Alone:
    """The part of the port that is about other processes, where there are none."""

    def watch(self, user_id: UserId) -> None:
        """See `Broker.watch`: nobody else appends."""

    def unwatch(self, user_id: UserId) -> None:
        """See `Broker.unwatch`."""

    async def reserve(
        self,
        user_id: UserId,  # noqa: ARG002 - the port's
        holder: str,  # noqa: ARG002
        *,
        streams: int,
        version: int,  # noqa: ARG002
        limit: int,
    ) -> bool:
        """See `Broker.reserve`: there is one holder."""
        return streams <= limit
