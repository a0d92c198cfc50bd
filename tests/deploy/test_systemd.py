"""deploy/wellnet-sse.service and its environment: systemd finds no fault, and the server knows every word."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.proxies import DEPLOY
from wellnet_sse.settings import PREFIX, Settings

pytestmark = pytest.mark.system

UNIT = DEPLOY / "wellnet-sse.service"
ENVIRONMENT = DEPLOY / "wellnet-sse.env.example"
READERS_AND_CONNECTIONS_SECONDS = 2
"""What drain and the runner give them after the grace."""


def unit() -> configparser.ConfigParser:
    """Return the unit, parsed; of what is repeated in it (SystemCallFilter) the last."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # names keep their case
    parser.read(UNIT)
    return parser


def assignments(text: str) -> dict[str, str]:
    """Return the variables of an environment file."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit with this environment's command in the place of the installed one, which systemd looks for."""
    command = unit()["Service"]["ExecStart"].split()[0]
    copy = tmp_path / UNIT.name
    here = Path(sys.executable).with_name(Path(command).name)
    copy.write_text(UNIT.read_text().replace(f"ExecStart={command}", f"ExecStart={here}"))
    return copy


def analyzed(*arguments: str | Path) -> tuple[int, str]:
    """Return exit code and complaints of systemd-analyze."""
    command = ["systemd-analyze", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return result.returncode, result.stderr


def test_unit_runs_a_command_that_exists() -> None:
    command, *arguments = unit()["Service"]["ExecStart"].split()
    installed = Path(sys.executable).with_name(Path(command).name)
    help_text = subprocess.run(  # noqa: S603 - our own command
        [installed, *arguments, "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert help_text.startswith("Usage: wellnet-sse serve")


def test_unit_sets_only_what_is_a_setting() -> None:
    service = unit()["Service"]
    given = assignments(service["Environment"])
    settings = Settings.from_environment(given | assignments(ENVIRONMENT.read_text()))
    assert {name.removeprefix(PREFIX).lower() for name in given} <= Settings.model_fields.keys()
    database = settings.database_url.get_secret_value().removeprefix("sqlite+aiosqlite:///")
    assert Path(database).parent == Path("/var/lib", service["StateDirectory"])


def test_unit_waits_for_the_server_to_begin_and_to_end() -> None:
    service = unit()["Service"]
    assert (service["Type"], service["KillMode"], service["Restart"]) == ("notify", "mixed", "always")
    assert (
        int(service["TimeoutStopSec"])
        > Settings.from_environment({}).grace_seconds + READERS_AND_CONNECTIONS_SECONDS
    )
    assert unit()["Unit"]["StartLimitIntervalSec"] == "0"  # or else always is only five times


def test_example_of_the_environment_is_also_right_where_it_is_commented_out() -> None:
    lines = [line.removeprefix("# ") for line in ENVIRONMENT.read_text().splitlines()]
    given = assignments("\n".join(line for line in lines if line.startswith(PREFIX)))
    assert Settings.from_environment(given).database_url.get_secret_value().startswith("postgresql://")


def test_systemd_finds_no_fault_in_the_unit(installed: Path) -> None:
    assert analyzed("verify", installed) == (0, "")


def test_systemd_finds_no_fault_in_what_is_commented_out(installed: Path) -> None:
    installed.write_text(re.sub(r"^#(?=[A-Z]\w+=)", "", installed.read_text(), flags=re.MULTILINE))
    assert "\nLoadCredential=" in installed.read_text()
    assert analyzed("verify", installed) == (0, "")


def test_systemd_finds_it_well_confined(installed: Path) -> None:
    """On its scale of 0 to 100: without any of this it has 96, and what is left is the network."""
    assert analyzed("security", "--offline=true", "--threshold=20", installed) == (0, "")
