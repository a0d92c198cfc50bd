"""The interface as it describes itself: for machines, and for people."""

import asyncio
import json
from functools import cache

from quart import Blueprint, Response

from wellnet_sse.web import asyncapi, docs, openapi
from wellnet_sse.web.openapi_parts import Part
from wellnet_sse.web.pages import File
from wellnet_sse.web.services import Services


def blueprint(_services: Services) -> Blueprint:
    """`/openapi.json`, `/asyncapi.json`, and both for people at `/docs`."""
    reference = Blueprint("reference", __name__)
    # Made when they are asked for, once, and beside the streams: a server that comes back has no time for it.
    http, pushed = cache(openapi.document), cache(asyncapi.document)
    page = cache(lambda: File.of(docs.page(http(), pushed()).encode(), ".html"))

    @reference.get("/openapi.json")
    async def openapi_document() -> Response:
        return _json(await asyncio.to_thread(http))

    @reference.get("/asyncapi.json")
    async def asyncapi_document() -> Response:
        return _json(await asyncio.to_thread(pushed))

    @reference.get("/docs")
    async def page_of_both() -> Response:
        return (await asyncio.to_thread(page)).answer()

    return reference


def _json(described: Part) -> Response:
    text = json.dumps(described, ensure_ascii=False, separators=(",", ":"))
    return Response(text, content_type="application/json")
