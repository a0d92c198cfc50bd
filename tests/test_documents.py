"""What README.md, ARCHITECTURE.md and docs/ say of settings, codes and files is so."""

import json
import re
from pathlib import Path

import pytest

from wellnet_sse.errors import ConfigurationError, WellnetError
from wellnet_sse.settings import PREFIX, Settings

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text()
PROTOCOL = (REPOSITORY / "docs" / "protocol.md").read_text()
DOCUMENTS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in (*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"))
)
SETTINGS_MARK = "<!-- settings: "


def settings_table() -> str:
    """Return the table of settings, out of their definitions."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default
        default = default.get_secret_value() if hasattr(default, "get_secret_value") else default
        shown = "" if default in (None, (), "") else f"`{default}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


def test_settings_are_all_there_as_they_are() -> None:
    _, _, rest = README.partition(SETTINGS_MARK)
    table = rest.partition("-->")[2].strip().partition("\n\n")[0]
    assert table == settings_table(), f"put this under the mark:\n{settings_table()}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_what_is_there(name: str) -> None:
    document = REPOSITORY / name
    for link in re.findall(r"\]\(([^)#\s]+)", document.read_text()):
        if "://" not in link:
            assert (document.parent / link).exists(), link


def test_every_code_is_told_with_its_status() -> None:
    def kinds(error: type[WellnetError]) -> set[type[WellnetError]]:
        return {error}.union(*(kinds(kind) for kind in error.__subclasses__()))

    told = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PROTOCOL, re.MULTILINE))
    public = {kind for kind in kinds(WellnetError) if kind.__module__ == WellnetError.__module__}
    raised = {(str(kind.status), kind.code) for kind in public - {ConfigurationError}}
    assert told == raised | {("405", "method_not_allowed"), ("408", "request_timeout")}


def test_examples_are_json() -> None:
    for text in re.findall(r"^```json\n((?:.*\n)*?)```$", PROTOCOL, re.MULTILINE):
        for one in [text] if text.startswith("{\n") else text.splitlines():
            json.loads(one)


def test_every_file_is_said_what_it_is_for() -> None:
    package = REPOSITORY / "wellnet_sse"
    told = set(re.findall(r"`([\w/.]+)`", (REPOSITORY / "ARCHITECTURE.md").read_text()))
    files = {path.name for path in package.rglob("*.py") if "migrations" not in path.parts}
    assert files - {"__init__.py"} <= told
