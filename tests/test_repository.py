"""Habits of this repository that a machine can check."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import wellnet_sse

REPOSITORY = Path(__file__).parent.parent

LIMIT_LINES = 300

# A file that may be longer, and why.
LONG_FILES: dict[str, str] = {
    "tests/e2e/test_cli.py": "the commands, from their start to their end",
    "tests/e2e/test_documented_flow.py": "the source document's flows, endpoint by endpoint",
    "tests/e2e/test_joining.py": "protocol §3, sentence by sentence",
    "tests/e2e/test_refusals.py": "the table of refusals, row by row",
    "tests/e2e/test_work.py": "protocol §6, sentence by sentence",
    "wellnet_sse/progress/operation.py": "one state machine, whose rules are read together",
    "wellnet_sse/progress/subscription.py": "one reader's life, from its joining to its end",
}

# What `wellnet_sse` hands out: a name added here is a promise.
PUBLIC_NAMES = {
    "Broker",
    "Cursor",
    "Ending",
    "Event",
    "EventSourceResponse",
    "Outcome",
    "Progress",
    "QuartProgress",
    "Status",
    "Subscription",
    "UserId",
    "WellnetError",
}

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
SOURCES = {".py", ".mjs", ".js", ".sh", ".css", ".html", ".toml"}


MADE = {"__pycache__", "build", "dist", "node_modules"}


def repository_files() -> Iterator[Path]:
    """Yield what people wrote: nothing installed, made or hidden."""
    for folder, folders, names in os.walk(REPOSITORY):
        folders[:] = sorted(name for name in folders if name not in MADE and not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names))


def relative(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_python_files_stay_readable_in_one_sitting() -> None:
    lengths = {relative(path): len(lines_of(path)) for path in repository_files() if path.suffix == ".py"}
    too_long = {name: lines for name, lines in lengths.items() if lines > LIMIT_LINES}
    assert too_long.keys() == LONG_FILES.keys(), f"over {LIMIT_LINES} lines: {too_long}"
    assert all(LONG_FILES.values()), "each exception needs its reason"


def test_nothing_is_left_to_do_in_the_sources() -> None:
    here = Path(__file__)
    left = [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in repository_files()
        if path.suffix in SOURCES and path != here
        for number, line in enumerate(lines_of(path), 1)
        if UNFINISHED.search(line)
    ]
    assert not left, "\n".join(left)


def test_package_says_that_it_is_typed() -> None:
    assert (Path(next(iter(wellnet_sse.__path__))) / "py.typed").is_file()


def test_public_names_are_the_promised_ones() -> None:
    public: list[str] = getattr(wellnet_sse, "__all__", [])
    assert set(public) == PUBLIC_NAMES
    assert [name for name in public if not hasattr(wellnet_sse, name)] == []


@pytest.mark.parametrize("name", ["clients", "client_js", "pages"])
def test_lock_file_names_no_registry(name: str) -> None:
    """Which registry serves the packages is each machine's own business."""
    assert "://" not in (REPOSITORY / "tests" / name / "package-lock.json").read_text()


@pytest.mark.parametrize(
    "name", [".ci/run", "tests/clients/install", "tests/deploy/install", "tests/pages/install"]
)
def test_scripts_can_be_run(name: str) -> None:
    assert (REPOSITORY / name).stat().st_mode & 0o111
