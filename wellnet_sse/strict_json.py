"""JSON as RFC 8259 has it."""

import json
from typing import Any

from wellnet_sse.errors import BadRequestError


def load(text: bytes | str, *, what: str) -> Any:
    """The value that `text` spells. Raises BadRequestError, which names it as `what` ("El cuerpo")."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"{what} no es JSON válido") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")  # Python reads NaN and Infinity
