"""The keys that tokens are checked with.

Which algorithm a key is for is the key's own and never a token's to say: a token that asks for another one,
or for none, is as good as forged (RFC 8725 §3.1).
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import HMACAlgorithm

from wellnet_sse.errors import ConfigurationError
from wellnet_sse.settings import PREFIX, Settings

MIN_SECRET_BYTES = 32
"""As much as HS256 itself gives out (RFC 7518 §3.2)."""
MIN_RSA_BITS = 2048
"""RFC 7518 §3.3."""

_ALGORITHMS_OF_TYPE = {"RSA": ("RS256",), "OKP": ("EdDSA", "Ed25519")}
"""As keys may call them (RFC 7518, RFC 9864); as tokens do, the first."""


class Key(NamedTuple):
    """A key, and the one algorithm that it is for."""

    algorithm: str
    key: bytes | Ed25519PublicKey | RSAPublicKey


class Keys:
    """The keys by their `kid`; one that stands alone need not have any, and then takes a token with any."""

    def __init__(self, keys: Mapping[str | None, Key]) -> None:
        self._keys = keys

    def __iter__(self) -> Iterator[tuple[str | None, Key]]:
        return iter(self._keys.items())

    def find(self, kid: str | None) -> Key | None:
        """The key that a token is to be checked with; None where it names no key of ours."""
        if len(self._keys) == 1 and (kid is None or None in self._keys):
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    @classmethod
    def read(cls, settings: Settings) -> Self:
        """The keys that are set. Raises ConfigurationError where they cannot be used."""
        if settings.token_key is not None:
            return cls({None: _secret("TOKEN_KEY", settings.token_key.get_secret_value().encode())})
        if settings.token_key_file is not None:
            data = _contents("TOKEN_KEY_FILE", settings.token_key_file)
            return cls({None: _secret("TOKEN_KEY_FILE", data.strip())})  # an editor ends it with a line end
        if settings.token_public_key is not None:
            return cls({None: _public("TOKEN_PUBLIC_KEY", settings.token_public_key)})
        if settings.token_jwks is not None:
            return cls._of_set("TOKEN_JWKS", _contents("TOKEN_JWKS", settings.token_jwks))
        raise ConfigurationError(f"{PREFIX}AUTH is not `token`: no key is set")

    @classmethod
    def _of_set(cls, name: str, data: bytes) -> Self:
        try:
            members = json.loads(data)["keys"]
            usable = [(member.get("kid"), key) for member in members if (key := _of_jwk(name, member))]
        except (ValueError, TypeError, KeyError, AttributeError, jwt.PyJWTError) as error:
            raise ConfigurationError(f"{PREFIX}{name}: not a JWK Set (RFC 7517)") from error
        if not usable:
            raise ConfigurationError(f"{PREFIX}{name}: no Ed25519 or RSA key for signatures in it")
        keys = dict(usable)
        if len(keys) < len(usable) or (len(keys) > 1 and None in keys):
            raise ConfigurationError(f"{PREFIX}{name}: each key needs a `kid` of its own")
        return cls(keys)


def _secret(name: str, secret: bytes) -> Key:
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigurationError(
            f"{PREFIX}{name}: must have at least {MIN_SECRET_BYTES} bytes; `openssl rand -hex 32` makes some"
        )
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)  # which knows a PEM or an SSH key
        is_secret = not secret.startswith(b"{")
    except jwt.InvalidKeyError:
        is_secret = False
    if not is_secret:  # what everybody may know would let everybody sign
        raise ConfigurationError(
            f"{PREFIX}{name}: that is no secret of HS256; {PREFIX}TOKEN_PUBLIC_KEY takes a PEM, "
            f"{PREFIX}TOKEN_JWKS a JWK Set"
        )
    return Key("HS256", secret)


def _public(name: str, path: Path) -> Key:
    try:
        key = load_pem_public_key(_contents(name, path))
    except ValueError as error:
        raise ConfigurationError(f"{PREFIX}{name}: not a public key in PEM") from error
    found = _checked(name, key)
    if found is None:
        raise ConfigurationError(f"{PREFIX}{name}: must be an Ed25519 or an RSA key")
    return found


def _of_jwk(name: str, member: dict[str, Any]) -> Key | None:
    """The key, or None where it is for something else (RFC 7517 §5)."""
    algorithms = _ALGORITHMS_OF_TYPE.get(member["kty"])
    if algorithms is None or member.get("alg", algorithms[0]) not in algorithms:
        return None
    if member.get("use", "sig") != "sig" or "verify" not in member.get("key_ops", ["verify"]):
        return None
    if "d" in member:
        raise ConfigurationError(f"{PREFIX}{name}: a private key stands in it; only public ones belong there")
    return _checked(name, jwt.PyJWK(member, algorithms[0]).key)


def _checked(name: str, key: object) -> Key | None:
    if isinstance(key, Ed25519PublicKey):
        return Key("EdDSA", key)
    if not isinstance(key, RSAPublicKey):
        return None
    if key.key_size < MIN_RSA_BITS:
        raise ConfigurationError(f"{PREFIX}{name}: an RSA key must have at least {MIN_RSA_BITS} bits")
    return Key("RS256", key)


def _contents(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{PREFIX}{name}: cannot be read: {error.strerror}") from error
