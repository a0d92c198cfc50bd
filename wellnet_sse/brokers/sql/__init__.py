"""`sql://`: history in the database, for one process at a time."""

from wellnet_sse.brokers.sql.broker import SqlBroker

__all__ = ["SqlBroker"]
