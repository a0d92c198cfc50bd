"""The back office's tables and the stored answers."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "routers",
        sa.Column("id", BIG, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("url", sa.String(500), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_routers")),
        sa.UniqueConstraint("name", name=op.f("uq_routers_name")),
    )
    op.create_table(
        "connections",
        sa.Column("id", BIG, nullable=False),
        sa.Column("address", sa.String(45), nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("router_id", BIG, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connections")),
        sa.UniqueConstraint("address", name=op.f("uq_connections_address")),
        sa.ForeignKeyConstraint(["router_id"], ["routers.id"], name=op.f("fk_connections_router_id_routers")),
    )
    op.create_index(op.f("ix_connections_router_id"), "connections", ["router_id"])
    _create_table_of_connection("assignments", sa.Column("service", sa.String(100), nullable=False))
    _create_table_of_connection(
        "configurations",
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
    )
    _create_table_of_connection(
        "temporary_files",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
    )
    op.create_table(
        "answers",
        sa.Column("user_id", BIG, nullable=False),
        sa.Column("operation_id", sa.String(128), nullable=False),
        sa.Column("step", sa.String(64), nullable=False),
        sa.Column("body_hash", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(255), nullable=False),
        sa.Column("started_at", BIG, nullable=False),
        sa.Column("finished_at", BIG, nullable=True),
        sa.CheckConstraint("status IN ('running', 'completed', 'failed')", name=op.f("ck_answers_status")),
        sa.PrimaryKeyConstraint("user_id", "operation_id", "step", name=op.f("pk_answers")),
    )
    op.create_index(op.f("ix_answers_finished_at"), "answers", ["finished_at"])


def _create_table_of_connection(name: str, *columns: sa.Column[object]) -> None:
    op.create_table(
        name,
        sa.Column("id", BIG, nullable=False),
        sa.Column("connection_id", BIG, nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name=op.f(f"fk_{name}_connection_id_connections")
        ),
    )
    op.create_index(op.f(f"ix_{name}_connection_id"), name, ["connection_id"])
