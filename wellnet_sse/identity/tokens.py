"""What a token says, and whether it is true: JWT (RFC 7519), signed."""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, NamedTuple

import jwt
from jwt.types import Options

from wellnet_sse.errors import InvalidTokenError
from wellnet_sse.identity.keys import Keys
from wellnet_sse.progress.events import UserId, parse_user_id

LEEWAY_SECONDS = 5
"""How far clocks may be apart: a token is good for so much longer than it says."""

MAX_TOKEN_CHARACTERS = 3800
"""Browsers keep cookies of 4 KiB, name and attributes included."""

_LATEST_SECONDS = 32_503_680_000
"""The year 3000: what is later is a mistake, and from the year 10000 on no timestamp."""

_SERVICE = re.compile("[a-z][a-z0-9._-]{0,63}")
_OPTIONS: Options = {"require": ["exp", "aud", "sub"]}


class Scope(StrEnum):
    """What a token is for."""

    WATCH = "watch"
    """To see one's own operations: streams, sockets, state."""
    OPERATE = "operate"
    """To act: the business endpoints, and to begin, stop and cancel operations."""
    PUBLISH = "publish"
    """To publish steps of work that is done elsewhere."""


class Claims(NamedTuple):
    """Who holds a token, for what, and until when (milliseconds since 1970, leeway included).

    `subject` is a user, or the name of a service, which begins with a letter.
    """

    subject: str
    scopes: frozenset[Scope]
    expires_ms: int

    @property
    def user_id(self) -> UserId | None:
        """The person; None for a service."""
        return parse_user_id(self.subject)


class Verifier:
    """Checks tokens that are signed with one of `keys` and meant for `audience`."""

    def __init__(self, keys: Keys, *, audience: str) -> None:
        self._keys = keys
        self._audience = audience

    def check(self, token: str) -> Claims:
        """What the token says. Raises InvalidTokenError, whose sentence never repeats any of it."""
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise InvalidTokenError("La credencial es demasiado larga")
        try:
            return _claims(self._payload(token))
        except jwt.ExpiredSignatureError:
            raise InvalidTokenError("La credencial ha caducado") from None
        except (jwt.PyJWTError, TypeError, ValueError, OverflowError, RecursionError):
            # Whatever is wrong with it, and whichever part of it a library would quote.
            raise InvalidTokenError("La credencial no es válida") from None

    def _payload(self, token: str) -> dict[str, Any]:
        key = self._keys.find(jwt.get_unverified_header(token).get("kid"))
        if key is None:
            raise jwt.InvalidKeyError
        return jwt.decode(
            token,
            key.key,
            algorithms=[key.algorithm],
            audience=self._audience,
            leeway=LEEWAY_SECONDS,
            options=_OPTIONS,
        )


def scopes_of(names: Iterable[str]) -> frozenset[Scope]:
    """Those of the names that are scopes of ours: a token may be for others, too."""
    return frozenset(scope for scope in Scope if scope in names)


def is_service(subject: str) -> bool:
    """Whether `subject` is the name of a service: 1 to 64 of `a-z 0-9 . _ -`, a letter first."""
    return _SERVICE.fullmatch(subject) is not None


def _claims(payload: dict[str, Any]) -> Claims:
    subject, expires, scope = payload["sub"], payload["exp"], payload.get("scope", "")
    if parse_user_id(subject) is None and not is_service(subject):
        raise jwt.DecodeError
    if isinstance(expires, bool) or not isinstance(expires, int | float) or expires > _LATEST_SECONDS:
        raise jwt.DecodeError
    if not isinstance(scope, str):
        raise jwt.DecodeError
    return Claims(subject, scopes_of(scope.split()), int((expires + LEEWAY_SECONDS) * 1000))
