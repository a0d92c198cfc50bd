"""Live progress of long operations: Server-Sent Events, a WebSocket shim and curl, from one asyncio hub."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wellnet_sse.errors import WellnetError
    from wellnet_sse.extension import QuartProgress
    from wellnet_sse.progress.broker import Broker
    from wellnet_sse.progress.events import Cursor, Ending, Event, Outcome, Status, UserId
    from wellnet_sse.progress.subscription import Subscription
    from wellnet_sse.progress.tracker import Progress
    from wellnet_sse.transports.sse import EventSourceResponse

__version__ = "0.1.0"

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

_HOMES = {
    "errors": ("WellnetError",),
    "extension": ("QuartProgress",),
    "progress.broker": ("Broker",),
    "progress.events": ("Cursor", "Ending", "Event", "Outcome", "Status", "UserId"),
    "progress.subscription": ("Subscription",),
    "progress.tracker": ("Progress",),
    "transports.sse": ("EventSourceResponse",),
}

if not TYPE_CHECKING:  # who checks types is to hear of a name that is not there

    def __getattr__(name: str) -> object:
        """Import what is asked for (PEP 562): a command at a terminal need not wait for Quart."""
        for home, names in _HOMES.items():
            if name in names:
                return getattr(import_module(f"{__name__}.{home}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
