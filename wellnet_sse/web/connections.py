"""The list of connections, a page at a time."""

import re
from urllib.parse import urlencode

from quart import Blueprint, Response, jsonify, request

from wellnet_sse.errors import BadRequestError
from wellnet_sse.identity.tokens import Scope
from wellnet_sse.provisioning.catalogue import Catalogue
from wellnet_sse.web.schemas import page_limit
from wellnet_sse.web.services import Services

MAX_SEARCH_CHARACTERS = 45
"""As long as an address may be."""


def blueprint(services: Services) -> Blueprint:
    """`GET /api/conexiones`."""
    connections = Blueprint("connections", __name__, url_prefix="/api/conexiones")
    catalogue = Catalogue(services.database)

    @connections.get("")
    async def list_by_id() -> Response:
        caller = await services.identity.caller(request, Scope.OPERATE)  # whoever acts must see on what
        limit = page_limit(request.args.get("limit"))
        after, search = _after(request.args.get("after")), _search(request.args.get("buscar"))
        found = await catalogue.page(limit=limit + 1, after=after, search=search)
        page = found[:limit]
        following = None
        if len(found) > limit:
            query = {"userId": caller.user_id, "limit": limit, "after": page[-1].id_conexion}
            following = f"/api/conexiones?{urlencode(query | ({'buscar': search} if search else {}))}"
        response: Response = jsonify(
            {
                "conexiones": [
                    {
                        "id_conexion": one.id_conexion,
                        "direccion_ip": one.address,
                        "id_usuario": one.customer_id,
                        "router": one.router,
                        "servicios": list(one.services),
                        "configurada": one.has_configuration,
                        "limpieza_pendiente": one.has_cleanup,
                    }
                    for one in page
                ],
                "next": following,
            }
        )
        response.headers["Cache-Control"] = "no-cache"
        return response

    return connections


def _after(text: str | None) -> int:
    if not text:
        return 0
    if re.fullmatch("[0-9]{1,18}", text) is None:
        raise BadRequestError("after debe ser el id_conexion de la última conexión vista")
    return int(text)


def _search(text: str | None) -> str:
    search = (text or "").strip()
    if len(search) > MAX_SEARCH_CHARACTERS or not search.isprintable():
        raise BadRequestError(f"buscar: hasta {MAX_SEARCH_CHARACTERS} caracteres")
    return search
