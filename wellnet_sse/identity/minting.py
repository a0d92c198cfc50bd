"""Tokens of our own making: for a machine, a try, or a server that has no identity provider beside it."""

import time
from collections.abc import Iterable
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from wellnet_sse.errors import ConfigurationError
from wellnet_sse.identity.keys import Key, Keys
from wellnet_sse.identity.tokens import MAX_TOKEN_CHARACTERS, Scope


def mint(
    keys: Keys,
    *,
    subject: str,
    scopes: Iterable[Scope],
    audience: str,
    seconds: int,
    private_key: Path | None = None,
) -> str:
    """A token that is good for `seconds` from now, by a server that checks with `keys`.

    `private_key`: file of the key in PEM that signs it, where `keys` are public ones. Raises
    ConfigurationError where it is needed and missing, or is the private half of none of them.
    """
    now = int(time.time())
    payload = {
        "sub": subject,
        "aud": audience,
        "scope": " ".join(scopes),
        "iat": now,
        "exp": now + seconds,
    }
    kid, key, signing = _signing(keys, private_key)
    token = jwt.encode(payload, signing, key.algorithm, headers=None if kid is None else {"kid": kid})
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise ConfigurationError(f"the token would be longer than {MAX_TOKEN_CHARACTERS} characters")
    return token


def _signing(
    keys: Keys, path: Path | None
) -> tuple[str | None, Key, bytes | Ed25519PrivateKey | RSAPrivateKey]:
    private = None if path is None else _read_private(path)
    for kid, key in keys:
        if isinstance(key.key, bytes):
            if private is not None:
                raise ConfigurationError("the settings have the key that signs: --private-key is for others")
            return kid, key, key.key
        if private is not None and private.public_key() == key.key:
            return kid, key, private
    if private is None:
        raise ConfigurationError("the settings have public keys alone: --private-key is needed to sign")
    raise ConfigurationError(f"{path}: no key of the settings is its public half")


def _read_private(path: Path) -> Ed25519PrivateKey | RSAPrivateKey:
    try:
        private = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise ConfigurationError(f"{path}: not a private key, unencrypted, in PEM") from error
    if not isinstance(private, Ed25519PrivateKey | RSAPrivateKey):
        raise ConfigurationError(f"{path}: must be an Ed25519 or an RSA key")
    return private
