"""Answers that are not sent again to whoever has them (RFC 9110 §8.8.3, §13.1.2)."""

import hashlib

from quart import Response, request


def etag_of(content: bytes) -> str:
    """A tag that changes with the content."""
    return hashlib.sha256(content).hexdigest()[:32]


def unless_known(response: Response, etag: str) -> Response:
    """The response with its tag; where `If-None-Match` names that, 304 and nothing more.

    Tags are compared weakly, as the RFC has it: a proxy that compresses makes a weak one of ours.
    """
    response.set_etag(etag)
    if request.method in {"GET", "HEAD"} and request.if_none_match.contains_weak(etag):
        response.status_code = 304
        response.set_data(b"")
    return response
