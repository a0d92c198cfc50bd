"""History's tables: the log, and beside it the state that is projected from it."""

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, Text

from wellnet_sse.storage.schema import BIG, Base

identity = Table(
    "history_identity",
    Base.metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", String(32), nullable=False),
    Column("boot_id", String(64), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("clean", Boolean, nullable=False),
    comment="One row: the epoch of all cursors, and how and by whom this history was last written",
)

users = Table(
    "history_users",
    Base.metadata,
    Column("user_id", BIG, primary_key=True, autoincrement=False),
    Column("seq", BIG, nullable=False),
    Column("floor", BIG, nullable=False),
    comment="The newest seq of each user, and the newest that is no longer kept",
)

entries = Table(
    "history_entries",
    Base.metadata,
    Column("user_id", BIG, primary_key=True, autoincrement=False),
    Column("seq", BIG, primary_key=True, autoincrement=False),
    Column("operation_id", String(128), nullable=False),
    Column("step", String(64)),
    Column("status", String(16), nullable=False),
    Column("message", Text),
    Column("progress", Integer),
    Column("at_ms", BIG, nullable=False, index=True),
    comment="Events, and endings, which have no step and whose outcome stands as status",
    sqlite_with_rowid=False,
)

operations = Table(
    "history_operations",
    Base.metadata,
    Column("user_id", BIG, primary_key=True, autoincrement=False),
    Column("operation_id", String(128), primary_key=True),
    Column("state", Text, nullable=False),
    Column("started_ms", BIG, nullable=False),
    Column("finished_ms", BIG, index=True),
    Column("ending_seq", BIG, nullable=False),
    Column("trimmed_seq", BIG, nullable=False, server_default="0"),
    Index("ix_history_operations_user_id_started_ms", "user_id", "started_ms", "operation_id"),
    comment="The state of each operation; finished_ms is null while it runs",
    sqlite_with_rowid=False,
)

keys = Table(
    "history_keys",
    Base.metadata,
    Column("user_id", BIG, primary_key=True, autoincrement=False),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("seq", BIG),
    Column("at_ms", BIG, nullable=False, index=True),
    comment="Publishers' idempotency keys, and the first entry that each has made",
    sqlite_with_rowid=False,
)
