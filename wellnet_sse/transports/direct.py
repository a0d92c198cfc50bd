"""Where a server offers its connection to write past the ASGI send chain, and how a view finds that out."""

from collections.abc import Callable
from typing import Any, Protocol, cast

from wellnet_sse.progress.items import Sink

EXTENSION = "wellnet.direct"
"""The name in `scope["extensions"]`; what stands there is a `Connection`."""


class Connection(Sink, Protocol):
    """What a server offers: a sink for bytes that are framed already.

    What is written goes out after whatever was sent before. The writer of an HTTP/1.1 body frames its own
    chunks, the writer of a WebSocket its own messages; both write whole ones, and only while the response or
    the socket is open.
    """

    async def drain(self) -> None:
        """Wait until there is room. Raises ConnectionError where the peer has gone."""

    def detach(self, on_close: Callable[[], None]) -> None:
        """Take over the response: the end of the request does not end it, `close` does.

        `on_close` is called once, when the connection has ended.
        """

    def close(self) -> None:
        """End a response that was taken over: nothing more is written, and the connection ends with it."""


def connection_of(scope: Any) -> Connection | None:
    """What the server offers for this request, if anything: another server, or HTTP/1.0, offers nothing."""
    extensions = scope.get("extensions") if scope is not None else None
    return cast("Connection | None", (extensions or {}).get(EXTENSION))
