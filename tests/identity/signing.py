"""Tokens as an identity provider makes them, good ones and forged ones."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

SECRET = "a secret of at least thirty-two bytes"  # noqa: S105 - of nothing
AUDIENCE = "wellnet-sse"
ALL = "watch operate publish"

_DIGESTS = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}

Private = Ed25519PrivateKey | RSAPrivateKey


def claims(
    subject: object = "7", scope: object = ALL, *, seconds: float = 600, **others: Any
) -> dict[str, Any]:
    """The claims of a good token; `None` among the others leaves one out."""
    now = int(time.time())
    made = {"sub": str(subject), "aud": AUDIENCE, "exp": now + seconds, "scope": scope, **others}
    return {name: value for name, value in made.items() if value is not None}


def token(subject: object = "7", scope: object = ALL, *, seconds: float = 600, **others: Any) -> str:
    """A token of HS256."""
    return jwt.encode(claims(subject, scope, seconds=seconds, **others), SECRET, "HS256")


def signed(private: Private, *, kid: str | None = None, **others: Any) -> str:
    """A token that a private key signed."""
    algorithm = "EdDSA" if isinstance(private, Ed25519PrivateKey) else "RS256"
    headers = None if kid is None else {"kid": kid}
    return jwt.encode(claims(**others), private, algorithm, headers=headers)


def by_hand(header: dict[str, Any], payload: object, secret: bytes | None) -> str:
    """A token that no library would make, signed as its `alg` says; without a secret it has no signature."""
    parts = ".".join(_base64(json.dumps(part).encode()) for part in (header, payload))
    if secret is None:
        return f"{parts}."
    digest = _DIGESTS.get(str(header.get("alg")), hashlib.sha256)
    return f"{parts}.{_base64(hmac.digest(secret, parts.encode(), digest))}"


def public_pem(private: Private) -> bytes:
    """Its public half in PEM."""
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(private: Private) -> bytes:
    """It itself in PEM."""
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def jwk(private: Private, **members: Any) -> dict[str, Any]:
    """Its public half as a JWK."""
    public = private.public_key()
    made = (
        OKPAlgorithm.to_jwk(public, as_dict=True)
        if isinstance(public, Ed25519PublicKey)
        else RSAAlgorithm.to_jwk(public, as_dict=True)
    )
    return {**made, **members}


def written(path: Path, content: bytes | object) -> Path:
    """The file, with that content; what is no bytes is JSON."""
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
