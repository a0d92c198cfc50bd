"""The way to the store: scripts are run where their buckets are."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from wellnet_sse.brokers.valkey import scripts, tls
from wellnet_sse.brokers.valkey.names import BUCKETS, bucket_key
from wellnet_sse.brokers.valkey.scripts import Script
from wellnet_sse.brokers.valkey.shards import AwayError, RefusedError, Reply, Shard, shards_of
from wellnet_sse.brokers.valkey.url import Address
from wellnet_sse.errors import ConfigurationError, UnavailableError

log = logging.getLogger(__name__)

_REFUSALS = (AskError, ClusterDownError, OutOfMemoryError, ReadOnlyError, TryAgainError)
_REFUSAL_WORDS = ("BUSY ", "MISCONF ", "NOREPLICAS ")


def is_refusal(reply: Reply) -> bool:
    """Whether an answer says: not here, or not now. Nothing was done.

    The last three are of a store in which a script runs, that cannot save, or that has too few replicas;
    redis-py has no classes for them.
    """
    return isinstance(reply, _REFUSALS) or (
        isinstance(reply, ResponseError) and str(reply).startswith(_REFUSAL_WORDS)
    )


class Call(NamedTuple):
    """A script to be run in a bucket."""

    bucket: int
    script: Script
    keys: Sequence[str]
    args: Sequence[str | int]


def in_buckets(buckets: Sequence[int], script: Script, names: Sequence[str], *args: str | int) -> list[Call]:
    """The script in each of the buckets, with its keys of these names."""
    return [Call(bucket, script, [bucket_key(bucket, name) for name in names], args) for bucket in buckets]


class Link:
    """Runs scripts where their buckets are."""

    def __init__(self, address: Address, *, wait_seconds: float) -> None:
        self._wait_seconds = wait_seconds
        self.shards = shards_of(address)

    async def open(self) -> None:
        """Find the store. Raises ConfigurationError where it refuses us, and AwayError."""
        try:
            await self.shards.refresh()
            await self.check()
            await self._announce_nothing()
        except AwayError as error:
            cause = error.__cause__
            if isinstance(cause, AuthenticationError):
                raise ConfigurationError(
                    "WELLNET_BROKER_URL: el servidor no acepta el usuario o la contraseña"
                ) from None
            if cause is not None and (said := tls.failure(cause)) is not None:
                raise ConfigurationError(f"WELLNET_BROKER_URL: no hay TLS con el servidor: {said}") from None
            raise
        except ResponseError as error:
            if not _is_forbidden(error):
                raise
            raise ConfigurationError("WELLNET_BROKER_URL: a esa cuenta le faltan permisos") from error

    async def _announce_nothing(self) -> None:
        """Whether it can be told what is appended: sharded channels came with Redis 7, and need rights."""
        (reply,) = await self.shards.of(0).exchange([("SPUBLISH", bucket_key(0, "live"), "")])
        if is_refusal(reply):
            raise RefusedError from reply
        if isinstance(reply, ResponseError):
            raise ConfigurationError(
                "WELLNET_BROKER_URL: hace falta Valkey, o Redis 7 o posterior, "
                "con derecho a los canales wellnet:*"
            ) from reply

    async def pair(self, database: str) -> None:
        """Note which database goes with this history. Raises ConfigurationError where it is another."""
        key = bucket_key(0, "database")
        paired = await self.ask(Call(0, scripts.PAIR, (key,), (database,)))
        if paired != database.encode():
            raise ConfigurationError(
                "WELLNET_BROKER_URL, WELLNET_DATABASE_URL: ese historial es de otra base de datos, y con dos "
                f"se haría el mismo trabajo dos veces; si la cambió a propósito, borre la clave {key}"
            )

    async def aclose(self) -> None:
        """Let go of it."""
        await self.shards.aclose()

    async def check(self) -> None:
        """Whether every bucket has a node, and every node writes. Raises UnavailableError."""
        of_each = {self.shards.of(bucket): bucket for bucket in range(BUCKETS)}
        await self.ask_all(
            [Call(bucket, scripts.PROBE, (bucket_key(bucket, "probe"),), ()) for bucket in of_each.values()]
        )

    async def ask(self, call: Call) -> Reply:
        """Run one script that may be run twice; gives its answer. Raises UnavailableError."""
        return (await self.ask_all([call]))[0]

    async def ask_all(self, calls: Sequence[Call]) -> list[Reply]:
        """Run scripts that may be run twice, wherever they belong. Raises UnavailableError."""
        async with self._patience():
            try:
                return await self._ask_all(calls)
            except UnavailableError:
                # A connection may have been cut, or the bucket have moved: once more, over a new one.
                await self.mend()
                return await self._ask_all(calls)

    async def ask_each(self, calls: Sequence[Call]) -> list[Reply]:
        """The same, of each node by itself: where one is away, its answers are UnavailableError."""
        by_shard: dict[Shard | None, list[int]] = {}
        for number, call in enumerate(calls):
            try:
                shard = self.shards.of(call.bucket)
            except AwayError:
                shard = None
            by_shard.setdefault(shard, []).append(number)

        async def ask(numbers: Sequence[int]) -> Sequence[Reply]:
            try:
                return await self.ask_all([calls[number] for number in numbers])
            except UnavailableError as error:
                return [error] * len(numbers)

        answers: dict[int, Reply] = {}
        found = await asyncio.gather(*(ask(numbers) for numbers in by_shard.values()))
        for numbers, replies in zip(by_shard.values(), found, strict=True):
            answers |= zip(numbers, replies, strict=True)
        return [answers[number] for number in range(len(calls))]

    async def of_each(
        self, buckets: Sequence[int], script: Script, names: Sequence[str], *args: str | int
    ) -> dict[int, Reply]:
        """Run a script in every bucket; gives what those answered whose node is there.

        Raises UnavailableError where none is.
        """
        replies = await self.ask_each(in_buckets(buckets, script, names, *args))
        away = [reply for reply in replies if isinstance(reply, UnavailableError)]
        if away and len(away) == len(replies):
            raise away[0]
        if away:
            log.warning("history_partly_away", extra={"buckets": len(away)})
        return {
            bucket: reply
            for bucket, reply in zip(buckets, replies, strict=True)
            if not isinstance(reply, UnavailableError)
        }

    @asynccontextmanager
    async def _patience(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._wait_seconds):
                yield
        except TimeoutError:
            raise AwayError from None

    async def _ask_all(self, calls: Sequence[Call]) -> list[Reply]:
        replies = await self.run(calls)
        for reply in replies:
            if is_refusal(reply):
                raise RefusedError from reply
            if isinstance(reply, ResponseError):
                raise reply
        return replies

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        """Run scripts once, those of a node in order; each answer may be a ResponseError.

        Raises AwayError, and then any of them may have been run.
        """
        by_shard: dict[Shard, list[int]] = {}
        for number, call in enumerate(calls):
            by_shard.setdefault(self.shards.of(call.bucket), []).append(number)
        # Those of the others are run although a node is away.
        found = await asyncio.gather(
            *(self._run(shard, [calls[n] for n in numbers]) for shard, numbers in by_shard.items()),
            return_exceptions=True,
        )
        answers: dict[int, Reply] = {}
        for numbers, replies in zip(by_shard.values(), found, strict=True):
            if isinstance(replies, BaseException):
                raise replies
            answers |= zip(numbers, replies, strict=True)
        return [answers[number] for number in range(len(calls))]

    async def mend(self) -> None:
        """After a failure: see which nodes there are now. Never raises: whoever mends has failed already."""
        try:
            await self.shards.refresh()
        except AwayError:
            pass  # nobody says so; those that are known are tried again
        except Exception:
            log.exception("history_refresh_failed")

    async def _run(self, shard: Shard, calls: Sequence[Call]) -> list[Reply]:
        replies = await shard.exchange([_command(call) for call in calls])
        unknown = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:  # it was started anew, or another took its place
            await shard.exchange([("SCRIPT", "LOAD", script.source) for script in scripts.ALL])
            again = await shard.exchange([_command(calls[n]) for n in unknown])
            for number, reply in zip(unknown, again, strict=True):
                replies[number] = reply
        return replies


def _is_forbidden(error: ResponseError) -> bool:
    """Whether an account may not do it; of what a script does there is only the text."""
    return isinstance(error, NoPermissionError) or "The user executing the script can't" in str(error)


def _command(call: Call) -> Sequence[Any]:
    return ("EVALSHA", call.script.digest, len(call.keys), *call.keys, *call.args)
