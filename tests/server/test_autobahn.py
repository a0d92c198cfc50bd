"""Autobahn's cases of RFC 6455 (PyPI kosoku runs them), against an echo on our server."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.harness import ServerProcess
from tests.server.conftest import TINY

KOSOKU = str(Path(sys.executable).with_name("kosoku"))

COMPRESSION = ("12.*", "13.*")
WITHIN_64_KIB = ("9.1.1", "9.2.1", "9.7.*", "9.8.*")
PASSED = {("OK", "OK"), ("NON-STRICT", "OK"), ("INFORMATIONAL", "INFORMATIONAL")}


async def verdicts(
    server: ServerProcess, directory: Path, cases: Sequence[str] = (), *, without: Sequence[str] = ()
) -> dict[str, tuple[str, str]]:
    """Of each case, how it and its close went. In a process of its own: it patches the library of Python."""
    options = [*(f"--include={case}" for case in cases), *(f"--exclude={case}" for case in without)]
    process = await asyncio.create_subprocess_exec(
        KOSOKU,
        f"127.0.0.1:{server.port}",
        f"--outdir={directory}",
        "--parallelism=4",
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    index = directory / "index.json"
    assert index.exists(), output.decode()
    (results,) = json.loads(index.read_text()).values()
    return {case: (it["behavior"], it["behaviorClose"]) for case, it in results.items()}


def failed(found: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    return {case: verdict for case, verdict in found.items() if verdict not in PASSED}


async def test_all_cases_of_the_protocol_pass(ours: ServerProcess, tmp_path: Path) -> None:
    found = await verdicts(ours, tmp_path, without=[*COMPRESSION, "9.*"])
    assert len(found) == 247
    assert not failed(found)


async def test_many_messages_in_a_row_pass(ours: ServerProcess, tmp_path: Path) -> None:
    found = await verdicts(ours, tmp_path, WITHIN_64_KIB)
    assert len(found) == 14
    assert not failed(found)


async def test_no_offer_of_compression_is_taken(ours: ServerProcess, tmp_path: Path) -> None:
    found = await verdicts(ours, tmp_path, COMPRESSION)
    assert Counter(found.values()) == {("UNIMPLEMENTED", "OK"): 216}


@pytest.mark.chaos
async def test_all_cases_of_long_messages_pass_where_they_may_be_long(tmp_path: Path) -> None:
    """Up to 16 MiB, also in pieces of 64 bytes."""
    command = [*TINY, "--message-bytes", str(16 << 20)]
    async with ServerProcess(tmp_path, command=command) as server:
        found = await verdicts(server, tmp_path / "report", ["9.*"])
        assert len(found) == 54
        assert not failed(found)
        assert await server.terminate() == 0
