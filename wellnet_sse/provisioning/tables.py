"""The tables of the back office, as typed SQLAlchemy models."""

from typing import Annotated

from sqlalchemy import CheckConstraint, ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from wellnet_sse.storage.schema import BIG, Base

Id = Annotated[int, mapped_column(BIG, primary_key=True)]


class Router(Base):
    """A router that speaks the RouterOS REST API at `url`."""

    __tablename__ = "routers"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(100), unique=True)
    url: Mapped[str] = mapped_column(String(500))


class Connection(Base):
    """A customer's line: one address (IPv4 or IPv6, in canonical text) on one router."""

    __tablename__ = "connections"

    id: Mapped[Id]
    address: Mapped[str] = mapped_column(String(45), unique=True)
    customer_id: Mapped[int] = mapped_column(BIG)
    router_id: Mapped[int] = mapped_column(BIG, ForeignKey("routers.id"), index=True)


class Assignment(Base):
    """The service that a connection is given."""

    __tablename__ = "assignments"

    id: Mapped[Id]
    connection_id: Mapped[int] = mapped_column(BIG, ForeignKey("connections.id"), index=True)
    service: Mapped[str] = mapped_column(String(100))


class Configuration(Base):
    """The configuration of a customer's connection."""

    __tablename__ = "configurations"

    id: Mapped[Id]
    connection_id: Mapped[int] = mapped_column(BIG, ForeignKey("connections.id"), index=True)
    customer_id: Mapped[int] = mapped_column(BIG)
    content: Mapped[str] = mapped_column(Text)


class TemporaryFile(Base):
    """A file that was generated from a connection's configuration."""

    __tablename__ = "temporary_files"

    id: Mapped[Id]
    connection_id: Mapped[int] = mapped_column(BIG, ForeignKey("connections.id"), index=True)
    name: Mapped[str] = mapped_column(String(255))
    content: Mapped[str] = mapped_column(Text)


class Answer(Base):
    """What one step of one operation answered, or who is working on it (protocol §6)."""

    __tablename__ = "answers"
    __table_args__ = (CheckConstraint("status IN ('running', 'completed', 'failed')", name="status"),)

    user_id: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=False)
    operation_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    step: Mapped[str] = mapped_column(String(64), primary_key=True)
    body_hash: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    http_status: Mapped[int | None] = mapped_column(Integer)
    message: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(Integer)
    holder: Mapped[str] = mapped_column(String(255))
    started_at: Mapped[int] = mapped_column(BIG)
    finished_at: Mapped[int | None] = mapped_column(BIG, index=True)


class Cleanup(Base):
    """An address that may still stand in its router, until it is certain that it does not."""

    __tablename__ = "cleanups"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - an id names an operation: never again

    id: Mapped[Id]
    user_id: Mapped[int | None] = mapped_column(BIG, index=True)
    operation_id: Mapped[str | None] = mapped_column(String(128))
    address: Mapped[str] = mapped_column(String(45), index=True)
    write_state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(Integer)
    created_ms: Mapped[int] = mapped_column(BIG)
    next_ms: Mapped[int] = mapped_column(BIG, index=True)
