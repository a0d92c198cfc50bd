"""TLS towards the store: who is trusted, and as whom we come."""

import re
import ssl
from collections.abc import Mapping
from typing import Any

from redis.asyncio.connection import SSLConnection
from redis.asyncio.sentinel import SentinelManagedConnection

from wellnet_sse.errors import ConfigurationError
from wellnet_sse.settings import check_readable

OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname", "ssl_cert_reqs")
"""Queries of the URL, which have redis-py's names and values."""

_FILES = OPTIONS[:3]
_VALUES: Mapping[str, Mapping[str, Any]] = {
    "ssl_check_hostname": {"true": True, "false": False},
    "ssl_cert_reqs": {"required": ssl.CERT_REQUIRED, "none": ssl.CERT_NONE},
}
_SAID = re.compile(r"\[SSL(?:: \w+)?\] ([^()]+)")


def client_context(options: Mapping[str, str]) -> ssl.SSLContext:
    """How to speak with it. With `ssl_ca_certs` only who is in that file is trusted, else the system's.

    Raises ConfigurationError where it cannot be done: redis-py would take that for a store that is away.
    """
    for name in _FILES:
        if name in options:
            check_readable(f"WELLNET_BROKER_URL: {name}", options[name])
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    except ssl.SSLError as error:
        raise _unusable("ssl_ca_certs", "no certificates in PEM") from error
    if {"ssl_certfile", "ssl_keyfile"} & options.keys():
        _show_ourselves(context, options)
    verifies = _value("ssl_cert_reqs", options, ssl.CERT_REQUIRED)
    context.check_hostname = verifies is not ssl.CERT_NONE and _value("ssl_check_hostname", options, True)
    context.verify_mode = verifies
    return context


def _show_ourselves(context: ssl.SSLContext, options: Mapping[str, str]) -> None:
    if "ssl_certfile" not in options:
        raise _unusable("ssl_keyfile", "ssl_certfile is needed, too")
    try:
        # Without a password an encrypted key would make OpenSSL ask for one on the terminal.
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"), password="")
    except ssl.SSLError as error:
        raise _unusable(
            "ssl_certfile, ssl_keyfile", "not a certificate and its key, unencrypted, in PEM"
        ) from error


def _value(name: str, options: Mapping[str, str], default: Any) -> Any:
    known = _VALUES[name]
    try:
        return known[options[name].lower()] if name in options else default
    except KeyError:
        raise _unusable(name, f"it is {' or '.join(known)}") from None


def _unusable(name: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"WELLNET_BROKER_URL: {name}: {reason}")


def failure(error: BaseException) -> str | None:
    """What TLS found wrong, in OpenSSL's words as redis-py repeats them; None where TLS did not fail."""
    said = _SAID.search(str(error))
    return None if said is None else said[1].strip()


class SecureConnection(SSLConnection):
    """One that is given its context.

    redis-py makes one for each connection, out of all certificates that the system trusts: 40 ms in which
    nobody else has a turn, and that again and again when a store comes back.
    """

    def __init__(self, *, tls: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = tls


class SecureSentinelConnection(SentinelManagedConnection, SecureConnection):
    """The same to whichever server the Sentinels name."""
