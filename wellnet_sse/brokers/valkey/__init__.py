"""The `valkey` broker: history in Valkey or Redis, for any number of processes and machines."""

from wellnet_sse.brokers.valkey.broker import ValkeyBroker

__all__ = ["ValkeyBroker"]
