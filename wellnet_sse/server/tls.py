"""TLS of our own server, for where no proxy in front of it speaks it."""

import ssl
from pathlib import Path

from wellnet_sse.errors import ConfigurationError
from wellnet_sse.settings import check_readable

HANDSHAKE_SECONDS = 10.0
"""How long a peer may take to agree on keys; asyncio's minute is long for one that says nothing."""

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2 those with forward secrecy that are not known to be weak; TLS 1.3 has no others."""


def server_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """How to speak TLS with a chain and its key, both PEM; None, which is plain HTTP, without them.

    Raises ConfigurationError where they cannot be used.
    """
    if certificate is None or key is None:  # the settings have both or neither
        return None
    check_readable("WELLNET_TLS_CERTIFICATE", certificate)
    check_readable("WELLNET_TLS_KEY", key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    # Only this: HTTP/2 belongs to the proxy in front (see http11.py), and browsers and curl ask here first.
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password an encrypted key would make OpenSSL ask for one on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigurationError("WELLNET_TLS_KEY is not the key of WELLNET_TLS_CERTIFICATE") from error
        raise ConfigurationError(
            "WELLNET_TLS_CERTIFICATE, WELLNET_TLS_KEY: not a certificate and its key, unencrypted, in PEM"
        ) from error
    return context


def client_context(certificate: Path) -> ssl.SSLContext:
    """How to speak with a server that has this very certificate, whatever name or issuer it has."""
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it is trusted itself, not only who signed it
    return context
