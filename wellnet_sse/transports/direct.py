"""Where a server offers to write past the ASGI send chain, and how a view finds that out."""

from typing import Any, cast

from wellnet_sse.progress.items import Sink

EXTENSION = "wellnet.direct"
"""The name in `scope["extensions"]`; what stands there is a `Sink` for bytes that are framed already."""


def sink_of(scope: Any) -> Sink | None:
    """What the server offers for this request, if anything: another server, or HTTP/1.0, offers nothing."""
    extensions = scope.get("extensions") if scope is not None else None
    return cast("Sink | None", (extensions or {}).get(EXTENSION))
