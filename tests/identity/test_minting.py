"""`wellnet-sse token` makes what the server with the same settings takes."""

from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tests.identity.signing import AUDIENCE, SECRET, jwk, private_pem, public_pem, written
from tests.identity.test_keys import read
from wellnet_sse.cli import main
from wellnet_sse.identity.tokens import LEEWAY_SECONDS, Claims, Scope, Verifier

LOOK = ["--user", "7", "--scope", "watch"]


def run(*arguments: str, **settings: object) -> Result:
    """The command, in the environment of a server with these settings."""
    environment = {f"WELLNET_{name.upper()}": str(value) for name, value in settings.items()}
    return CliRunner().invoke(main, ["token", *arguments], env={"WELLNET_AUTH": "token", **environment})


def minted(*arguments: str, private_key: Path | None = None, **settings: object) -> tuple[str, Claims]:
    """The token, and what the server with the same settings reads in it."""
    signing = [] if private_key is None else ["--private-key", str(private_key)]
    result = run(*arguments, *signing, **settings)
    assert result.exit_code == 0, result.output
    text = result.output.removesuffix("\n")
    audience = str(settings.pop("token_audience", AUDIENCE))
    return text, Verifier(read(**settings), audience=audience).check(text)


def complaint(*arguments: str, **settings: object) -> str:
    result = run(*arguments, **settings)
    assert result.exit_code != 0
    return result.output


def test_a_token_of_a_person() -> None:
    text, claims = minted(*LOOK, "--scope", "operate", "--minutes", "5", token_key=SECRET)
    assert (claims.user_id, set(claims.scopes)) == (7, {Scope.WATCH, Scope.OPERATE})
    payload = jwt.decode(text, SECRET, ["HS256"], audience=AUDIENCE)
    assert payload["exp"] - payload["iat"] == 300
    assert claims.expires_ms == (payload["exp"] + LEEWAY_SECONDS) * 1000


def test_a_token_of_a_service() -> None:
    _, claims = minted("--service", "import-worker", "--scope", "publish", token_key=SECRET)
    assert (claims.subject, set(claims.scopes)) == ("import-worker", {Scope.PUBLISH})


def test_it_is_for_the_servers_audience(tmp_path: Path) -> None:
    path = written(tmp_path / "key", SECRET.encode())
    _, claims = minted(*LOOK, token_key_file=path, token_audience="other")  # noqa: S106 - the name of one
    assert claims.user_id == 7


def test_a_private_key_signs_for_its_public_half(
    tmp_path: Path, ed25519: Ed25519PrivateKey, rsa: RSAPrivateKey
) -> None:
    jwks = written(tmp_path / "jwks", {"keys": [jwk(ed25519, kid="old"), jwk(rsa, kid="new")]})
    for private, kid in ((ed25519, "old"), (rsa, "new")):
        private_key = written(tmp_path / "private.pem", private_pem(private))
        text, _ = minted(*LOOK, private_key=private_key, token_jwks=jwks)
        assert jwt.get_unverified_header(text)["kid"] == kid
        public = written(tmp_path / "public.pem", public_pem(private))
        text, _ = minted(*LOOK, private_key=private_key, token_public_key=public)
        assert "kid" not in jwt.get_unverified_header(text)


def test_a_key_that_does_not_fit_is_told(tmp_path: Path, ed25519: Ed25519PrivateKey) -> None:
    public = written(tmp_path / "public.pem", public_pem(ed25519))
    assert "--private-key is needed" in complaint(*LOOK, token_public_key=public)

    def told(content: bytes, **settings: object) -> str:
        path = written(tmp_path / "private.pem", content)
        return complaint(*LOOK, "--private-key", str(path), **(settings or {"token_public_key": public}))

    other = private_pem(Ed25519PrivateKey.generate())
    assert "no key of the settings is its public half" in told(other)
    assert "not a private key" in told(public_pem(ed25519))
    encrypted = ed25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"geheim"))
    assert "not a private key, unencrypted" in told(encrypted)
    assert "the settings have the key that signs" in told(private_pem(ed25519), token_key=SECRET)
    missing = complaint(*LOOK, "--private-key", str(tmp_path / "none"), token_public_key=public)
    assert "cannot be read" in missing


@pytest.mark.parametrize(
    "arguments",
    [
        ["--scope", "watch"],
        ["--user", "7"],
        [*LOOK, "--service", "x"],
        [*LOOK, "--minutes", "0"],
        ["--user", "0", "--scope", "watch"],
        ["--user", "7", "--scope", "everything"],
        ["--service", "7", "--scope", "publish"],
        ["--service", "worker", "--scope", "watch"],
        ["--service", "worker", "--scope", "publish", "--scope", "operate"],
    ],
)
def test_what_cannot_be_asked_for(arguments: list[str]) -> None:
    assert run(*arguments, token_key=SECRET).exit_code == 2


def test_a_server_without_tokens_has_no_key_for_them() -> None:
    assert "WELLNET_AUTH is not `token`" in complaint(*LOOK, auth="documented")
    told = complaint(*LOOK, token_key="hunter2-hunter2")  # noqa: S106 - which is too short
    assert "at least 32 bytes" in told
    assert "hunter2" not in told
