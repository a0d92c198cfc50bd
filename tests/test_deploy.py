"""What is in deploy/ starts the server, and says nothing that the server does not know."""

import configparser
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypercorn.config import Config

from tests.harness import ServerProcess, SseReader
from wellnet_sse.settings import PREFIX, Settings

DEPLOY = Path(__file__).parent.parent / "deploy"
HYPERCORN = DEPLOY / "hypercorn.toml"
UNIT = DEPLOY / "wellnet-sse.service"
ENVIRONMENT = DEPLOY / "wellnet-sse.env.example"


def unit() -> configparser.ConfigParser:
    """Return the unit, parsed; what is repeated in it would be an error."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # names keep their case
    parser.read(UNIT)
    return parser


def assignments(text: str) -> dict[str, str]:
    """Return the variables of an environment file."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_hypercorn_knows_all_that_is_configured() -> None:
    known = set(dir(Config()))
    assert tomllib.loads(HYPERCORN.read_text()).keys() <= known


async def test_hypercorn_serves_with_its_configuration(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hypercorn", "--config", str(HYPERCORN), "wellnet_sse.asgi:app"]
    settings = {"WELLNET_AUTH": "documented"}
    async with (
        ServerProcess(tmp_path, command=command, settings=settings) as server,
        server.http(user=7) as client,
        SseReader(f"{server.url}/sse/operations/one?userId=7") as stream,
    ):
        assert (await stream.opened()).status == 200
        await stream.until_live()
        update = {"status": "completed", "message": "Copiado"}
        published = await client.post("/api/operaciones/one/pasos/copy", json=update)
        assert published.status_code == 201
        stopped = await client.post("/api/operaciones/one/detener", json={})
        assert stopped.json()["outcome"] == "completed"
        assert [event.event for event in await stream.rest()] == ["message", "end"]
        assert "server" not in published.headers
        assert await server.terminate() == 0
    assert "Traceback" not in server.log


async def test_hypercorn_does_not_start_where_nobody_said_how_users_are_known(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hypercorn", "--config", str(HYPERCORN), "wellnet_sse.asgi:app"]
    server = ServerProcess(tmp_path, command=command)
    await server.start(ready=False)
    assert await server.wait() != 0
    assert "WELLNET_AUTH must be set" in server.log


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
    assert int(service["TimeoutStopSec"]) > settings.grace_seconds


def test_example_of_the_environment_is_also_right_where_it_is_commented_out() -> None:
    lines = [line.removeprefix("# ") for line in ENVIRONMENT.read_text().splitlines()]
    given = assignments("\n".join(line for line in lines if line.startswith(PREFIX)))
    assert Settings.from_environment(given).database_url.get_secret_value().startswith("postgresql://")


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="only systemd can say; the rest is parsed above"
)
def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    """With this environment's command in the place of the installed one, which systemd looks for."""
    command = unit()["Service"]["ExecStart"].split()[0]
    installed = Path(sys.executable).with_name(Path(command).name)
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(f"ExecStart={command}", f"ExecStart={installed}"))
    verified = subprocess.run(  # noqa: S603
        ["systemd-analyze", "verify", str(copy)],  # noqa: S607 - wherever it is installed
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, "")
