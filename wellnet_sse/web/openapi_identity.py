"""The part of `/openapi.json` that is about who asks: how a token is sent, and what stands in for one."""

from wellnet_sse.web.identity import COOKIE, TICKET_QUERY
from wellnet_sse.web.openapi_parts import Part, header_refs, json_answer, operation, parameter_refs, refused
from wellnet_sse.web.schemas import Empty


def security_schemes() -> Part:
    """How a token is sent in mode `token`; the scopes are `watch`, `operate` and `publish`."""
    bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    return {
        "bearer": {**bearer, "description": "A signed token, whose `sub` is the user"},
        "cookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": COOKIE,
            "description": "The same; a POST or a WebSocket then needs an allowed `Origin`",
        },
        "ticket": {
            "type": "apiKey",
            "in": "query",
            "name": TICKET_QUERY,
            "description": "Out of `POST /api/tickets`, once and within 30 s",
        },
    }


def session_paths() -> Part:
    """`/api/tickets` and `/api/sesion`."""
    refusing = (400, 401, 403, 404, 405, 408, 413, 415, 422, 500)
    opened = json_answer("The cookie holds the token from now on", "Session", headers=["Set-Cookie"])
    closed: Part = {"description": "The cookie is gone", "headers": header_refs(["Set-Cookie"])}
    return {
        "/api/tickets": {
            "parameters": parameter_refs("userId", "X-User-ID"),
            "post": operation(
                "giveTicket",
                "Get a ticket that opens one stream or socket within 30 s (mode `token`)",
                {"201": json_answer("It is", "Ticket")} | refused(429, 503, *refusing),
                body=Empty,
                scope="watch",
            ),
        },
        "/api/sesion": {
            "get": operation(
                "tellSession",
                "Tell whose token it is, what for and until when (mode `token`)",
                {"200": json_answer("It is", "Holder")} | refused(400, 401, 403, 404, 405, 500),
            )
            | {"security": [{"bearer": []}, {"cookie": []}]},
            "post": operation(
                "openSession",
                "Put the token of `Authorization` into a cookie (mode `token`)",
                {"200": opened} | refused(*refusing),
                body=Empty,
            )
            | {"security": [{"bearer": []}]},
        },
        "/api/sesion/cerrar": {
            "post": operation(
                "closeSession",
                "Take the cookie away (mode `token`)",
                {"204": closed} | refused(*refusing),
                body=Empty,
            ),
        },
    }
