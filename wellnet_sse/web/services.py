"""What the endpoints work with, handed to each blueprint by the composition root."""

from dataclasses import dataclass

from quart.wrappers.base import BaseRequestWebsocket

from wellnet_sse.errors import UnavailableError
from wellnet_sse.identity.tokens import Scope
from wellnet_sse.metrics import Metrics
from wellnet_sse.progress.tracker import Progress
from wellnet_sse.provisioning.removal import Removals
from wellnet_sse.provisioning.service import RemovalService
from wellnet_sse.settings import Settings
from wellnet_sse.storage.database import Database
from wellnet_sse.web.actions import Actions
from wellnet_sse.web.identity import Caller, Identity
from wellnet_sse.web.origins import OriginPolicy
from wellnet_sse.web.slots import StreamSlots


@dataclass(slots=True)
class Services:
    """The parts that are shared by all requests of one application."""

    settings: Settings
    progress: Progress
    database: Database
    removals: Removals
    removal_service: RemovalService
    identity: Identity
    origins: OriginPolicy
    slots: StreamSlots
    actions: Actions
    metrics: Metrics
    draining: bool = False
    """Whether the server is on its way out: streams go on for a moment, new work is refused."""
    demo_user: int | None = None
    """Who a visitor of the page is until they say otherwise; None where this is no demonstration."""

    def figures(self) -> dict[str, int]:
        """The source document's four."""
        return {
            "activeConnections": len(self.slots),
            "activeOperations": self.progress.broker.active_operations(),
            "messagesPerSecond": self.metrics.deliveries_per_second,
            "errorsPerMinute": self.metrics.errors_per_minute(),
        }

    async def actor(self, connection: BaseRequestWebsocket, scope: Scope) -> Caller:
        """Who asks to do something now, which counts as one more action of theirs.

        Raises as `Identity.caller` does, TooManyActionsError, and UnavailableError while draining.
        """
        self.check_accepts_work()
        caller = await self.identity.caller(connection, scope)
        await self.actions.count(caller.user_id)
        return caller

    def check_accepts_work(self) -> None:
        """Raise UnavailableError while draining."""
        if self.draining:
            raise UnavailableError("El servidor se está reiniciando", retry_after_seconds=2)
