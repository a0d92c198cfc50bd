"""History: the log of each user, and the state that is projected from it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "history_identity",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("epoch", sa.String(32), nullable=False),
        sa.Column("boot_id", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("clean", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_history_identity")),
        comment="One row: the epoch of all cursors, and how and by whom this history was last written",
    )
    op.create_table(
        "history_users",
        sa.Column("user_id", BIG, nullable=False, autoincrement=False),
        sa.Column("seq", BIG, nullable=False),
        sa.Column("floor", BIG, nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_history_users")),
        comment="The newest seq of each user, and the newest that is no longer kept",
    )
    op.create_table(
        "history_entries",
        sa.Column("user_id", BIG, nullable=False, autoincrement=False),
        sa.Column("seq", BIG, nullable=False, autoincrement=False),
        sa.Column("operation_id", sa.String(128), nullable=False),
        sa.Column("step", sa.String(64)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("message", sa.Text),
        sa.Column("progress", sa.Integer),
        sa.Column("at_ms", BIG, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "seq", name=op.f("pk_history_entries")),
        comment="Events, and endings, which have no step and whose outcome stands as status",
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_history_entries_at_ms"), "history_entries", ["at_ms"])
    op.create_table(
        "history_operations",
        sa.Column("user_id", BIG, nullable=False, autoincrement=False),
        sa.Column("operation_id", sa.String(128), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("started_ms", BIG, nullable=False),
        sa.Column("finished_ms", BIG),
        sa.Column("ending_seq", BIG, nullable=False),
        sa.Column("trimmed_seq", BIG, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("user_id", "operation_id", name=op.f("pk_history_operations")),
        comment="The state of each operation; finished_ms is null while it runs",
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_history_operations_finished_ms"), "history_operations", ["finished_ms"])
    op.create_index(
        "ix_history_operations_user_id_started_ms",
        "history_operations",
        ["user_id", "started_ms", "operation_id"],
    )
    op.create_table(
        "history_keys",
        sa.Column("user_id", BIG, nullable=False, autoincrement=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("seq", BIG),
        sa.Column("at_ms", BIG, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "key", name=op.f("pk_history_keys")),
        comment="Publishers' idempotency keys, and the first entry that each has made",
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_history_keys_at_ms"), "history_keys", ["at_ms"])
