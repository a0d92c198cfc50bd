"""A demo server a module whose router can be steered."""

from tests.e2e.conftest import mine, router, router_port, server

__all__ = ["mine", "router", "router_port", "server"]
