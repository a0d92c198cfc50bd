"""What is a good token, and everything that is none."""

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tests.identity.signing import AUDIENCE, SECRET, by_hand, claims, jwk, public_pem, signed, token, written
from tests.identity.test_keys import read
from wellnet_sse.errors import InvalidTokenError
from wellnet_sse.identity.keys import Keys
from wellnet_sse.identity.tokens import LEEWAY_SECONDS, MAX_TOKEN_CHARACTERS, Scope, Verifier

HS256 = {"alg": "HS256", "typ": "JWT"}
VERIFIER = Verifier(read(token_key=SECRET), audience=AUDIENCE)


def refused(text: str, verifier: Verifier = VERIFIER) -> str:
    """What a person is told of it, which is nothing of what stands in it."""
    with pytest.raises(InvalidTokenError) as caught:
        verifier.check(text)
    assert caught.value.__cause__ is None
    return caught.value.detail


def verifier(keys: Keys) -> Verifier:
    return Verifier(keys, audience=AUDIENCE)


def test_a_token_names_its_user_its_scopes_and_its_end() -> None:
    ends = int(time.time()) + 600
    found = VERIFIER.check(token(7, "watch publish", exp=ends))
    assert found.user_id == 7
    assert found.scopes == {Scope.WATCH, Scope.PUBLISH}
    assert found.expires_ms == (ends + LEEWAY_SECONDS) * 1000


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        ("", set()),
        (None, set()),
        ("watch", {"watch"}),
        ("  operate   watch ", {"operate", "watch"}),
        ("openid watch email", {"watch"}),
        ("WATCH watch-all", set()),
    ],
)
def test_scopes_of_others_are_none_of_ours(scope: str | None, scopes: set[str]) -> None:
    assert VERIFIER.check(token(scope=scope)).scopes == scopes


def test_a_service_is_no_user() -> None:
    found = VERIFIER.check(token("import-worker", "publish"))
    assert (found.subject, found.user_id) == ("import-worker", None)


def test_the_audience_may_be_one_of_several() -> None:
    assert VERIFIER.check(token(aud=["other", AUDIENCE])).user_id == 7


def test_clocks_may_be_a_little_apart() -> None:
    assert VERIFIER.check(token(seconds=-LEEWAY_SECONDS + 2)).user_id == 7
    assert VERIFIER.check(token(nbf=int(time.time()) + LEEWAY_SECONDS - 2)).user_id == 7
    assert "ha caducado" in refused(token(seconds=-LEEWAY_SECONDS - 1))


@pytest.mark.parametrize(
    "others",
    [
        {"aud": "other"}, {"aud": None}, {"aud": []}, {"aud": 7}, {"aud": f"{AUDIENCE} "},
        {"exp": None}, {"exp": "soon"}, {"exp": "99999999999"}, {"exp": True}, {"exp": []}, {"exp": {}},
        {"exp": 10**400}, {"exp": 10**15},
        {"nbf": 99_999_999_999}, {"nbf": "x"}, {"nbf": []}, {"iat": []}, {"iat": {}},
        {"sub": None}, {"sub": ""}, {"sub": "0"}, {"sub": "07"}, {"sub": "-7"}, {"sub": "7 "},
        {"sub": "\u0667"},
        {"sub": "9223372036854775808"}, {"sub": "Import"}, {"sub": "a/b"}, {"sub": "a" * 65}, {"sub": "a\n"},
        {"scope": ["watch"]}, {"scope": 7}, {"scope": {}},
    ],
)  # fmt: skip
def test_claims_that_are_none(others: dict[str, Any]) -> None:
    payload = {name: value for name, value in (claims() | others).items() if value is not None}
    assert refused(by_hand(HS256, payload, SECRET.encode()))


def test_a_subject_that_is_a_number_is_none() -> None:
    assert refused(by_hand(HS256, claims() | {"sub": 7}, SECRET.encode()))


def test_the_end_is_a_number_that_can_be_written() -> None:
    for end in ("NaN", "Infinity", "-Infinity", "1e400"):
        payload = json.dumps(claims() | {"exp": 0}).replace('"exp": 0', f'"exp": {end}')
        assert refused(jwt.PyJWS().encode(payload.encode(), SECRET, "HS256"))


# Forgeries


def test_another_key_signs_nothing() -> None:
    assert refused(jwt.encode(claims(), "x" * 32, "HS256"))


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "nOnE", "", "HS384", "RS256", "EdDSA", None, 7]
)
def test_a_token_does_not_choose_how_it_is_checked(algorithm: object) -> None:
    header = {"alg": algorithm, "typ": "JWT"}
    for secret in (None, b"", SECRET.encode()):
        assert refused(by_hand(header, claims(), secret))


def test_a_public_key_is_no_secret(tmp_path: Path, rsa: RSAPrivateKey, ed25519: Ed25519PrivateKey) -> None:
    """HS256 with the public key, which everybody may have, as its secret."""
    for private in (rsa, ed25519):
        pem = public_pem(private)
        alone = verifier(read(token_public_key=written(tmp_path / "key.pem", pem)))
        in_a_set = verifier(read(token_jwks=written(tmp_path / "set", {"keys": [jwk(private, kid="one")]})))
        for checked in (alone, in_a_set):
            assert checked.check(signed(private, kid="one")).user_id == 7
            for secret in (pem, pem.strip(), json.dumps(jwk(private)).encode()):
                assert refused(by_hand({**HS256, "kid": "one"}, claims(), secret), checked)


def test_of_several_keys_the_named_one_counts(
    tmp_path: Path, rsa: RSAPrivateKey, ed25519: Ed25519PrivateKey
) -> None:
    """Which is how keys are changed: the new one is added, and later the old one taken away."""
    content = {"keys": [jwk(ed25519, kid="old"), jwk(rsa, kid="new")]}
    both = verifier(read(token_jwks=written(tmp_path / "jwks.json", content)))
    assert both.check(signed(ed25519, kid="old")).user_id == 7
    assert both.check(signed(rsa, kid="new")).user_id == 7
    for forged in (signed(rsa, kid="old"), signed(ed25519, kid="new"), signed(rsa, kid="x"), signed(rsa)):
        assert refused(forged, both)
    later = verifier(read(token_jwks=written(tmp_path / "jwks.json", {"keys": [jwk(rsa, kid="new")]})))
    assert later.check(signed(rsa, kid="new")).user_id == 7
    assert refused(signed(ed25519, kid="old"), later)


def test_what_is_too_long_is_not_even_looked_at() -> None:
    assert "demasiado larga" in refused(token(padding="x" * MAX_TOKEN_CHARACTERS))
    assert "demasiado larga" in refused("." * 10_000_000)


def test_deep_nesting_is_no_way_in() -> None:
    deep = jwt.utils.base64url_encode(b"[" * 2000).decode()
    assert refused(f"{deep}.{deep}.")
    assert refused(jwt.PyJWS().encode(b"[" * 2000, SECRET, "HS256"))


@given(st.text(max_size=200) | st.lists(st.text(max_size=40), min_size=3, max_size=5).map(".".join))
def test_any_text_is_refused_in_the_same_way(text: str) -> None:
    refused(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "crit", "b64", "typ", "jwk", "jku"]), json_values),
    st.dictionaries(st.sampled_from(["sub", "aud", "exp", "nbf", "iat", "iss", "jti", "scope"]), json_values)
    | json_values,
)
def test_whatever_is_signed_is_taken_or_refused(header: dict[str, Any], payload: object) -> None:
    """Even by somebody who has the key: what comes out is a user or a service, scopes of ours, and an end."""
    for said in (HS256 | header, header):
        try:
            found = VERIFIER.check(by_hand(said, payload, SECRET.encode()))
        except InvalidTokenError:
            continue
        assert found.user_id is not None or found.subject[0].isalpha()
        assert found.scopes <= set(Scope)


@given(st.integers(min_value=0, max_value=400), st.integers(min_value=1, max_value=255))
def test_one_bit_that_is_not_as_it_was_signed_is_enough(place: int, change: int) -> None:
    good = token()
    place %= len(good)
    forged = good[:place] + chr(ord(good[place]) ^ change) + good[place + 1 :]
    try:
        found = VERIFIER.check(forged)
    except InvalidTokenError:
        return
    # The last character of base64 has bits that say nothing.
    assert place in {good.index("."), good.rindex(".") - 1, len(good) - 1}
    assert found == VERIFIER.check(good)
