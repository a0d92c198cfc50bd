"""Brokers: where history lives, each behind the one port of `progress.broker`."""
