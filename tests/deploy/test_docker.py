"""deploy/Dockerfile, as far as it can be seen without building it: who runs, what is in it, its health."""

import json
import re
import shlex
import subprocess
import sys
from fnmatch import fnmatch
from typing import NamedTuple

import pytest

from tests.deploy.proxies import DEPLOY
from tests.harness import ServerProcess, free_port
from wellnet_sse.settings import PREFIX, Settings

REPOSITORY = DEPLOY.parent


class Instruction(NamedTuple):
    """A line of the Dockerfile, joined with those that it goes on in."""

    stage: str
    """The name of its stage; the last has none."""

    name: str
    value: str


def instructions() -> list[Instruction]:
    """Return all of them."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    found, stage = [], ""
    for line in re.sub(r" *\\\n *", " ", "\n".join(lines)).splitlines():
        if line:
            name, value = line.split(maxsplit=1)
            if name == "FROM":
                stage = value.partition(" AS ")[2]
            found.append(Instruction(stage, name, value))
    return found


def values(name: str, *, stage: str = "") -> list[str]:
    """Return what is said to one instruction, in the last stage or in another."""
    return [it.value for it in instructions() if (it.name, it.stage) == (name, stage)]


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(values("ENV")[0]))


def test_only_the_finished_environment_reaches_the_last_stage() -> None:
    assert values("COPY") == ["--from=build /opt/wellnet-sse /opt/wellnet-sse"]
    (made,) = values("RUN")
    assert made.startswith("python -m pip uninstall")
    assert "install " not in made.replace("uninstall ", "")


def test_somebody_without_rights_runs_it() -> None:
    (made,) = values("RUN")
    (user,) = values("USER")
    assert int(user) > 0
    assert f"--uid {user}" in made
    order = [it.name for it in instructions()]
    assert order.index("USER") < order.index("CMD")


def test_its_settings_are_settings_and_do_not_say_how_users_are_known() -> None:
    given = {name: value for name, value in environment().items() if name.startswith(PREFIX)}
    with pytest.raises(Exception, match="WELLNET_AUTH must be set"):
        Settings.from_environment(given)
    settings = Settings.from_environment(given | {"WELLNET_AUTH": "documented"})
    (volume,) = values("VOLUME")
    assert settings.database_url.get_secret_value() == f"sqlite+aiosqlite:///{volume}/wellnet.db"
    assert values("WORKDIR") == [volume]
    assert settings.bind == f"0.0.0.0:{values('EXPOSE')[0]}"


def test_what_is_built_of_is_there_and_not_ignored() -> None:
    *sources, _ = " ".join(values("COPY", stage="build")).replace("./", "").split()
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    patterns = [line for line in ignored if line and not line.startswith("#")]
    assert patterns[0] == "*"
    for source in sources:
        assert (REPOSITORY / source).exists()
        assert f"!{source}" in patterns
    for secret in (".git", ".venv", "wellnet.db", "deploy", "tests"):
        assert not any(fnmatch(secret, pattern[1:]) for pattern in patterns if pattern.startswith("!"))


def test_the_process_that_gets_the_signals_is_the_server() -> None:
    assert [json.loads(value) for value in values("CMD")] == [["wellnet-sse", "serve"]]


async def test_its_health_is_that_of_the_server(server: ServerProcess) -> None:
    (check,) = values("HEALTHCHECK")
    python, *arguments = json.loads(check.partition("CMD ")[2])
    assert python == "python"

    def healthy(port: int) -> bool:
        command = [sys.executable, *(argument.replace(":4440", f":{port}") for argument in arguments)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603

    assert healthy(server.port)
    assert not healthy(free_port())
