"""`/openapi.json`: the HTTP interface in OpenAPI 3.1."""

from quart import Blueprint, Response, jsonify

from wellnet_sse.web.services import Services


def blueprint(_services: Services) -> Blueprint:
    """`/openapi.json`."""
    reference = Blueprint("reference", __name__)

    @reference.get("/openapi.json")
    async def document() -> Response:
        response: Response = jsonify({})
        return response

    return reference
