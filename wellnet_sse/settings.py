"""Settings, from the environment alone (12-factor): every name begins with `WELLNET_`."""

import difflib
import ipaddress
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from wellnet_sse.errors import ConfigurationError

PREFIX = "WELLNET_"
OF_CLIENTS = frozenset({"WELLNET_TOKEN"})
"""What the commands of terminal/ read, and no setting of a server on the same machine."""
TOKEN_KEYS = ("token_key", "token_key_file", "token_public_key", "token_jwks")
"""Where the key of tokens may come from."""


LEAST_PER_SECOND = 0.001
"""Of actions: whoever is refused is told to wait for what follows from it."""


class AuthMode(StrEnum):
    """How a user is known: trusted by number as the source document says, or by a signed token."""

    DOCUMENTED = "documented"
    TOKEN = "token"  # noqa: S105 - the name of a mode


class LogFormat(StrEnum):
    """How log lines look."""

    CONSOLE = "console"
    JSON = "json"


class SqliteSynchronous(StrEnum):
    """When SQLite waits for the disk."""

    NORMAL = "NORMAL"
    FULL = "FULL"


def _split(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=366 * 86400, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
UserNumber = Annotated[int, Field(ge=1, le=2**63 - 1)]


class Settings(BaseModel):
    """What an operator may set; each field is `WELLNET_` and its name in capitals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bind: str | None = Field("127.0.0.1:4440", description="Address and port to listen on")
    metrics_bind: str | None = Field(
        None,
        description="Another address, for `/metrics`, `/healthz` and `/readyz` alone; of several processes "
        "the second has the next port, and so on",
    )
    tls_certificate: Path | None = Field(
        None, description="File of a certificate and its chain in PEM; with it the server speaks only TLS"
    )
    tls_key: Path | None = Field(None, description="File of its key, unencrypted, in PEM")
    database_url: SecretStr = Field(
        SecretStr("sqlite+aiosqlite:///wellnet.db"),
        description="Business data and stored answers: SQLite, or PostgreSQL as `postgresql+asyncpg://…`",
    )
    broker_url: SecretStr = Field(
        SecretStr("sql://"),
        description="Where history lives: `sql://` (durable, in the database, one process), `memory://`, or "
        "Valkey for any number of processes: `redis://…`, `rediss://…`, `redis+sentinel://…`, `redis+cluster://…`",
    )
    broker_wait_seconds: Annotated[float, Field(ge=0.1, le=60)] = Field(
        3, description="How long a publisher waits for a Valkey that is away before it gets 503"
    )
    sqlite_synchronous: SqliteSynchronous = Field(
        SqliteSynchronous.NORMAL,
        description="SQLite's own: `NORMAL` survives `kill -9`, `FULL` also a power loss",
    )
    auth: AuthMode | None = Field(
        None,
        description="`documented` trusts the number; `token` wants a signed token. The former is the default "
        "on a loopback bind, else one must be said",
    )
    token_key: SecretStr | None = Field(None, description="Key of HS256 tokens, at least 32 bytes")
    token_key_file: Path | None = Field(None, description="The same in a file")
    token_public_key: Path | None = Field(
        None, description="Or file of a public key in PEM: Ed25519 (EdDSA) or RSA (RS256)"
    )
    token_jwks: Path | None = Field(
        None, description="Or file of a JWK Set with such keys, which `kid` tells apart"
    )
    token_audience: str = Field("wellnet-sse", min_length=1, description="What a token's `aud` must name")
    operators: Annotated[tuple[UserNumber, ...], BeforeValidator(_split)] = Field(
        (),
        description="Which users, comma-separated, may with the scope `operate` see what all others do; "
        "default: nobody",
    )
    origins: Annotated[tuple[str, ...], BeforeValidator(_split)] = Field(
        (), description="Pages of which origins may call, comma-separated; default: only our own"
    )
    heartbeat_seconds: Positive = Field(15, description="A comment on a stream after so much silence")
    retry_ms: int = Field(2000, ge=100, le=600_000, description="How long EventSource waits to reconnect")
    streams_per_user: Count = Field(32, description="Open streams and sockets of a user; the next gets 429")
    actions_per_second: Annotated[float, Field(ge=0, le=1_000_000)] = Field(
        1000, description="What a user may ask to be done, lasting rate; the next gets 429. `0`: no limit"
    )
    actions_burst: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        5000, description="What a user may ask to be done, at once"
    )
    messages_per_second: Positive = Field(50, description="WebSocket messages of a client, lasting rate")
    messages_burst: Count = Field(200, description="WebSocket messages of a client, at once")
    outbox_events: Count = Field(256, description="Events that may wait for a reader before conflation")
    outbox_bytes: int = Field(256 * 1024, ge=16 * 1024, description="The same in bytes")
    slow_seconds: Positive = Field(30, description="A reader that takes nothing for so long is closed")
    history_seconds: Positive = Field(86400, description="How long events and ended operations are kept")
    history_events: Count = Field(10_000, description="How many events are kept of each user")
    idle_seconds: Positive = Field(60, description="An operation at rest ends after so much silence")
    silence_seconds: Positive = Field(900, description="A publisher's running step is interrupted after it")
    lease_seconds: Annotated[float, Field(ge=3, le=3600)] = Field(
        30, description="A process not heard of for so long is dead, and its work told as interrupted"
    )
    answers_seconds: Positive = Field(86400, description="How long an answer is kept for a repeated POST")
    grace_seconds: Seconds = Field(10, description="How long running work may go on when the server stops")
    router_username: str = Field("wellnet", description="User of the routers' REST API")
    router_password: SecretStr = Field(SecretStr(""), description="Its password")
    router_timeout_seconds: Positive = Field(5, description="How long a router may take for one answer")
    router_attempts: int = Field(3, ge=1, le=10, description="How often a router is tried in all")
    demo_pace_seconds: Annotated[float, Field(ge=0, le=60)] = Field(
        2, description="How long a step of the demonstration takes, about; 0 for as fast as can be"
    )
    demo_router_bind: str = Field("127.0.0.1:0", description="Where the demonstration's router listens")
    log_format: LogFormat = Field(LogFormat.CONSOLE, description="`console` or `json`")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least level logged")

    @field_validator("bind", "metrics_bind", "demo_router_bind")
    @classmethod
    def _check_bind(cls, bind: str | None) -> str | None:
        if bind is not None:
            split_bind(bind)
        return bind

    @field_validator(
        "tls_certificate", "tls_key", "token_key_file", "token_public_key", "token_jwks", mode="before"
    )
    @classmethod
    def _check_file(cls, path: object) -> object:
        if path == "":  # which would be the working directory
            raise ValueError("must be the path of a file")
        return path

    @field_validator("actions_per_second")
    @classmethod
    def _check_rate(cls, per_second: float) -> float:
        if 0 < per_second < LEAST_PER_SECOND:
            raise ValueError(f"must be 0, or at least {LEAST_PER_SECOND}")
        return per_second

    @field_validator("origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            parts = urlsplit(origin)
            # Spelled as browsers do, or it would never match; not repeated, see `from_environment`.
            plain = not (parts.query or parts.fragment or "@" in parts.netloc) and origin.count("/") == 2
            if parts.scheme not in {"http", "https"} or not parts.netloc or not plain:
                raise ValueError("each must be an origin such as https://wellnet-rd.com:444")
        return tuple(map(_as_browsers_spell_it, origins))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], **overrides: Any) -> Self:
        """Read the settings; `overrides` come from the command line and win.

        Raises ConfigurationError that names every variable which is unknown or bad.
        """
        given = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(PREFIX) and name not in OF_CLIENTS
        }
        problems = [_unknown(name) for name in sorted(given.keys() - cls.model_fields.keys())]
        known = {name: value for name, value in given.items() if name in cls.model_fields} | overrides
        try:
            settings = cls.model_validate(known)
        except ValidationError as error:
            # The bad value is not repeated: it may be a password that landed in the wrong place.
            problems += [
                f"{PREFIX}{str(problem['loc'][0]).upper()}: {problem['msg']}" for problem in error.errors()
            ]
        if problems:
            raise ConfigurationError("; ".join(problems))
        settings.check_tls()
        return settings.with_auth()

    def check_tls(self) -> None:
        """Raise ConfigurationError where TLS is meant and would not be spoken."""
        given = [name for name in ("TLS_CERTIFICATE", "TLS_KEY") if getattr(self, name.lower()) is not None]
        if len(given) == 1:
            raise ConfigurationError(
                f"{PREFIX}{given[0]}: {PREFIX}TLS_CERTIFICATE and {PREFIX}TLS_KEY are both needed, or neither"
            )
        if given and self.bind is None:
            raise ConfigurationError(
                f"{PREFIX}{given[0]}: only `wellnet-sse serve` reads it; another server has its own way"
            )

    def with_auth(self) -> Self:
        """Settle how users are known. Raises ConfigurationError where that must be said and is not."""
        keys = [f"{PREFIX}{name.upper()}" for name in TOKEN_KEYS if getattr(self, name) is not None]
        if self.auth is AuthMode.TOKEN and len(keys) != 1:
            sources = ", ".join(f"{PREFIX}{name.upper()}" for name in TOKEN_KEYS)
            raise ConfigurationError(f"{PREFIX}AUTH: `token` needs exactly one of {sources}")
        if self.auth is not AuthMode.TOKEN and keys:
            raise ConfigurationError(
                f"{keys[0]}: only {PREFIX}AUTH=token reads it, and without that anybody acts as any user"
            )
        if self.auth is None:
            if not self.on_loopback:
                raise ConfigurationError(
                    f"{PREFIX}AUTH must be set on a bind that is not a loopback address: with `documented` "
                    "anybody who reaches this server acts as any user"
                )
            return self.model_copy(update={"auth": AuthMode.DOCUMENTED})
        return self

    @property
    def on_loopback(self) -> bool:
        """Whether the server listens where only this machine can reach it."""
        return self.bind is not None and is_loopback(split_bind(self.bind)[0])


def split_bind(bind: str) -> tuple[str, int]:
    """The host and port of `host:port` or `[v6]:port`; ValueError where it is neither."""
    host, separator, port = bind.rpartition(":")
    if not separator or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:4440")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address is written in brackets: [::1]:4440")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address, without port) is this machine's own loopback."""
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_readable(name: str, path: str | Path) -> None:
    """Raise ConfigurationError, which begins with `name`, where the file cannot be read.

    OpenSSL says the same of a missing file, of one that may not be read, and of either of two.
    """
    try:
        open(path, "rb").close()  # noqa: PTH123 - an empty path is none, not the working directory
    except OSError as error:
        raise ConfigurationError(f"{name}: cannot be read: {error.strerror}") from error


def _as_browsers_spell_it(origin: str) -> str:
    """Lower case, and without the port that goes without saying."""
    scheme = origin.lower().partition(":")[0]
    return origin.lower().removesuffix({"http": ":80", "https": ":443"}[scheme])


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    hint = f"; did you mean {PREFIX}{near[0].upper()}?" if near else ""
    return f"{PREFIX}{name.upper()} is not a setting{hint}"
