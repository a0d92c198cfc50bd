"""`curl -N`: the raw answer, byte by byte, with no parser of ours or anybody's between."""

from collections.abc import AsyncIterator

from tests.harness.processes import WAIT_SECONDS, LineProcess
from tests.harness.sse import Opened


class CurlReader(LineProcess[bytes]):
    """`curl -N -sS -i URL` and further arguments; the body's lines keep their line ends.

    `async with CurlReader(url, "-X", "POST", "-H", "X-User-ID: 7") as curl`: first `opened`,
    then `line`, `until` or `body`.
    """

    def __init__(self, url: str, *arguments: str) -> None:
        super().__init__(["curl", "-q", "-N", "-sS", "-i", "--noproxy", "*", *arguments, url])

    def parse(self, line: bytes) -> bytes:
        """Keep the line as it is."""
        return line

    async def opened(self, timeout_seconds: float = WAIT_SECONDS) -> Opened:
        """Read the head (of the final answer, past any 1xx); call it first."""
        while True:
            status = int((await self.take(timeout_seconds=timeout_seconds)).split()[1])
            headers: dict[str, str] = {}
            while line := (await self.take(timeout_seconds=timeout_seconds)).strip():
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.strip().lower()] = value.strip()
            if status >= 200:
                return Opened(status, headers)

    async def line(self, timeout_seconds: float = WAIT_SECONDS) -> bytes:
        """Return the next line of the body."""
        return await self.take(timeout_seconds=timeout_seconds)

    async def until(self, text: bytes, timeout_seconds: float = WAIT_SECONDS) -> list[bytes]:
        """Return the next lines up to and with the first that contains `text`."""
        lines = [await self.line(timeout_seconds)]
        while text not in lines[-1]:
            lines.append(await self.line(timeout_seconds))
        return lines

    async def body(self, timeout_seconds: float = WAIT_SECONDS) -> bytes:
        """Wait for the end of a complete answer and return what is left of the body."""
        await self.exhausted(timeout_seconds)
        rest = b"".join([line async for line in self.values()])
        code = await self.process.wait()
        assert code == 0, f"curl ended with {code}; {self._seen()}"
        return rest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for line in self.values():
            yield line
