"""Running the doctor and reading what it says."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.terminal.support import environment

SECRET = "s3cr3t-of-nobody"  # noqa: S105 - to be looked for


class Found(NamedTuple):
    """What a command said: its exit code, and all of its text."""

    code: int
    text: str

    def states(self, subject: str) -> list[str]:
        """How each finding about this is."""
        lines = [line.split() for line in self.text.splitlines() if not line.startswith(" ")]
        return [words[0] for words in lines if words[1:2] == [subject]]

    @property
    def wrong(self) -> set[str]:
        """What is wrong."""
        lines = [line.split() for line in self.text.splitlines() if line.startswith("wrong")]
        return {words[1] for words in lines}


async def said(*arguments: str, directory: Path, settings: Mapping[str, object] | None = None) -> Found:
    """Run a command in a directory of its own, with its own settings."""
    given = {f"WELLNET_{name.upper()}": str(value) for name, value in (settings or {}).items()}
    own = {"WELLNET_DATABASE_URL": f"sqlite+aiosqlite:///{directory}/wellnet.db"} | given
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "wellnet_sse",
        *arguments,
        cwd=directory,
        env=environment(directory, **own),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(30):
        output, _ = await process.communicate()
    text = output.decode()
    assert "Traceback" not in text, text
    assert SECRET not in text
    return Found(process.returncode or 0, text)
