"""Which pages may call: CORS for HTTP, the Origin check for WebSockets (protocol §1)."""

from collections.abc import Collection
from urllib.parse import urlsplit

from quart import Quart, Response, request

from wellnet_sse.errors import ForbiddenError
from wellnet_sse.settings import is_loopback

ALLOWED_METHODS = "GET, HEAD, POST"
ALLOWED_HEADERS = (
    "Content-Type, Authorization, X-User-ID, X-Operation-ID, Prefer, Last-Event-ID, Idempotency-Key"
)
EXPOSED_HEADERS = "Location, Link, Retry-After, ETag, Idempotent-Replay"
PREFLIGHT_SECONDS = 600

_DEFAULT_PORTS = {"http": 80, "https": 443}


class OriginPolicy:
    """Allows the listed `origins`; where none is listed, those whose host and port are the request's own.

    `on_loopback`: the server listens on a loopback address. Then its own host must be a loopback name, so
    that a foreign name which is made to point here (DNS rebinding) is not taken for our own.
    """

    def __init__(self, origins: Collection[str], *, on_loopback: bool) -> None:
        self._origins = frozenset(origins)
        self._on_loopback = on_loopback

    def allows(self, origin: str, host: str) -> bool:
        """Whether a page of `origin` may call the server that it knows as `host` (the Host header)."""
        if self._origins:
            return origin.lower() in self._origins
        try:
            theirs, ours = urlsplit(origin), urlsplit(f"//{host}")
            default = _DEFAULT_PORTS.get(theirs.scheme)
            same = theirs.hostname == ours.hostname and (theirs.port or default) == (ours.port or default)
        except ValueError:
            return False
        if theirs.hostname is None or default is None or not same:
            return False
        return not self._on_loopback or is_loopback(theirs.hostname)

    def check_websocket(self, origin: str | None, host: str) -> None:
        """Raise ForbiddenError for a foreign page; no Origin at all is a program and passes."""
        if origin is not None and not self.allows(origin, host):
            raise ForbiddenError("Esta página no puede conectarse a este servidor")

    def check_page(self, origin: str | None, host: str) -> None:
        """Raise ForbiddenError unless an allowed page says that it asks.

        For what acts by a cookie: browsers send that for any page, and the Origin of a POST or a WebSocket
        always.
        """
        if origin is None or not self.allows(origin, host):
            raise ForbiddenError("Con la cookie solo puede llamar una página permitida (Origin)")

    def install(self, app: Quart) -> None:
        """Answer preflights, and mark every answer, errors and streams included."""

        @app.before_request
        async def preflight() -> Response | None:
            if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
                return None
            response = Response("", 204)
            if self.allows(request.headers.get("Origin", ""), request.host):
                response.headers["Access-Control-Allow-Methods"] = ALLOWED_METHODS
                response.headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
                response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
            return response

        @app.after_request
        async def mark(response: Response) -> Response:
            response.headers.add("Vary", "Origin")
            origin = request.headers.get("Origin")
            if origin is not None and self.allows(origin, request.host):
                response.headers["Access-Control-Allow-Origin"] = origin
                response.headers["Access-Control-Allow-Credentials"] = "true"
                response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
            return response
