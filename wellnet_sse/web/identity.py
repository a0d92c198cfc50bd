"""Who is asking, and what they may do. The one seam between the documented number and signed tokens.

Every view asks once, first of all, and names the scope that it wants; what it is given says for whom to act.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from quart import Websocket
from quart.wrappers.base import BaseRequestWebsocket

from wellnet_sse.errors import (
    BadRequestError,
    CredentialMissingError,
    CredentialsDifferError,
    ForbiddenError,
    InsufficientScopeError,
    InvalidTokenError,
    UnauthenticatedError,
)
from wellnet_sse.identity.tickets import Tickets
from wellnet_sse.identity.tokens import Claims, Scope, Verifier
from wellnet_sse.progress.events import UserId, parse_user_id
from wellnet_sse.settings import is_loopback
from wellnet_sse.web.origins import OriginPolicy

USER_HEADER = "X-User-ID"
USER_QUERY = "userId"
TICKET_QUERY = "ticket"
COOKIE = "__Host-wellnet-token"
"""The prefix has browsers take it over TLS alone, and from no neighbouring host (RFC 6265bis §4.1.3.2)."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a request is for, what it may do, and until when (milliseconds since 1970; None: for ever)."""

    user_id: UserId
    scopes: frozenset[Scope] = frozenset(Scope)
    expires_ms: int | None = None

    def check(self, scope: Scope) -> None:
        """Raise InsufficientScopeError where `scope` was not given."""
        if scope not in self.scopes:
            raise InsufficientScopeError(scope)


class Identity(Protocol):
    """Says who asks. All that it raises is refused before anything is done, upgraded or streamed."""

    async def caller(
        self, connection: BaseRequestWebsocket, scope: Scope, *, takes_ticket: bool = False
    ) -> Caller:
        """Who asks, for something that needs `scope`; with `takes_ticket`, a ticket in the query will do.

        Raises UnauthenticatedError where that is not known, BadRequestError where two are named, and
        ForbiddenError where they may not.
        """

    async def caller_if_named(self, connection: BaseRequestWebsocket, scope: Scope) -> Caller | None:
        """The same; None where nobody needs to be named and nobody is."""

    async def check_operator(self, connection: BaseRequestWebsocket) -> None:
        """Raise as `caller` does unless whoever asks may see what everybody does."""


class DocumentedIdentity:
    """Mode `documented`: the number in `userId` or `X-User-ID` is trusted, as the source document says.

    `on_loopback`: the server listens on a loopback address.
    """

    def __init__(self, *, on_loopback: bool) -> None:
        self._on_loopback = on_loopback

    async def caller(
        self,
        connection: BaseRequestWebsocket,
        scope: Scope,  # noqa: ARG002 - everybody may do everything
        *,
        takes_ticket: bool = False,  # noqa: ARG002 - nobody needs one
    ) -> Caller:
        """See `Identity.caller`."""
        user_id = named_user(connection)
        if user_id is None:
            raise UnauthenticatedError("Falta el usuario: indique userId o X-User-ID")
        return Caller(user_id)

    async def caller_if_named(
        self,
        connection: BaseRequestWebsocket,
        scope: Scope,  # noqa: ARG002 - the same
    ) -> Caller | None:
        """See `Identity.caller_if_named`."""
        user_id = named_user(connection)
        return None if user_id is None else Caller(user_id)

    async def check_operator(self, connection: BaseRequestWebsocket) -> None:
        """See `Identity.check_operator`: on this machine anybody, under its own name.

        Another name is a proxy's, behind which everybody may be, or was made to point here (DNS rebinding).
        """
        if not (self._on_loopback and is_loopback(_hostname(connection))):
            raise ForbiddenError("El panel solo se ve en la propia máquina, o con WELLNET_AUTH=token")


class TokenIdentity:
    """Mode `token`: a signed token names the user; a number beside it may only say the same.

    `operators`: who may see what everybody does.
    """

    def __init__(
        self, verifier: Verifier, tickets: Tickets, origins: OriginPolicy, *, operators: Collection[int]
    ) -> None:
        self._verifier = verifier
        self._origins = origins
        self._operators = operators
        self.tickets = tickets

    async def caller(
        self, connection: BaseRequestWebsocket, scope: Scope, *, takes_ticket: bool = False
    ) -> Caller:
        """See `Identity.caller`."""
        given = await self._given(connection, takes_ticket=takes_ticket)
        caller = _caller_of(given.claims, connection, scope)
        caller.check(scope)
        if given.by_cookie and (isinstance(connection, Websocket) or connection.method not in SAFE_METHODS):
            # The browser sent it by itself, whichever page made it ask.
            self._origins.check_page(connection.headers.get("Origin"), connection.host)
        return caller

    async def caller_if_named(self, connection: BaseRequestWebsocket, scope: Scope) -> Caller | None:
        """See `Identity.caller_if_named`: here somebody always is."""
        return await self.caller(connection, scope)

    async def check_operator(self, connection: BaseRequestWebsocket) -> None:
        """See `Identity.check_operator`: `operate` is not enough, for all who work have it."""
        caller = await self.caller(connection, Scope.OPERATE)
        if caller.user_id not in self._operators:
            raise ForbiddenError("El panel es solo de quienes nombra WELLNET_OPERATORS")

    async def holder(self, connection: BaseRequestWebsocket) -> Caller:
        """Who asks, whatever they may do."""
        given = await self._given(connection, takes_ticket=False)
        return _caller_of(given.claims, connection, None)

    def bearer(self, connection: BaseRequestWebsocket) -> tuple[str, Claims]:
        """The token in `Authorization`, and what it says."""
        tokens = _bearers(connection)
        if not tokens:
            raise CredentialMissingError("Falta la credencial: Authorization: Bearer")
        if len(tokens) > 1:
            raise CredentialsDifferError("La solicitud trae credenciales distintas")
        token = tokens.pop()
        return token, self._verifier.check(token)

    async def _given(self, connection: BaseRequestWebsocket, *, takes_ticket: bool) -> "_Given":
        said = [self._verifier.check(token) for token in _bearers(connection)]
        if takes_ticket:
            said += [await self.tickets.take(it) for it in set(connection.args.getlist(TICKET_QUERY))]
        sent = []
        for token in set(connection.cookies.getlist(COOKIE)):
            try:
                sent.append(self._verifier.check(token))
            except InvalidTokenError:
                if not said:  # beside what the page itself says, a cookie from yesterday is no matter
                    raise
        if not said and not sent:
            raise CredentialMissingError("Falta la credencial: Authorization: Bearer, cookie o ticket")
        if len({claims.subject for claims in said + sent}) > 1:
            raise CredentialsDifferError("La solicitud trae credenciales de usuarios distintos")
        return _Given((said + sent)[0], by_cookie=not said)


class _Given(NamedTuple):
    claims: Claims
    by_cookie: bool


def _caller_of(claims: Claims, connection: BaseRequestWebsocket, scope: Scope | None) -> Caller:
    """For the person who holds the token; for whom it names, where a service publishes."""
    user_id = _user_of(claims, connection, scope)
    return Caller(user_id, claims.scopes, claims.expires_ms)


def _user_of(claims: Claims, connection: BaseRequestWebsocket, scope: Scope | None) -> UserId:
    try:
        named = named_user(connection)
    except UnauthenticatedError as error:
        raise CredentialMissingError(error.detail) from None
    if claims.user_id is not None:
        if named not in {None, claims.user_id}:
            raise ForbiddenError("La credencial es de otro usuario")
        return claims.user_id
    if scope is not Scope.PUBLISH:
        raise ForbiddenError("La credencial es de un servicio: solo sirve para publicar")
    if named is None:
        raise CredentialMissingError("Falta el usuario: indique userId o X-User-ID")
    return named


def _hostname(connection: BaseRequestWebsocket) -> str:
    try:
        return urlsplit(f"//{connection.host}").hostname or ""
    except ValueError:
        return ""


def _bearers(connection: BaseRequestWebsocket) -> set[str]:
    """The tokens of RFC 6750 §2.1; another scheme is none of ours."""
    headers = (header.partition(" ") for header in connection.headers.getlist("Authorization"))
    return {token.strip() for scheme, _, token in headers if scheme.lower() == "bearer"}


def named_user(connection: BaseRequestWebsocket) -> UserId | None:
    """The user whom `userId` or `X-User-ID` names, if one does (protocol §1).

    Raises UnauthenticatedError where it is no user, BadRequestError where two are named.
    """
    named = connection.args.getlist(USER_QUERY) + connection.headers.getlist(USER_HEADER)
    if not named:
        return None
    users = {parse_user_id(text) for text in named}
    if None in users:
        raise UnauthenticatedError("El usuario debe ser un número entero positivo")
    if len(users) > 1:
        raise BadRequestError("userId y X-User-ID nombran usuarios distintos")
    return users.pop()
