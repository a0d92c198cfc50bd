"""Who is spoken to: one server, the one that Sentinels name, or the nodes of a Cluster."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.asyncio.connection import Connection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
)
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from wellnet_sse.brokers.valkey import tls
from wellnet_sse.brokers.valkey.names import BUCKETS, bucket_key
from wellnet_sse.brokers.valkey.url import Account, Address, Kind
from wellnet_sse.errors import UnavailableError

log = logging.getLogger(__name__)

ANSWER_SECONDS = 3.0
"""How long the store may take for one answer, connecting included, before its connection is given up."""

SENTINEL_SECONDS = 0.5
"""How long one Sentinel may take, before the next is asked."""

CONNECTIONS = 24
"""How many there may be to each node; who needs one more waits."""

RETRY_AFTER_SECONDS = 2

Reply = Any
"""What a script returns, as redis-py hands it over: bytes, integers and lists of them."""


class AwayError(UnavailableError):
    """The store did not answer: whether it did what was asked is not known."""

    def __init__(self) -> None:
        super().__init__("El historial no está disponible", retry_after_seconds=RETRY_AFTER_SECONDS)


class RefusedError(UnavailableError):
    """The store answered that it does nothing now, and has done nothing."""

    def __init__(self) -> None:
        super().__init__("El historial no acepta cambios ahora", retry_after_seconds=RETRY_AFTER_SECONDS)


class Shard:
    """One node that is spoken to, over connections that are shared."""

    def __init__(self, place: tuple[str, int], pool: ConnectionPool) -> None:
        self.place = place
        """Host and port; of what Sentinels name, the name and none."""
        self.pool = pool
        self._room = asyncio.Semaphore(CONNECTIONS)
        self._trouble: str | None = None
        """Why it did not answer when it was last asked."""

    async def exchange(self, commands: Sequence[Sequence[Any]]) -> list[Reply]:
        """Send all in one piece; gives the answers, of which some may be a ResponseError.

        Raises AwayError where not all came.
        """
        async with self._room:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    replies = await self._exchange(commands)
            except (RedisError, OSError, TimeoutError) as error:
                self._note(_trouble(error))
                raise AwayError from error
        self._note(None)
        if any(isinstance(reply, ReadOnlyError) for reply in replies):
            await self.pool.disconnect(inuse_connections=False)  # they lead to what is a replica now
        return replies

    async def _exchange(self, commands: Sequence[Sequence[Any]]) -> list[Reply]:
        connection = await self.pool.get_connection()  # type: ignore[no-untyped-call]  # theirs
        try:
            await connection.send_packed_command(connection.pack_commands(commands))
            return [await _reply(connection) for _ in commands]
        except BaseException:  # cut half-way: what followed on it would be the answers to this
            await connection.disconnect(nowait=True)
            raise
        finally:
            await self.pool.release(connection)

    def _note(self, trouble: str | None) -> None:
        """Say it once: whoever asked hears only that it is away, and asks again and again."""
        before, self._trouble = self._trouble, trouble
        if (trouble is None) == (before is None):
            return
        node = ":".join(str(part) for part in self.place if part)
        if trouble is None:
            log.info("history_back", extra={"node": node})
        else:
            log.warning("history_away", extra={"node": node, "detail": trouble})

    async def aclose(self) -> None:
        """Close its connections."""
        await self.pool.disconnect()


def _trouble(error: BaseException) -> str:
    """Why, and nothing that was said on the connection: that may be a password."""
    origin = error.__context__ if isinstance(error.__context__, OSError) else error
    return tls.failure(error) or type(origin).__name__


async def _reply(connection: Any) -> Reply:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


class Shards(Protocol):
    """Which nodes there are, and which answers for a bucket."""

    async def refresh(self) -> None:
        """Look again. Raises AwayError."""

    def of(self, bucket: int) -> Shard:
        """The node of a bucket. Raises AwayError where it has none."""

    def all(self) -> Sequence[Shard]:
        """Every node that has buckets."""

    async def aclose(self) -> None:
        """Let go of them."""


class Sentinels(Sentinel):
    """Those of the address, which say why none of them could be asked; redis-py's swallow it."""

    def __init__(self, address: Address) -> None:
        super().__init__([])  # type: ignore[no-untyped-call]  # theirs
        self.sentinels = [sentinel(address, host, port) for host, port in address.hosts]

    async def discover_master(self, service_name: str) -> Any:
        """See redis-py."""
        try:
            return await super().discover_master(service_name)
        except MasterNotFoundError:
            asked = await asyncio.gather(*(one.ping() for one in self.sentinels), return_exceptions=True)
            reasons = [reason for reason in asked if isinstance(reason, BaseException)]
            if len(reasons) == len(asked):
                raise reasons[0] from None
            raise


class One:
    """One server, or the one that Sentinels name at that moment."""

    def __init__(self, address: Address) -> None:
        self._sentinel: Sentinel | None = None
        if address.kind is Kind.SENTINEL:
            place = (address.service, 0)
            self._sentinel = Sentinels(address)
            pool: ConnectionPool = SentinelConnectionPool(  # type: ignore[no-untyped-call]  # theirs
                address.service,
                self._sentinel,
                connection_class=SentinelManagedConnection
                if address.tls is None
                else tls.SecureSentinelConnection,
                **connection_options(address),
            )
        else:
            place = address.hosts[0]
            pool = plain_pool(address, *place)
        self._shard = Shard(place, pool)

    async def refresh(self) -> None:
        """See `Shards`: each new connection looks."""

    def of(self, bucket: int) -> Shard:  # noqa: ARG002 - it has them all
        """See `Shards`."""
        return self._shard

    def all(self) -> Sequence[Shard]:
        """See `Shards`."""
        return (self._shard,)

    async def aclose(self) -> None:
        """See `Shards`."""
        await self._shard.aclose()
        if self._sentinel is not None:
            await self._sentinel.aclose()


class Cluster:
    """The nodes of a Cluster; any of them says which slots each has."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._shards: dict[str, Shard] = {}
        self._places: list[Shard | None] = [None] * BUCKETS

    async def refresh(self) -> None:
        """See `Shards`."""
        known = [shard.place for shard in self._shards.values()]
        for host, port in [*known, *(place for place in self._address.hosts if place not in known)]:
            try:
                (reply,) = await self._shard(host, port).exchange([("CLUSTER", "SLOTS")])
            except AwayError:
                continue
            if isinstance(reply, ResponseError):
                raise AwayError from reply
            await self._take(host, reply)
            return
        raise AwayError

    async def _take(self, asked: str, ranges: Sequence[Any]) -> None:
        """Note who has what; a node that names no host for itself is meant by the one it was asked by."""
        for bucket in range(BUCKETS):
            slot = key_slot(bucket_key(bucket, "").encode())
            primary = next((node for first, last, node, *_ in ranges if first <= slot <= last), None)
            self._places[bucket] = primary and self._shard((primary[0] or b"").decode() or asked, primary[1])
        gone = [name for name, shard in self._shards.items() if shard not in self._places]
        # All at once, before others may run: they may be looking, too.
        for shard in [self._shards.pop(name) for name in gone]:
            await shard.aclose()

    def _shard(self, host: str, port: int) -> Shard:
        name = f"{host}:{port}"
        if name not in self._shards:
            self._shards[name] = Shard((host, port), plain_pool(self._address, host, port))
        return self._shards[name]

    def of(self, bucket: int) -> Shard:
        """See `Shards`."""
        shard = self._places[bucket]
        if shard is None:
            raise AwayError
        return shard

    def all(self) -> Sequence[Shard]:
        """See `Shards`."""
        return [shard for shard in self._shards.values() if shard in self._places]

    async def aclose(self) -> None:
        """See `Shards`."""
        for shard in self._shards.values():
            await shard.aclose()


def connection_options(address: Address) -> dict[str, Any]:
    """What every connection to the store is made with."""
    return {
        **_options(address, address.account),
        "db": address.database,
        "client_name": address.client_name,
        # Time is kept by whoever asks: redis-py keeps it with `wait_for`, which on Python 3.11 may lose the
        # cancellation of its caller (python/cpython#86296).
        "socket_timeout": None,
        "socket_connect_timeout": None,
    }


def _options(address: Address, account: Account) -> dict[str, Any]:
    return {
        "protocol": 2,  # what it lacks is not used, and any server speaks it
        "retry": Retry(NoBackoff(), 0),  # whoever asks knows whether asking twice is right
        "username": account.username,
        "password": account.password,
        **({} if address.tls is None else {"tls": address.tls}),
    }


def _pool(address: Address, host: str, port: int, options: dict[str, Any]) -> ConnectionPool:
    kind = Connection if address.tls is None else tls.SecureConnection
    return ConnectionPool(connection_class=kind, host=host, port=port, **options)


def plain_pool(address: Address, host: str, port: int) -> ConnectionPool:
    """Connections to one server."""
    return _pool(address, host, port, connection_options(address))


def sentinel(address: Address, host: str, port: int) -> Redis:
    """A client of one Sentinel: over TLS where the store is, by an account of its own."""
    options = _options(address, address.sentinel_account)
    # Of several the next is asked after that.
    options |= {"socket_timeout": SENTINEL_SECONDS, "socket_connect_timeout": SENTINEL_SECONDS}
    return Redis.from_pool(_pool(address, host, port, options))


def shards_of(address: Address) -> Shards:
    """Those that the address leads to."""
    return Cluster(address) if address.kind is Kind.CLUSTER else One(address)
