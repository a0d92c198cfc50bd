"""`WELLNET_BROKER_URL`, as far as Valkey goes."""

import pytest

from wellnet_sse.brokers.valkey.url import Account, Kind, parse
from wellnet_sse.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "kind", "hosts", "database"),
    [
        ("redis://localhost", Kind.SINGLE, [("localhost", 6379)], 0),
        ("redis://[::1]:7000/3", Kind.SINGLE, [("::1", 7000)], 3),
        ("rediss://cache.example/0", Kind.SINGLE, [("cache.example", 6379)], 0),
        ("redis+sentinel://a,b:1234/main", Kind.SENTINEL, [("a", 26379), ("b", 1234)], 0),
        ("redis+sentinel://a/main/2", Kind.SENTINEL, [("a", 26379)], 2),
        ("redis+cluster://a:1,b:2", Kind.CLUSTER, [("a", 1), ("b", 2)], 0),
        ("rediss+cluster://a/0", Kind.CLUSTER, [("a", 6379)], 0),
    ],
)
def test_a_url_says_who_is_meant(url: str, kind: Kind, hosts: list[tuple[str, int]], database: int) -> None:
    address = parse(url)
    assert (address.kind, list(address.hosts), address.database) == (kind, hosts, database)
    assert (address.tls is not None) == url.startswith("rediss")


def test_account_and_options_are_taken_and_the_password_is_not_shown() -> None:
    address = parse("redis+cluster://me:p%40ss@a,b?client_name=wellnet")
    assert address.account == Account("me", "p@ss")
    assert address.client_name == "wellnet"
    assert "p@ss" not in repr(address)


def test_sentinels_have_an_account_of_their_own() -> None:
    address = parse("redis+sentinel://:of-the-store@a/main?sentinel_password=theirs")
    assert address.account == Account(None, "of-the-store")
    assert address.sentinel_account == Account(None, "theirs")


def test_the_service_is_the_one_that_sentinels_know() -> None:
    assert parse("redis+sentinel://a/main").service == "main"


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "redis://",
        "redis://:secreto@a,b",
        "redis://a:port",
        "redis+sentinel://:secreto@a",
        "redis+cluster://:secreto@a/1",
        "redis://:secreto@[a",
        "redis://:secreto@a/main",
        "redis://:secreto@a?socket_timeout=1",
        "redis://a?password=secreto",
        "redis://:secreto@a?ssl_ca_certs=/etc/ca.pem",
        "rediss://:secreto@a?ssl_ca_cert=/etc/ca.pem",
        "rediss://:secreto@a?ssl_check_hostname=perhaps",
        "rediss://:secreto@a?ssl_cert_reqs=optional",
        "redis+cluster://a?sentinel_password=secreto",
        "redis://:in#secreto@a",
        "redis+queue://a",
    ],
)
def test_a_url_that_means_nothing_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="WELLNET_BROKER_URL") as caught:
        parse(url)
    assert "secreto" not in caught.value.detail
    assert caught.value.__cause__ is None
