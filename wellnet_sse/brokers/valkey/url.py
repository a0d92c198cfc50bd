"""`WELLNET_BROKER_URL`: which store is meant, and how it is reached."""

import ssl
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from wellnet_sse.brokers.valkey import tls
from wellnet_sse.errors import ConfigurationError

REDIS_PORT = 6379
SENTINEL_PORT = 26379
SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")


class Kind(StrEnum):
    """How the store is made up."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a server is to take us for, where it asks."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Address:
    """What a URL says."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    service: str = ""
    """The name under which Sentinels know the store."""
    database: int = 0
    """Its number."""
    account: Account = Account()
    sentinel_account: Account = Account()
    client_name: str | None = None
    """What the store lists our connections as."""
    tls: ssl.SSLContext | None = None
    """How to speak TLS, where it is spoken."""


def parse(url: str) -> Address:
    """What `url` says, such as `redis://:password@host/0`, or one of the other `SCHEMES`.

    Sentinels and nodes of a Cluster are listed with commas: `redis+sentinel://one,two:26380/service`. Queries
    are redis-py's, as in `rediss://host?ssl_ca_certs=/etc/ca.pem`; account and password are the store's, and
    `sentinel_username` and `sentinel_password` those of the Sentinels. Raises ConfigurationError, which does
    not repeat the URL: there may be a password in it.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _mistake("it cannot be understood") from None
    if parts.scheme not in SCHEMES:
        raise _mistake(f"the schemes of Valkey are {', '.join(SCHEMES)}")
    plain, _, kind_name = parts.scheme.partition("+")
    kind = Kind(kind_name or "single")
    account, _, listed = parts.netloc.rpartition("@")
    hosts = _hosts(listed, SENTINEL_PORT if kind is Kind.SENTINEL else REDIS_PORT)
    if kind is Kind.SINGLE and len(hosts) != 1:
        raise _mistake("several hosts need redis+cluster or redis+sentinel")
    service, path = "", parts.path.strip("/")
    if kind is Kind.SENTINEL:
        service, _, path = path.partition("/")
        if not service:
            raise _mistake("redis+sentinel://host/service needs the service")
    is_secure = plain == "rediss"
    options = _options(parts, kind, is_secure=is_secure)
    return Address(
        kind,
        hosts,
        service,
        _database(path, kind),
        _account(account),
        Account(options.pop("sentinel_username", None), options.pop("sentinel_password", None)),
        options.pop("client_name", None),
        tls.client_context(options) if is_secure else None,
    )


def _options(parts: SplitResult, kind: Kind, *, is_secure: bool) -> dict[str, str]:
    known = ["client_name", *(tls.OPTIONS if is_secure else ())]
    if kind is Kind.SENTINEL:
        known += ["sentinel_username", "sentinel_password"]
    given = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(given)
    if parts.fragment or len(options) < len(given) or not options.keys() <= set(known):
        # Not repeated: what is cut off from a password that is not quoted lands here.
        raise _mistake(f"after `?` a {parts.scheme} URL may say, once: {', '.join(known)}")
    return options


def _account(text: str) -> Account:
    username, _, password = text.partition(":")
    return Account(unquote(username) or None, unquote(password) or None)


def _database(path: str, kind: Kind) -> int:
    if not path:
        return 0
    if not (path.isascii() and path.isdigit()):
        raise _mistake("the path of a database is its number")
    if kind is Kind.CLUSTER and int(path):
        raise _mistake("a Cluster has no database but 0")
    return int(path)


def _hosts(listed: str, port: int) -> tuple[tuple[str, int], ...]:
    hosts = []
    for one in listed.split(","):
        try:
            parts = urlsplit(f"//{one}")
            host, given = parts.hostname, parts.port
        except ValueError:
            host = given = None
        if not host:
            raise _mistake("a host is missing, or its port is no number")
        hosts.append((host, given or port))
    return tuple(hosts)


def _mistake(reason: str) -> ConfigurationError:
    return ConfigurationError(f"WELLNET_BROKER_URL: {reason}")
