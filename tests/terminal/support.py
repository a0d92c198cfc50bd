"""Commands as people run them: in a pipe, or in a terminal whose screen can be looked at."""

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

from tests.harness import eventually
from tests.harness.processes import LineProcess, tied

COLUMNS, ROWS = 110, 30
WAIT_SECONDS = 20.0


def command(*arguments: str) -> list[str]:
    """Return the command line."""
    return [sys.executable, "-m", "wellnet_sse", *arguments]


def environment(directory: Path, **more: str) -> dict[str, str]:
    """Return what a command runs in: nothing of this process's own."""
    own = {"PATH": os.environ["PATH"], "HOME": str(directory), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    return own | {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ} | more


class Piped(LineProcess[str]):
    """A command whose stdout is a pipe."""

    def __init__(self, *arguments: str, through: Sequence[str] = ()) -> None:
        """`through`: what starts it."""
        super().__init__([*through, *command(*arguments)])

    def parse(self, line: bytes) -> str:
        """Keep the line, without its end."""
        return line.decode().removesuffix("\n")

    @property
    def errors(self) -> str:
        """What it wrote on stderr."""
        return self._errors.decode()

    async def ended(self) -> int:
        """Wait until it has ended by itself; return its exit code."""
        await self.exhausted(WAIT_SECONDS)
        code = await self.process.wait()
        await asyncio.gather(*self._readers)
        return code


async def ran(*arguments: str) -> Piped:
    """Run a command to its end."""
    async with Piped(*arguments) as piped:
        await piped.ended()
    return piped


class Terminal:
    """A command in a pseudo-terminal; `screen` is what a person would see, drawn by pyte."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = tied(command(*arguments))
        self._environment = {**environment, "TERM": "xterm-256color"}
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""

    async def __aenter__(self) -> Self:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.process = await asyncio.create_subprocess_exec(
            *self._command, stdin=theirs, stdout=theirs, stderr=theirs, env=self._environment
        )
        os.close(theirs)
        os.set_blocking(self._ours, False)
        asyncio.get_running_loop().add_reader(self._ours, self._read)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._ours)
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        os.close(self._ours)

    def _read(self) -> None:
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # EIO: the other side has ended
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._ours)
        self.written += data
        self._stream.feed(data)

    @property
    def screen(self) -> str:
        """What is drawn now."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    @property
    def shows_cursor(self) -> bool:
        """Whether the terminal's cursor is there."""
        return not self._screen.cursor.hidden

    async def shows(self, *texts: str) -> str:
        """Wait until all the texts are on the screen at once; return it."""

        def seen() -> bool:
            return all(text in self.screen for text in texts)

        try:
            await eventually(seen, WAIT_SECONDS)
        except AssertionError:
            raise AssertionError(f"not {texts} but:\n{self.screen}") from None
        return self.screen

    async def ended(self) -> int:
        """Wait until it has ended by itself and all it wrote is drawn; return its exit code."""
        async with asyncio.timeout(WAIT_SECONDS):
            code = await self.process.wait()
        self._read()
        return code


class ScriptedServer:
    """Answers one request after the other with the bytes it was given, and closes; keeps what was asked.

    The last answer is given again and again. It is what a server of ours does that no test could make it do.
    """

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers
        self.requests: list[str] = []
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        """Serve on the loopback."""
        async with await asyncio.start_server(self._answer, "127.0.0.1", 0) as server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        answer = self._answers[min(len(self.requests), len(self._answers) - 1)]
        self.requests.append(head)
        writer.write(answer)
        await writer.drain()
        writer.close()


def stream(*blocks: str) -> bytes:
    """Return an answer that is a stream of these blocks, and its end."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n"
    return (head + "retry: 100\n\n" + "".join(f"{block}\n\n" for block in blocks)).encode()


def refusal(status: str, *headers: str, body: str = "{}") -> bytes:
    """Return an answer that is a refusal."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/problem+json", "Connection: close", *headers]
    return ("\r\n".join([*lines, f"Content-Length: {len(body)}", "", body])).encode()


def answer(body: str, *, status: str = "200 OK", media_type: str = "application/json") -> bytes:
    """Return an answer that is whole."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {media_type}", "Connection: close"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


def event(seq: int, message: str, *, step: str = "copy", epoch: str = "k") -> str:
    """Return the block of an event of operation `one`."""
    data = (
        f'{{"operation_id":"one","step":"{step}","status":"in_progress","message":"{message}",'
        '"progress":40,"timestamp":"2025-07-17T03:20:00.000Z"}'
    )
    return f"id: {epoch}-{seq}\ndata: {data}"


def ending(seq: int, outcome: str = "completed", *, event: str = "end") -> str:
    """Return the block of an ending of operation `one`."""
    at = "2025-07-17T03:20:09.000Z"
    data = f'{{"operation_id":"one","outcome":"{outcome}","progress":100,"timestamp":"{at}"}}'
    return f"event: {event}\nid: k-{seq}\ndata: {data}"


def live(seq: int, *, epoch: str = "k") -> str:
    """Return the block that says that all was told."""
    return f"event: live\nid: {epoch}-{seq}\ndata: {{}}"


GAP = 'event: gap\ndata: {"requested":"k-1","earliest":null,"latest":null}'
