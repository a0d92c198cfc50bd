"""`WELLNET_BROKER_URL`: which store is meant, and how it is reached."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio.connection import SSLConnection, parse_url

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
class Address:
    """What a URL says. `options` are those of redis-py's connections, the password among them: not shown."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    service: str = ""
    """The name under which Sentinels know the store."""
    secure: bool = False
    options: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def database(self) -> int:
        """The number of the database."""
        return int(self.options.get("db", 0))


def parse(url: str) -> Address:
    """What `url` says, such as `redis://:password@host/0`, or one of the other `SCHEMES`.

    Sentinels and nodes of a Cluster are listed with commas: `redis+sentinel://one,two:26380/service`. Queries
    are redis-py's, as in `rediss://host?ssl_ca_certs=/etc/ca.pem`; account and password are the store's, and
    `sentinel_username` and `sentinel_password` those of the Sentinels. Raises ConfigurationError, which does
    not repeat the URL: there may be a password in it.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ConfigurationError(f"WELLNET_BROKER_URL: the schemes of Valkey are {', '.join(SCHEMES)}")
    plain, _, kind_name = parts.scheme.partition("+")
    kind = Kind(kind_name or "single")
    account, _, listed = parts.netloc.rpartition("@")
    hosts = _hosts(listed, SENTINEL_PORT if kind is Kind.SENTINEL else REDIS_PORT)
    if kind is Kind.SINGLE and len(hosts) != 1:
        raise ConfigurationError("WELLNET_BROKER_URL: several hosts need redis+cluster or redis+sentinel")
    service, path = "", parts.path
    if kind is Kind.SENTINEL:
        service, _, path = parts.path.strip("/").partition("/")
        if not service:
            raise ConfigurationError("WELLNET_BROKER_URL: redis+sentinel://host/service needs the service")
    elif kind is Kind.CLUSTER and path.strip("/") not in {"", "0"}:
        raise ConfigurationError("WELLNET_BROKER_URL: a Cluster has no database but 0")
    # Options and account are read by redis-py itself, from the same URL of a plain store.
    netloc = f"{account}@localhost" if account else "localhost"
    try:
        options: dict[str, Any] = dict(
            parse_url(urlunsplit((plain, netloc, f"/{path.strip('/')}", parts.query, "")))
        )
        secure = options.pop("connection_class", None) is SSLConnection
    except ValueError:
        raise ConfigurationError("WELLNET_BROKER_URL: it cannot be understood") from None
    options.pop("host", None)
    return Address(kind, hosts, service, secure, options)


def _hosts(listed: str, port: int) -> tuple[tuple[str, int], ...]:
    hosts = []
    for one in listed.split(","):
        try:
            parts = urlsplit(f"//{one}")
            host, given = parts.hostname, parts.port
        except ValueError:
            host = given = None
        if not host:
            raise ConfigurationError("WELLNET_BROKER_URL: a host is missing, or its port is no number")
        hosts.append((host, given or port))
    return tuple(hosts)
