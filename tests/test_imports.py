"""What is imported when: the public names on demand, and by a command only what it needs."""

import subprocess
import sys

import pytest

import wellnet_sse

SERVER_ONLY = {"alembic", "hypercorn", "quart", "sqlalchemy"}


@pytest.mark.parametrize("name", wellnet_sse.__all__)
def test_public_names_are_there(name: str) -> None:
    assert getattr(wellnet_sse, name).__name__ == name


@pytest.mark.parametrize("name", ["Nothing", "Hub"])
def test_there_are_no_others(name: str) -> None:
    with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
        getattr(wellnet_sse, name)


@pytest.mark.parametrize(
    "module", ["wellnet_sse.cli", "wellnet_sse.terminal.watching", "wellnet_sse.terminal.publishing"]
)
def test_a_client_does_not_wait_for_what_only_a_server_needs(module: str) -> None:
    assert not imported(module) & SERVER_ONLY


def test_a_server_does_not_wait_for_what_it_may_never_need() -> None:
    assert not imported("wellnet_sse.serve_command") & {"alembic", "httpx", "redis"}


def imported(module: str) -> set[str]:
    """The packages that a new process has after importing `module`."""
    code = f"import sys, {module}; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own
    return {name.partition(".")[0] for name in printed.split()}
