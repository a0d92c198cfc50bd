"""Publishers: other backends that tell their steps through `POST …/pasos/{step}`, and keep a ledger.

A request whose connection died is made again with the same `Idempotency-Key` until it is answered, so that
it is there exactly once; one without a key is not, and may be there or not.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any, NamedTuple

from tests.chaos.ledger import Ledger, Publish
from tests.chaos.script import Begin, Script, Stop, Update, operation_id

ANSWER_SECONDS = 3.0
RETRY_SECONDS = (0.02, 0.2)
ARREARS_SECONDS = 1.0
"""How far a publisher may be behind and still make up for it; what an outage costs beyond that is not."""

REPEAT_SHARE = 0.05
"""How many of the answered requests are made again, as one whose answer was lost would be."""


class Answer(NamedTuple):
    """A status and a JSON body."""

    status: int
    body: Mapping[str, Any]


class Http:
    """One keep-alive connection at a time, opened anew when it has died."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, user: int, body: object, *, key: str | None = None) -> Answer | None:
        """The answer, or None where none came: then nobody knows what happened."""
        payload = json.dumps(body).encode()
        extra = "" if key is None else f"Idempotency-Key: {key}\r\n"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-User-ID: {user}\r\n{extra}"
            f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if self._streams is None:
                    self._streams = await asyncio.open_connection("127.0.0.1", self._port)
                reader, writer = self._streams
                writer.write(head.encode() + payload)
                return await self._answer(reader)
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _answer(self, reader: asyncio.StreamReader) -> Answer:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").rstrip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        body = await reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            self.close()
        return Answer(int(first.split(" ")[1]), json.loads(body))


@dataclass(slots=True)
class Pace:
    """When the next update is due: so many come a second, however long each takes."""

    interval_seconds: float
    due: float
    """When the last one was."""

    async def wait(self) -> None:
        """Until it is time."""
        now = asyncio.get_running_loop().time()
        self.due = max(self.due + self.interval_seconds, now - ARREARS_SECONDS)
        await asyncio.sleep(max(0.0, self.due - now))


class Publisher:
    """One lane of a user: operations one after another, each as its script says.

    After `finish` it brings the operation that it is at to its end, and returns.
    """

    def __init__(
        self, port: int, user: int, lane: int, *, seed: int, ledger: Ledger, interval_seconds: float
    ) -> None:
        self._user = user
        self._lane = lane
        self._seed = seed
        self._ledger = ledger
        self._http = Http(port)
        self._random = Random(f"{seed} {user} {lane}")  # noqa: S311 - seeded, so that a run can be repeated
        self._interval_seconds = interval_seconds
        self._finishing = False
        self._keys = 0

    def finish(self) -> None:
        """Begin no further operation."""
        self._finishing = True

    async def run(self, *, operations: int | None = None) -> None:
        """Publish so many operations, or until told to finish."""
        loop = asyncio.get_running_loop()
        pace = Pace(self._interval_seconds, loop.time() - self._random.uniform(0, self._interval_seconds))
        number = 0
        try:
            while not self._finishing and number != operations:
                script = Script(operation_id(self._user, self._lane, number), self._random)
                for act in script.acts():
                    match act:
                        case Begin():
                            await self._begin(act)
                        case Update():
                            if not self._finishing:
                                await pace.wait()
                            await self._update(act)
                        case Stop():
                            await self._stop(act)
                self._ledger.endings[(self._user, script.operation_id)] = script.endings
                number += 1
        finally:
            self._http.close()

    async def _begin(self, begin: Begin) -> None:
        self._ledger.declared[(self._user, begin.operation_id)] = begin.steps
        body = {"operation_id": begin.operation_id, "steps": begin.steps}
        await self._until_answered("/api/operaciones", body, {200, 201})

    async def _stop(self, stop: Stop) -> None:
        path = f"/api/operaciones/{stop.operation_id}/detener"
        await self._until_answered(path, {}, {200, 202})
        if self._random.random() < REPEAT_SHARE:
            await self._until_answered(path, {}, {200})

    async def _update(self, update: Update) -> None:
        path = f"/api/operaciones/{update.operation_id}/pasos/{update.step}"
        body = {"status": update.status, "message": update.message, "progress": update.progress}
        publish = Publish(
            self._user, update.operation_id, update.step, update.status, update.message, update.progress,
            None, update.reopens,
        )  # fmt: skip
        # In the ledger before it is sent: it may be there although no answer comes.
        place = len(self._ledger.publishes)
        self._ledger.publishes.append(publish)
        if update.may_be_lost:
            answer = await self._http.post(path, self._user, body)
            if answer is None:
                return
            self._allow(path, answer, {201, 503})
        else:
            self._keys += 1
            key = f"{self._seed}-{self._lane}-{self._keys}"
            answer = await self._until_answered(path, body, {201}, key=key)
            if self._random.random() < REPEAT_SHARE:
                again = await self._until_answered(path, body, {201}, key=key)
                if again.body != answer.body:
                    self._ledger.faults.append(f"{path}: {answer.body} repeated is {again.body}")
        if answer.status == 201:
            self._ledger.publishes[place] = replace(publish, cursor=answer.body["cursor"])

    async def _until_answered(
        self, path: str, body: object, allowed: set[int], *, key: str | None = None
    ) -> Answer:
        """Ask again and again; a 503 has done nothing."""
        while True:
            answer = await self._http.post(path, self._user, body, key=key)
            if answer is not None:
                self._allow(path, answer, allowed | {503})
                if answer.status != 503:
                    return answer
            await asyncio.sleep(self._random.uniform(*RETRY_SECONDS))

    def _allow(self, path: str, answer: Answer, allowed: set[int]) -> None:
        if answer.status not in allowed:
            self._ledger.faults.append(f"{path}: {answer}")
