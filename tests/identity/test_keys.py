"""Which keys there are, and every way in which they cannot be used."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import OKPAlgorithm

from tests.identity.signing import SECRET, jwk, private_pem, public_pem, written
from wellnet_sse.errors import ConfigurationError
from wellnet_sse.identity.keys import Keys
from wellnet_sse.settings import Settings


def read(**settings: object) -> Keys:
    """The keys of a server with these settings."""
    environment = {f"WELLNET_{name.upper()}": str(value) for name, value in settings.items()}
    return Keys.read(Settings.from_environment({"WELLNET_AUTH": "token", **environment}))


def complaint(**settings: object) -> str:
    """What is said of them."""
    with pytest.raises(ConfigurationError) as caught:
        read(**settings)
    return caught.value.detail


def algorithms(keys: Keys) -> dict[str | None, str]:
    return {kid: key.algorithm for kid, key in keys}


def test_a_secret_is_for_hs256_alone(tmp_path: Path) -> None:
    keys = read(token_key=SECRET)
    assert algorithms(keys) == {None: "HS256"}
    assert keys.find(None) == keys.find("any")
    in_a_file = read(token_key_file=written(tmp_path / "key", f"{SECRET}\n".encode()))
    assert in_a_file.find(None) == keys.find(None)


@pytest.mark.parametrize("secret", ["", "x" * 31, "ñ" * 15])
def test_a_secret_must_be_long_enough(tmp_path: Path, secret: str) -> None:
    assert "at least 32 bytes" in complaint(token_key=secret)
    assert "at least 32 bytes" in complaint(token_key_file=written(tmp_path / "key", secret.encode()))


def test_what_everybody_may_know_is_no_secret(
    tmp_path: Path, ed25519: Ed25519PrivateKey, rsa: RSAPrivateKey
) -> None:
    ssh = rsa.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    for content in (public_pem(rsa), public_pem(ed25519), ssh, {"keys": [jwk(ed25519)]}):
        assert "no secret of HS256" in complaint(token_key_file=written(tmp_path / "key", content))


def test_a_public_key_has_the_algorithm_of_its_kind(
    tmp_path: Path, ed25519: Ed25519PrivateKey, rsa: RSAPrivateKey
) -> None:
    for private, algorithm in ((ed25519, "EdDSA"), (rsa, "RS256")):
        keys = read(token_public_key=written(tmp_path / "key.pem", public_pem(private)))
        assert algorithms(keys) == {None: algorithm}


def test_other_files_are_no_public_key(tmp_path: Path, ed25519: Ed25519PrivateKey) -> None:
    def told(content: bytes) -> str:
        return complaint(token_public_key=written(tmp_path / "key.pem", content))

    assert "not a public key" in told(private_pem(ed25519))
    assert "not a public key" in told(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    assert "not a public key" in told(SECRET.encode())
    for other in (ec.generate_private_key(ec.SECP256R1()), ed448.Ed448PrivateKey.generate()):
        pem = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        assert "must be an Ed25519 or an RSA key" in told(pem)
    weak = generate_private_key(65537, 1024)  # noqa: S505 - which is the point
    assert "at least 2048 bits" in told(public_pem(weak))


@pytest.mark.parametrize("name", ["token_key_file", "token_public_key", "token_jwks"])
def test_a_missing_file_is_told_with_its_variable(tmp_path: Path, name: str) -> None:
    assert complaint(**{name: tmp_path / "none"}) == (
        f"WELLNET_{name.upper()}: cannot be read: No such file or directory"
    )


def test_a_set_has_each_key_by_its_id(tmp_path: Path, ed25519: Ed25519PrivateKey, rsa: RSAPrivateKey) -> None:
    content = {"keys": [jwk(ed25519, kid="old", use="sig"), jwk(rsa, kid="new", alg="RS256")]}
    keys = read(token_jwks=written(tmp_path / "jwks.json", content))
    assert algorithms(keys) == {"old": "EdDSA", "new": "RS256"}
    assert keys.find(None) is None, "which one is a guess"
    assert keys.find("other") is None


def test_a_set_of_one_takes_tokens_that_name_none(tmp_path: Path, ed25519: Ed25519PrivateKey) -> None:
    keys = read(token_jwks=written(tmp_path / "jwks.json", {"keys": [jwk(ed25519, kid="one")]}))
    assert keys.find(None) == keys.find("one") is not None
    assert keys.find("other") is None


def test_keys_for_something_else_are_passed_over(
    tmp_path: Path, ed25519: Ed25519PrivateKey, rsa: RSAPrivateKey
) -> None:
    others: list[dict[str, Any]] = [
        jwk(rsa, kid="a", use="enc"),
        jwk(rsa, kid="b", alg="PS256"),
        jwk(rsa, kid="d", alg="Ed25519"),
        jwk(rsa, kid="c", key_ops=["encrypt"]),
        OKPAlgorithm.to_jwk(ed448.Ed448PrivateKey.generate().public_key(), as_dict=True),
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "oct", "k": "AAAA"},
    ]
    keys = read(token_jwks=written(tmp_path / "jwks.json", {"keys": [*others, jwk(ed25519, kid="ours")]}))
    assert algorithms(keys) == {"ours": "EdDSA"}
    content = {"keys": others}
    assert "no Ed25519 or RSA key" in complaint(token_jwks=written(tmp_path / "jwks.json", content))


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", [], {}, {"keys": {}}, {"keys": ["x"]}, {"keys": [{}]}, {"keys": None},
        {"keys": [{"kty": "RSA", "n": "?", "e": "AQAB"}]}, {"keys": [{"kty": "OKP", "crv": "Ed25519"}]},
    ],
)  # fmt: skip
def test_what_is_no_set_is_refused(tmp_path: Path, content: Any) -> None:
    assert "WELLNET_TOKEN_JWKS: " in complaint(token_jwks=written(tmp_path / "jwks.json", content))


def test_keys_that_cannot_be_told_apart_are_refused(
    tmp_path: Path, ed25519: Ed25519PrivateKey, rsa: RSAPrivateKey
) -> None:
    for ids in ({}, {"kid": "same"}):
        content = {"keys": [jwk(ed25519, **ids), jwk(rsa, **ids)]}
        assert "a `kid` of its own" in complaint(token_jwks=written(tmp_path / "jwks.json", content))


def test_a_private_key_does_not_belong_in_a_set(tmp_path: Path, ed25519: Ed25519PrivateKey) -> None:
    private = OKPAlgorithm.to_jwk(ed25519, as_dict=True)
    told = complaint(token_jwks=written(tmp_path / "jwks.json", {"keys": [private]}))
    assert "a private key stands in it" in told
    assert private["d"] not in told


def test_there_is_exactly_one_source(tmp_path: Path) -> None:
    one = "WELLNET_AUTH: `token` needs exactly one of WELLNET_TOKEN_KEY, "
    assert complaint().startswith(one)
    assert complaint(token_key=SECRET, token_jwks=tmp_path / "jwks.json").startswith(one)


@pytest.mark.parametrize("auth", [{}, {"auth": "documented"}])
def test_a_key_that_nothing_reads_stops_the_start(auth: dict[str, str]) -> None:
    """Somebody wanted tokens; trusting the number instead would open the door."""
    environment = {"WELLNET_TOKEN_KEY": SECRET, **{f"WELLNET_{k.upper()}": v for k, v in auth.items()}}
    with pytest.raises(ConfigurationError, match="WELLNET_TOKEN_KEY: only WELLNET_AUTH=token reads it"):
        Settings.from_environment(environment)
