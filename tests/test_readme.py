"""README.md works: every command and every snippet in it is run.

A block of `sh` runs to its end; `sh follow` until it is up to date; `sh serve` until it serves; of `sh make`
each line is a target. `js` runs on Node, with an EventSource and a WebSocket from other hands. `python NAME`
is a file of that name. All run against servers of their own, on free ports in the place of the named ones.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.harness import ServerProcess, eventually, free_port
from tests.harness.processes import node, tied

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text()
SERVER, APP = "127.0.0.1:4440", "127.0.0.1:8000"
RUN_SECONDS = 20.0


class Block(NamedTuple):
    """A fenced block: the heading it stands under, its language, what is said beside that, and its text."""

    section: str
    language: str
    note: str
    text: str


def _blocks() -> list[Block]:
    found, section = [], ""
    for heading, language, note, text in re.findall(
        r"^(?:## (.*)|```(\w+) ?(.*)\n((?:.*\n)*?)```)$", README, re.MULTILINE
    ):
        section = heading or section
        if language:
            found.append(Block(section, language, note, text))
    return found


BLOCKS = _blocks()


def blocks(language: str, note: str) -> list[Block]:
    """Return the blocks of one kind; there are some."""
    found = [block for block in BLOCKS if (block.language, block.note) == (language, note)]
    assert found
    return found


def title(block: Block) -> str:
    """Name a block in a test's id."""
    return f"{block.section}: {block.text.splitlines()[0][:40]}"


def test_every_block_is_of_a_kind_that_is_run() -> None:
    kinds = {(block.language, block.note) for block in BLOCKS} - {("text", "")}
    assert kinds == {
        ("sh", ""),
        ("sh", "follow"),
        ("sh", "serve"),
        ("sh", "make"),
        ("js", ""),
        ("python", "app.py"),
    }


# Running them


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What a block runs in: a home and a database of its own; curl fails where the answer is a refusal."""
    (tmp_path / ".curlrc").write_text('fail-with-body\nsilent\nshow-error\nnoproxy = "*"\n')
    (tmp_path / "deploy").symlink_to(REPOSITORY / "deploy")
    return {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "WELLNET_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/wellnet.db",
    }


class Running:
    """A command at work; `async with` ends it, and all that it has started."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._command = tied(command)
        self._environment = environment
        self.output = b""

    async def __aenter__(self) -> "Running":
        self.process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=self._environment["HOME"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    async def until(self, text: bytes) -> None:
        """Read its output up to the first line that contains `text`."""
        assert self.process.stdout
        async with asyncio.timeout(RUN_SECONDS):
            async for line in self.process.stdout:
                self.output += line
                if text in line:
                    return
        raise AssertionError(f"it ended without {text!r}: {self.output.decode()}")

    async def ended(self) -> str:
        """Wait until it has ended well; return all it said."""
        assert self.process.stdout
        try:
            async with asyncio.timeout(RUN_SECONDS):
                async for line in self.process.stdout:
                    self.output += line
                code = await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"still at work: {self.output.decode()}") from None
        assert code == 0, f"exit code {code}: {self.output.decode()}"
        return self.output.decode()


def bash(text: str) -> list[str]:
    """Return the command that runs a block; `exec`, so that a block of one command is that command."""
    lines = text.replace("\\\n", " ").splitlines()
    one = f"exec env {lines[0]}" if len(lines) == 1 else text
    return ["bash", "-euo", "pipefail", "-c", one]


def on(server: ServerProcess, text: str) -> str:
    """Return the text with the test server in the place of the one that is named."""
    return text.replace(SERVER, server.url.removeprefix("http://"))


def settled(text: str) -> set[str]:
    """Return the lines of `data`, without what differs from one run to the next."""
    lines = re.findall(r"^data: .*$", text, re.MULTILINE)
    return {re.sub(r'("(?:operation_id|timestamp)":)"[^"]*"', r"\1…", line) for line in lines}


@pytest.mark.parametrize("block", [one for one in blocks("sh", "") if SERVER in one.text], ids=title)
async def test_commands_do_what_is_said(
    server: ServerProcess, environment: dict[str, str], block: Block
) -> None:
    async with Running(bash(on(server, block.text)), environment) as command:
        output = await command.ended()
    sample = BLOCKS[BLOCKS.index(block) + 1 :][:1]
    if sample and sample[0].language == "text":
        assert settled(sample[0].text) <= settled(output)


@pytest.mark.parametrize("block", blocks("sh", "follow"), ids=title)
async def test_streams_are_followed(server: ServerProcess, environment: dict[str, str], block: Block) -> None:
    async with Running(bash(on(server, block.text)), environment) as command:
        await command.until(b"event: live")


SAID = {
    "In a browser": "ended: completed",
    "The WebSocket of old": "remove-config completed 100 Configuración eliminada del sistema",
}


@pytest.mark.parametrize("block", [one for one in blocks("js", "") if one.section in SAID], ids=title)
async def test_snippets_do_what_is_said(
    server: ServerProcess, environment: dict[str, str], tmp_path: Path, block: Block
) -> None:
    package = tmp_path / "node_modules" / "wellnet-progress-client"
    package.parent.mkdir()
    package.symlink_to(REPOSITORY / "wellnet_sse" / "static")
    file = tmp_path / "snippet.mjs"
    file.write_text(on(server, block.text))
    async with Running(node("snippet.mjs", str(file)), environment) as command:
        assert SAID[block.section] in await command.ended()


async def test_update_of_another_backend_is_kept(
    server: ServerProcess, environment: dict[str, str], tmp_path: Path
) -> None:
    (block,) = (one for one in blocks("js", "") if one.section not in SAID)
    file = tmp_path / "snippet.mjs"
    file.write_text(on(server, block.text))
    async with Running(node("snippet.mjs", str(file)), environment) as command:
        await command.ended()
    async with server.http(user=7) as client:
        operation = (await client.get("/api/operaciones/import-43")).json()
    assert [(step["step"], step["message"], step["progress"]) for step in operation["steps"]] == [
        ("copy", "Copiado", 100)
    ]


async def serves(url: str) -> bool:
    """Say whether something answers there."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(url)).status_code < 500


@pytest.mark.parametrize(
    "block",
    [one for one in blocks("sh", "serve") if "app:app" not in one.text.replace("asgi:app", "")],
    ids=title,
)
async def test_servers_serve_and_end_when_told(environment: dict[str, str], block: Block) -> None:
    address = f"127.0.0.1:{free_port()}"
    text = block.text.strip().replace(SERVER, address)
    if address not in text:  # it is in the configuration
        text += f" --bind {address}"
    async with Running(bash(text), environment) as command:
        await eventually(lambda: serves(f"http://{address}/readyz"), RUN_SECONDS)
        command.process.terminate()
        await command.ended()


async def test_app_of_ones_own_runs(environment: dict[str, str], tmp_path: Path) -> None:
    (app,) = blocks("python", "app.py")
    (serve,) = (one for one in blocks("sh", "serve") if APP in one.text)
    (use,) = (one for one in blocks("sh", "") if APP in one.text)
    (tmp_path / app.note).write_text(app.text)
    address = f"127.0.0.1:{free_port()}"
    async with Running(bash(serve.text.replace(APP, address)), environment):
        await eventually(lambda: serves(f"http://{address}/"), RUN_SECONDS)
        async with Running(bash(use.text.replace(APP, address)), environment) as command:
            output = await command.ended()
    assert '"status":"completed","message":"Revisado","progress":100' in output
    assert "event: end" in output


def test_app_of_ones_own_is_typed(tmp_path: Path) -> None:
    (app,) = blocks("python", "app.py")
    (tmp_path / app.note).write_text(app.text)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", str(tmp_path / app.note)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)  # noqa: S603
    assert result.returncode == 0, result.stdout + result.stderr


MADE = [line for block in blocks("sh", "make") for line in block.text.splitlines()]


@pytest.mark.parametrize("line", MADE)
def test_targets_of_make_are_there(line: str) -> None:
    """A dry run: `make test` within a test would never end."""
    result = subprocess.run(  # noqa: S602 - our own README
        f"{line} --dry-run", shell=True, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


async def test_demo_shows_an_operation_and_serves(environment: dict[str, str]) -> None:
    """What `make demo` comes to, once everything is installed."""
    assert "make demo" in MADE
    dry = ["make", "--dry-run", "--silent", "demo"]
    made = subprocess.run(dry, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout  # noqa: ASYNC221, S603
    last = made.strip().splitlines()[-1].strip()
    text = last.rpartition("/bin/")[2]
    assert text == "wellnet-sse demo"
    address = f"127.0.0.1:{free_port()}"
    demo = bash(f"{text} --bind {address}")
    async with Running(demo, environment | {"WELLNET_DEMO_PACE_SECONDS": "0"}) as command:
        await command.until(b"Serving until")
        shown = command.output.decode()
        assert "Configuración eliminada del sistema" in shown
        assert f"curl -N 'http://{address}/sse/progress?userId=7'" in shown
        assert await serves(f"http://{address}/readyz")
        command.process.terminate()
        await command.ended()
