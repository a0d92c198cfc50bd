"""Transports: a `Subscription` becomes bytes."""
