"""The listening socket, made here because Hypercorn's own lacks what long-lived streams need."""

import contextlib
import socket

from wellnet_sse.errors import ConfigurationError

BACKLOG = 4096
"""Hypercorn's 100 turns 500 simultaneous connects into 4 s."""

USER_TIMEOUT_MS = 40_000
"""A peer that vanished, or stopped reading, is gone after this (RFC 5482), not after a quarter of an hour."""

SEND_BUFFER_BYTES = 128 * 1024
"""Unset, the kernel takes up to 4 MB for a reader that stopped before a write has to wait."""


def listen(host: str, port: int, *, shared: bool = False, setting: str = "WELLNET_BIND") -> socket.socket:
    """A listening TCP socket at `host` and `port`; accepted connections inherit its options.

    `shared`: others of this user may listen there, too, and each gets its part of the connections.
    Raises ConfigurationError, which names the `setting`, where the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigurationError(f"{setting}: {host} cannot be resolved") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        with contextlib.suppress(AttributeError):  # Linux has it, others may not
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"{setting}: cannot listen on {host}:{port}: {error.strerror}") from error
    listener.setblocking(False)
    return listener


def listen_together(host: str, port: int, count: int) -> list[socket.socket]:
    """So many listening sockets at one address, among which the system spreads the connections.

    Raises ConfigurationError where the address cannot be had, also where others already share it.
    """
    with listen(host, port) as alone:
        port = alone.getsockname()[1]
    return [listen(host, port, shared=True) for _ in range(count)]


def url_of(listener: socket.socket, *, is_tls: bool = False) -> str:
    """The URL under which the listener is reached from this machine."""
    scheme = "https" if is_tls else "http"
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
