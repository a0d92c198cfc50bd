"""The interface as it describes itself: for machines, and for people."""

import json

from quart import Blueprint, Response

from wellnet_sse.web import asyncapi, docs, openapi
from wellnet_sse.web.openapi_parts import Part
from wellnet_sse.web.pages import File
from wellnet_sse.web.services import Services


def blueprint(_services: Services) -> Blueprint:
    """`/openapi.json`, `/asyncapi.json`, and both for people at `/docs`."""
    reference = Blueprint("reference", __name__)
    http, pushed = openapi.document(), asyncapi.document()
    page = File.of(docs.page(http, pushed).encode(), ".html")

    @reference.get("/openapi.json")
    async def openapi_document() -> Response:
        return _json(http)

    @reference.get("/asyncapi.json")
    async def asyncapi_document() -> Response:
        return _json(pushed)

    @reference.get("/docs")
    async def page_of_both() -> Response:
        return page.answer()

    return reference


def _json(described: Part) -> Response:
    text = json.dumps(described, ensure_ascii=False, separators=(",", ":"))
    return Response(text, content_type="application/json")
