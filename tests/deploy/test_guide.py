"""docs/deployment.md and deploy/ speak of what there is."""

import re
from pathlib import Path

import pytest

from tests.deploy.proxies import DEPLOY
from wellnet_sse.settings import PREFIX, Settings

GUIDE = DEPLOY.parent / "docs" / "deployment.md"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
SETTINGS = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("path", [GUIDE, *FILES], ids=lambda path: path.name)
def test_settings_that_are_named_exist(path: Path) -> None:
    assert set(re.findall(rf"{PREFIX}[A-Z_]+[A-Z]", path.read_text())) <= SETTINGS


def test_files_that_commands_name_exist() -> None:
    named = set(re.findall(r"\bdeploy/[\w./-]+", GUIDE.read_text()))
    assert named
    missing = {name for name in named if not (DEPLOY.parent / name).exists()}
    assert missing == {"deploy/compose/.env"}  # which is made of the example


def test_every_file_is_told_of() -> None:
    assert {path.name for path in DEPLOY.iterdir()} <= set(re.findall(r"deploy/([\w.-]+)", GUIDE.read_text()))


def test_container_is_run_as_the_dockerfile_says() -> None:
    told = re.findall(r"^(?:# +)?docker build (.*)$", GUIDE.read_text(), re.MULTILINE)
    written = re.findall(r"^# +docker build (.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert told == written
