"""The name of this database."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table, and give the name."""
    table = op.create_table(
        "database_identity",
        sa.Column("name", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_database_identity")),
        comment="One row: a name at random, by which processes know that they share this database",
    )
    op.bulk_insert(table, [{"name": secrets.token_hex(16)}])
