"""How long steps took."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "step_timings",
        sa.Column("id", BIG, nullable=False),
        sa.Column("step", sa.String(64), nullable=False),
        sa.Column("place", sa.String(500), nullable=False),
        sa.Column("duration_ms", BIG, nullable=False),
        sa.Column("silence_ms", BIG, nullable=False),
        sa.Column("holder", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_step_timings")),
    )
