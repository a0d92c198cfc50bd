"""Settings from the environment: every mistake is named before anything listens."""

import pytest

from wellnet_sse.errors import ConfigurationError
from wellnet_sse.settings import AuthMode, LogFormat, Settings, is_loopback, split_bind


def read(**variables: str) -> Settings:
    return Settings.from_environment({f"WELLNET_{name}": value for name, value in variables.items()})


def complaint(**variables: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(**variables)
    return caught.value.detail


def test_without_any_variable_it_is_a_loopback_server_as_documented() -> None:
    settings = read()
    assert settings.bind == "127.0.0.1:4440"
    assert settings.auth is AuthMode.DOCUMENTED
    assert (settings.heartbeat_seconds, settings.streams_per_user) == (15, 32)
    assert (settings.outbox_events, settings.outbox_bytes) == (256, 262_144)
    assert (settings.slow_seconds, settings.idle_seconds, settings.silence_seconds) == (30, 60, 900)
    assert (settings.history_seconds, settings.history_events) == (86_400, 10_000)
    assert (settings.messages_per_second, settings.messages_burst) == (50, 200)
    assert (settings.actions_per_second, settings.actions_burst) == (1000, 5000)


def test_variables_of_others_are_none_of_its_business() -> None:
    assert Settings.from_environment({"PATH": "/bin", "WELLNETX": "1", "bind": "x"}) == read()


def test_variables_are_read_by_their_names() -> None:
    settings = read(
        HEARTBEAT_SECONDS="0.5",
        ORIGINS="https://Wellnet-RD.com:444, http://localhost:3000",
        OPERATORS="7, 12",
        LOG_FORMAT="json",
    )
    assert settings.operators == (7, 12)
    assert settings.heartbeat_seconds == 0.5
    assert settings.origins == ("https://wellnet-rd.com:444", "http://localhost:3000")
    assert settings.log_format is LogFormat.JSON


def test_the_command_line_wins() -> None:
    environment = {"WELLNET_BIND": "127.0.0.1:1", "WELLNET_RETRY_MS": "500"}
    settings = Settings.from_environment(environment, bind="127.0.0.1:2")
    assert (settings.bind, settings.retry_ms) == ("127.0.0.1:2", 500)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BIND", "4440"), ("BIND", "host"), ("BIND", "127.0.0.1:"), ("BIND", "127.0.0.1:65536"),
        ("BIND", "127.0.0.1:-1"), ("BIND", "127.0.0.1:٣"), ("BIND", "::1:4440"), ("BIND", ""),
        ("DEMO_ROUTER_BIND", "nowhere"),
        ("TLS_CERTIFICATE", ""), ("TLS_KEY", ""),
        ("AUTH", "none"), ("AUTH", ""), ("AUTH", "token"),
        ("OPERATORS", "ana"), ("OPERATORS", "7,0"), ("OPERATORS", "-7"), ("OPERATORS", str(2**63)),
        ("ORIGINS", "wellnet-rd.com"), ("ORIGINS", "https://wellnet-rd.com/"), ("ORIGINS", "*"),
        ("ORIGINS", "null"), ("ORIGINS", "ftp://wellnet-rd.com"), ("ORIGINS", "https://"),
        ("ORIGINS", "https://wellnet-rd.com?x"), ("ORIGINS", "https://wellnet-rd.com#x"),
        ("ORIGINS", "https://user@wellnet-rd.com"),
        ("HEARTBEAT_SECONDS", "0"), ("HEARTBEAT_SECONDS", "-1"), ("HEARTBEAT_SECONDS", "nan"),
        ("HEARTBEAT_SECONDS", "inf"), ("HEARTBEAT_SECONDS", "quince"), ("HEARTBEAT_SECONDS", ""),
        ("RETRY_MS", "99"), ("RETRY_MS", "600001"), ("RETRY_MS", "2000.5"),
        ("STREAMS_PER_USER", "0"), ("STREAMS_PER_USER", "1.5"),
        ("MESSAGES_PER_SECOND", "0"), ("MESSAGES_BURST", "0"),
        ("ACTIONS_PER_SECOND", "-1"), ("ACTIONS_PER_SECOND", "0.0009"), ("ACTIONS_PER_SECOND", "nan"),
        ("ACTIONS_PER_SECOND", "1e7"), ("ACTIONS_BURST", "0"), ("ACTIONS_BURST", "1e7"),
        ("OUTBOX_EVENTS", "0"), ("OUTBOX_BYTES", "16383"), ("SLOW_SECONDS", "0"),
        ("HISTORY_SECONDS", "0"), ("HISTORY_EVENTS", "0"), ("IDLE_SECONDS", "0"), ("SILENCE_SECONDS", "0"),
        ("ANSWERS_SECONDS", "0"), ("GRACE_SECONDS", "-1"), ("GRACE_SECONDS", "inf"), ("GRACE_SECONDS", "1e9"),
        ("ROUTER_TIMEOUT_SECONDS", "0"), ("ROUTER_ATTEMPTS", "0"), ("ROUTER_ATTEMPTS", "11"),
        ("DEMO_PACE_SECONDS", "-1"), ("DEMO_PACE_SECONDS", "61"), ("DEMO_PACE_SECONDS", "nan"),
        ("LOG_FORMAT", "xml"), ("LOG_LEVEL", "TRACE"), ("LOG_LEVEL", "INFO\nDEBUG"),
    ],
)  # fmt: skip
def test_a_bad_value_is_told_with_its_variable(name: str, value: str) -> None:
    detail = complaint(**{name: value})
    assert detail.startswith(f"WELLNET_{name}: ")
    assert "\n" not in detail


def test_all_mistakes_are_told_at_once() -> None:
    detail = complaint(RETRY_MS="x", HEARTBEAT_SECONDS="x", NONSENSE="x")
    assert all(f"WELLNET_{name}" in detail for name in ("RETRY_MS", "HEARTBEAT_SECONDS", "NONSENSE"))


def test_an_unknown_variable_is_an_error_that_knows_better() -> None:
    assert complaint(HEARTBEAT_SECOND="15") == (
        "WELLNET_HEARTBEAT_SECOND is not a setting; did you mean WELLNET_HEARTBEAT_SECONDS?"
    )
    assert complaint(QQQ="15") == "WELLNET_QQQ is not a setting"


@pytest.mark.parametrize(
    "name", ["BIND", "AUTH", "ORIGINS", "HEARTBEAT_SECONDS", "RETRY_MS", "LOG_LEVEL", "HUNTER"]
)
def test_a_bad_value_is_not_repeated(name: str) -> None:
    """It may be a password that landed in the wrong place."""
    assert "hunter2" not in complaint(**{name: "s3cret-hunter2"})


def test_secrets_are_not_shown() -> None:
    settings = read(
        DATABASE_URL="postgresql+asyncpg://u:hunter2@h/d",
        BROKER_URL="x://hunter2",
        ROUTER_PASSWORD="hunter2",  # noqa: S106 - of nothing
    )
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert settings.router_password.get_secret_value() == "hunter2"


# TLS


def test_of_a_certificate_and_its_key_both_are_needed() -> None:
    both = "WELLNET_TLS_CERTIFICATE and WELLNET_TLS_KEY are both needed, or neither"
    assert complaint(TLS_CERTIFICATE="/tls.crt") == f"WELLNET_TLS_CERTIFICATE: {both}"
    assert complaint(TLS_KEY="/tls.key") == f"WELLNET_TLS_KEY: {both}"
    settings = read(TLS_CERTIFICATE="/tls.crt", TLS_KEY="/tls.key")
    assert (str(settings.tls_certificate), str(settings.tls_key)) == ("/tls.crt", "/tls.key")


def test_under_another_server_a_certificate_is_refused_lest_it_serve_in_plain() -> None:
    given = {"AUTH": "documented", "TLS_CERTIFICATE": "/tls.crt", "TLS_KEY": "/tls.key"}
    environment = {f"WELLNET_{name}": value for name, value in given.items()}
    with pytest.raises(ConfigurationError, match="only `wellnet-sse serve` reads it"):
        Settings.from_environment(environment, bind=None)


# How users are known


@pytest.mark.parametrize(
    "bind", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "LOCALHOST:1", "a.localhost:1"]
)
def test_on_a_loopback_bind_the_number_is_trusted(bind: str) -> None:
    assert read(BIND=bind).auth is AuthMode.DOCUMENTED


@pytest.mark.parametrize(
    "bind",
    [
        "0.0.0.0:1",
        ":1",
        "[::]:1",
        "192.168.1.5:1",
        "wellnet-rd.com:1",
        "localhost.evil.com:1",
        "127.0.0.1.evil.com:1",
    ],
)
def test_on_any_other_bind_it_must_be_said(bind: str) -> None:
    assert complaint(BIND=bind).startswith("WELLNET_AUTH must be set")
    assert read(BIND=bind, AUTH="documented").auth is AuthMode.DOCUMENTED


def test_under_a_server_that_does_not_tell_its_bind_it_must_be_said() -> None:
    with pytest.raises(ConfigurationError, match="WELLNET_AUTH must be set"):
        Settings.from_environment({}, bind=None)
    assert Settings.from_environment({"WELLNET_AUTH": "documented"}, bind=None).auth is AuthMode.DOCUMENTED


def test_binds_are_split_at_their_port() -> None:
    assert split_bind("127.0.0.1:0") == ("127.0.0.1", 0)
    assert split_bind("[::1]:4440") == ("::1", 4440)
    assert split_bind(":4440") == ("", 4440)


@pytest.mark.parametrize("host", ["", "127.1", "2130706433", "localhost.", "127.0.0.1 "])
def test_doubtful_spellings_are_no_loopback(host: str) -> None:
    assert not is_loopback(host)
