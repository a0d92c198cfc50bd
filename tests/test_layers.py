"""Imports go down, never up, never sideways between leaves (ARCHITECTURE.md).

Every import counts, also one inside a function or under TYPE_CHECKING: the order is about who knows whom.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import wellnet_sse

ROOT = "wellnet_sse"
PACKAGE = Path(next(iter(wellnet_sse.__path__)))


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer may import layers of a lower rank; two of one rank are leaves beside each other.

    `only`: if given, the only layers it may import. `outside`: the third-party packages it may import out of
    the `GUARDED` ones. `pure`: no third-party package at all, and no I/O of the standard library.
    """

    rank: int
    only: frozenset[str] | None = None
    outside: frozenset[str] = field(default_factory=frozenset)
    pure: bool = False


def layer(rank: int, *outside: str, only: set[str] | None = None, pure: bool = False) -> Layer:
    return Layer(rank, None if only is None else frozenset(only), frozenset(outside), pure)


# Packages that only some layers may know; all others are free (but not for a pure layer).
GUARDED = {"alembic", "httpx", "hypercorn", "quart", "sqlalchemy"}

LAYERS = {
    "__init__": layer(100),  # hands out the public names
    "__main__": layer(100),
    "cli": layer(95),
    "serve_command": layer(90, "httpx"),
    "token_command": layer(90),
    "asgi": layer(90, "quart"),
    "app": layer(85, "quart"),
    "doctor": layer(88, "httpx"),
    "server": layer(80, "hypercorn"),
    "web": layer(70, "quart"),
    "extension": layer(60, "quart"),
    "terminal": layer(50, "httpx", only={"errors", "progress", "settings"}),
    "transports": layer(40, "quart"),
    "simulator": layer(40, "quart", "hypercorn", "httpx"),
    "provisioning": layer(40, "sqlalchemy", "httpx"),
    "brokers": layer(40, "sqlalchemy"),
    "identity": layer(40, "sqlalchemy"),
    "storage": layer(25, "sqlalchemy", "alembic"),
    "progress": layer(30, only={"errors"}, pure=True),
    "logs": layer(20),
    "metrics": layer(20),
    "strict_json": layer(5, pure=True),
    "settings": layer(10),
    "errors": layer(0, only=set(), pure=True),
}

# What of the standard library reaches outside of the process.
INPUT_OUTPUT = {
    "asyncio.create_subprocess_exec",
    "asyncio.create_subprocess_shell",
    "asyncio.open_connection",
    "asyncio.open_unix_connection",
    "asyncio.start_server",
    "asyncio.start_unix_server",
    "asyncio.streams",
    "asyncio.subprocess",
    "http",
    "io",
    "multiprocessing",
    "pathlib",
    "selectors",
    "shelve",
    "shutil",
    "socket",
    "socketserver",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
    "urllib.request",
}

# Where a lower layer may look at the root: its version.
OF_THE_ROOT = {f"{ROOT}.__version__"}


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and full dotted name of all that `source` imports: `from a import b` is `a.b`."""
    for part in ast.walk(ast.parse(source)):
        if isinstance(part, ast.Import):
            yield from ((part.lineno, alias.name) for alias in part.names)
        elif isinstance(part, ast.ImportFrom):
            start = "." * part.level + (part.module or "")
            yield from ((part.lineno, f"{start}.{alias.name}") for alias in part.names)


def within(name: str, names: set[str]) -> bool:
    """Say whether `name` is one of the dotted names or inside one."""
    parts = name.split(".")
    return any(".".join(parts[:length]) in names for length in range(1, len(parts) + 1))


def objection(importer: str, name: str) -> str | None:
    """Say what is wrong about a layer importing the dotted name, if anything is."""
    if name.startswith("."):
        return "is relative"
    own = LAYERS[importer]
    top, _, rest = name.partition(".")
    if top == ROOT:
        return _objection_inside(importer, own, name, rest)
    if own.pure and top not in sys.stdlib_module_names:
        return f"is third-party, and {importer} is pure"
    if own.pure and within(name, INPUT_OUTPUT):
        return f"does input and output, and {importer} is pure"
    if top in GUARDED - own.outside and importer != "__init__":
        return f"is not for {importer} to know"
    return None


def _objection_inside(importer: str, own: Layer, name: str, rest: str) -> str | None:
    imported = rest.partition(".")[0]
    if imported == importer or name in OF_THE_ROOT:
        return None
    if imported not in LAYERS:
        return "comes from no known layer"
    rank = LAYERS[imported].rank
    if rank >= own.rank:
        return f"goes {'up' if rank > own.rank else 'sideways'}: from {importer} to {imported}"
    if own.only is not None and imported not in own.only:
        return f"is none of what {importer} may import"
    return None


def objections(path: str, source: str) -> list[str]:
    """Return a sentence for each import of a module that breaks the order; `path` is inside the package."""
    parts = Path(path).with_suffix("").parts
    if parts[0] not in LAYERS:
        return [f"{ROOT}/{path}: {parts[0]} has no place in the order; give it one in LAYERS"]
    found = ((line, name, objection(parts[0], name)) for line, name in imports(source))
    return [f"{ROOT}/{path}:{line}: import of {name} {why}" for line, name, why in found if why]


def test_imports_go_down_only() -> None:
    broken = [
        sentence
        for path in sorted(PACKAGE.rglob("*.py"))
        for sentence in objections(str(path.relative_to(PACKAGE)), path.read_text())
    ]
    assert not broken, "\n" + "\n".join(broken)


@pytest.mark.parametrize(
    ("path", "source", "why"),
    [
        ("progress/hub.py", "from wellnet_sse.brokers.memory import MemoryBroker", "goes up"),
        ("progress/hub.py", "from wellnet_sse import brokers", "goes up"),
        ("progress/hub.py", "import wellnet_sse.metrics", "none of what progress may import"),
        ("progress/hub.py", "def late():\n    import quart", "third-party"),
        ("progress/hub.py", "from asyncio import open_connection", "input and output"),
        ("progress/hub.py", "import socket", "input and output"),
        ("progress/hub.py", "from . import events", "relative"),
        ("brokers/sql.py", "from wellnet_sse.provisioning import tables", "goes sideways"),
        ("provisioning/service.py", "from wellnet_sse.brokers.sql import SqlBroker", "goes sideways"),
        ("provisioning/service.py", "from quart import request", "not for provisioning to know"),
        ("provisioning/migrations/env.py", "import quart", "not for provisioning to know"),
        ("web/health.py", "from sqlalchemy.ext.asyncio import AsyncEngine", "not for web to know"),
        ("web/health.py", "import httpx", "not for web to know"),
        ("web/health.py", "from hypercorn.config import Config", "not for web to know"),
        ("settings.py", "from wellnet_sse.logs import configure", "goes up"),
        ("web/health.py", "from wellnet_sse import QuartProgress", "no known layer"),
        ("helpers.py", "", "no place in the order"),
    ],
)
def test_wrong_imports_are_found_and_named(path: str, source: str, why: str) -> None:
    (sentence,) = objections(path, source)
    assert sentence.startswith(f"wellnet_sse/{path}:")
    assert why in sentence


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("progress/hub.py", "from wellnet_sse.progress.events import Event\nfrom wellnet_sse import errors"),
        ("progress/hub.py", "import asyncio\nfrom asyncio import TaskGroup\nfrom urllib.parse import quote"),
        ("brokers/sql.py", "from sqlalchemy import select\nfrom wellnet_sse.progress import Broker"),
        (
            "web/openapi.py",
            "from wellnet_sse import __version__\nfrom wellnet_sse.provisioning import service",
        ),
        ("__init__.py", "from wellnet_sse.extension import QuartProgress"),
        (
            "server/runner.py",
            "from hypercorn.asyncio import serve\nfrom wellnet_sse.settings import Settings",
        ),
    ],
)
def test_right_imports_pass(path: str, source: str) -> None:
    assert objections(path, source) == []
