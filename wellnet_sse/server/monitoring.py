"""What those who watch over the server may ask, on an address that clients do not reach."""

from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPResponseStartEvent,
    Scope,
)

PATHS = frozenset({"/metrics", "/healthz", "/readyz"})


_NOTHING: HTTPResponseStartEvent = {
    "type": "http.response.start",
    "status": 404,
    "headers": [(b"content-length", b"0")],
    "trailers": False,
}


class Monitoring:
    """An ASGI application: these paths of `app`, and nothing else. It takes no part in the life of `app`."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """See the ASGI specification."""
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "http" and scope["path"] in PATHS:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await send(_NOTHING)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await send({"type": "websocket.close", "code": 1000, "reason": None})
