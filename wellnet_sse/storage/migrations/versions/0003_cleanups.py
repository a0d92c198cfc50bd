"""Pending clean-ups of routers."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "cleanups",
        sa.Column("id", BIG, nullable=False),
        sa.Column("user_id", BIG),
        sa.Column("operation_id", sa.String(128)),
        sa.Column("address", sa.String(45), nullable=False),
        sa.Column("write_state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("next_ms", BIG, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cleanups")),
        sqlite_autoincrement=True,
    )
    for column in ("user_id", "address", "next_ms"):
        op.create_index(op.f(f"ix_cleanups_{column}"), "cleanups", [column])
