"""Live progress of long operations: Server-Sent Events, a WebSocket shim and curl, from one asyncio hub."""

__version__ = "0.1.0"

from wellnet_sse.errors import WellnetError
from wellnet_sse.extension import QuartProgress
from wellnet_sse.progress.broker import Broker
from wellnet_sse.progress.events import Cursor, Ending, Event, Outcome, Status, UserId
from wellnet_sse.progress.subscription import Subscription
from wellnet_sse.progress.tracker import Progress
from wellnet_sse.transports.sse import EventSourceResponse

__all__ = [
    "Broker",
    "Cursor",
    "Ending",
    "Event",
    "EventSourceResponse",
    "Outcome",
    "Progress",
    "QuartProgress",
    "Status",
    "Subscription",
    "UserId",
    "WellnetError",
]
