"""deploy/compose: two nodes, what they share, and the proxy before them."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from tests.deploy.proxies import DEPLOY
from wellnet_sse.settings import PREFIX, AuthMode, Settings

FOLDER = DEPLOY / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
NODES = ["node-1", "node-2"]
EXAMPLE = (FOLDER / "example.env").read_text()


def variables(text: str) -> dict[str, str]:
    """What a file of variables sets."""
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


GIVEN = variables(EXAMPLE)
WITH_TOKENS = variables(re.sub(r"^# (?=[A-Z_]+=)", "", EXAMPLE, flags=re.MULTILINE))
"""The same where what is commented out is set, too."""


def environment(service: str, given: Mapping[str, str] = GIVEN) -> dict[str, str]:
    """What a service is given, with these variables; a name alone takes the value from them, if any."""

    def value_of(match: re.Match[str]) -> str:
        name, _, default = match[1].partition(":-")
        name, is_required, _ = name.partition(":?")
        assert name in given or default, f"example.env lacks {name}"
        assert not is_required or name in given
        return given.get(name, default)

    return {
        name: given[name] if value is None else re.sub(r"\$\{([^}]+)\}", value_of, value)
        for name, value in SERVICES[service]["environment"].items()
        if value is not None or name in given
    }


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


@pytest.mark.parametrize("node", NODES)
def test_nodes_have_all_that_they_share(node: str) -> None:
    settings = Settings.from_environment({"WELLNET_BIND": "0.0.0.0:4440"} | environment(node))
    broker = re.fullmatch(r"redis://([\w-]+):6379/0", settings.broker_url.get_secret_value())
    database = re.fullmatch(
        rf"postgresql://wellnet:{GIVEN['POSTGRES_PASSWORD']}@([\w-]+)/wellnet",
        settings.database_url.get_secret_value(),
    )
    assert broker
    assert database
    assert settings.origins == ("http://localhost:8080",)
    for shared in (broker[1], database[1]):
        assert SERVICES[node]["depends_on"][shared] == {"condition": "service_healthy"}
        assert set(SERVICES[shared]["networks"]) <= set(SERVICES[node]["networks"])
    assert seconds(SERVICES[node]["stop_grace_period"]) >= settings.grace_seconds + 3


def test_nodes_can_be_told_to_want_tokens() -> None:
    given = environment("node-1", WITH_TOKENS)
    settings = Settings.from_environment({"WELLNET_BIND": "0.0.0.0:4440"} | given)
    assert settings.auth is AuthMode.TOKEN
    assert settings.token_key is not None
    assert settings.operators == (7, 12)


def test_nodes_are_alike() -> None:
    assert SERVICES["node-1"] == SERVICES["node-2"]
    assert {name for name in SERVICES if name.startswith("node")} == set(NODES)


def test_every_variable_of_the_example_is_used() -> None:
    used = set(re.findall(r"\$\{(\w+)", (FOLDER / "compose.yaml").read_text()))
    used |= {name for name, value in SERVICES["node-1"]["environment"].items() if value is None}
    assert WITH_TOKENS.keys() <= used
    assert {name for name in used if name.startswith(PREFIX)} <= {
        f"{PREFIX}{name.upper()}" for name in Settings.model_fields
    }


def test_valkey_keeps_what_it_answered_for() -> None:
    words = shlex.split(SERVICES["valkey"]["command"])
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "always"
    assert options["--maxmemory-policy"] == "noeviction"
    assert SERVICES["valkey"]["volumes"] == ["valkey:/data"]


def test_only_the_proxy_is_reached_from_outside_and_only_from_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"proxy": ["127.0.0.1:8080:8080"]}
    assert COMPOSE["networks"]["data"]["internal"]
    for kept in ("valkey", "postgres"):
        assert SERVICES[kept]["networks"] == ["data"]


def test_the_proxy_knows_all_nodes_and_waits_for_them() -> None:
    named = re.findall(r"^\s+server ([\w-]+):4440 ", (FOLDER / "nginx.conf").read_text(), re.MULTILINE)
    assert named == NODES
    assert SERVICES["proxy"]["depends_on"] == {node: {"condition": "service_healthy"} for node in NODES}
    assert SERVICES["proxy"]["volumes"] == ["./nginx.conf:/etc/nginx/nginx.conf:ro"]


def test_a_proxy_that_is_told_to_stop_outlives_the_requests_that_a_draining_node_still_answers() -> None:
    told = re.search(r"^worker_shutdown_timeout (\w+);", (FOLDER / "nginx.conf").read_text(), re.MULTILINE)
    assert told
    grace_seconds = Settings.from_environment({}).grace_seconds
    assert grace_seconds + 3 <= seconds(told[1]) < seconds(SERVICES["proxy"]["stop_grace_period"])


def test_what_both_proxies_say_is_the_same() -> None:
    """What clients are answered while nobody serves."""
    for place in ("@away_stream", "@away"):
        blocks = [
            re.search(rf"location {place} {{(.*?)^ *}}$", text, re.MULTILINE | re.DOTALL)
            for text in ((DEPLOY / "nginx.conf").read_text(), (FOLDER / "nginx.conf").read_text())
        ]
        one, other = (block and block[1].split() for block in blocks)
        assert one
        assert one == other
