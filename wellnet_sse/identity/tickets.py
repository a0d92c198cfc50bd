"""Tickets: each opens one stream or socket, for those who cannot send a header (EventSource, WebSocket).

They live in the shared database, so that any process takes what another gave out. Only their hashes are kept.
"""

import hashlib
import secrets
from collections.abc import Callable

from sqlalchemy import String, delete, insert
from sqlalchemy.orm import Mapped, mapped_column

from wellnet_sse.errors import InvalidTokenError
from wellnet_sse.identity.tokens import Claims, scopes_of
from wellnet_sse.storage.database import Database
from wellnet_sse.storage.schema import BIG, Base

TICKET_SECONDS = 30
TRIM_SECONDS = 30.0
"""How often those are thrown away that nobody used."""


class Ticket(Base):
    """A ticket that was not used yet: whose it is, and what the token that made it says."""

    __tablename__ = "tickets"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    subject: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[str] = mapped_column(String(64))
    claims_expire_ms: Mapped[int] = mapped_column(BIG)
    expires_ms: Mapped[int] = mapped_column(BIG, index=True)


class Tickets:
    """Gives tickets out and takes each once, whichever process on the database asks first."""

    def __init__(self, database: Database, *, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._now_ms = now_ms

    async def give(self, claims: Claims) -> tuple[str, int]:
        """A new ticket for whoever has `claims`, and when it ends (milliseconds since 1970)."""
        ticket = secrets.token_urlsafe(32)
        expires_ms = min(self._now_ms() + TICKET_SECONDS * 1000, claims.expires_ms)
        row = {
            "hash": _hash(ticket),
            "subject": claims.subject,
            "scopes": " ".join(sorted(claims.scopes)),
            "claims_expire_ms": claims.expires_ms,
            "expires_ms": expires_ms,
        }
        async with self._database.writing() as connection:
            await connection.execute(insert(Ticket).values(row))
        return ticket, expires_ms

    async def take(self, ticket: str) -> Claims:
        """The claims that it was given for. Raises InvalidTokenError where it is none, used or too old."""
        statement = (
            delete(Ticket)
            .where(Ticket.hash == _hash(ticket))
            .returning(Ticket.subject, Ticket.scopes, Ticket.claims_expire_ms, Ticket.expires_ms)
        )
        async with self._database.writing() as connection:
            row = (await connection.execute(statement)).one_or_none()
        if row is None or row.expires_ms <= self._now_ms():
            raise InvalidTokenError("El ticket no existe, ya se usó o ha caducado")
        return Claims(row.subject, scopes_of(row.scopes.split()), row.claims_expire_ms)

    async def trim(self) -> None:
        """Throw away those that are too old."""
        async with self._database.writing() as connection:
            await connection.execute(delete(Ticket).where(Ticket.expires_ms <= self._now_ms()))


def _hash(ticket: str) -> str:
    return hashlib.sha256(ticket.encode(errors="surrogatepass")).hexdigest()
