"""Several nodes over one history."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.brokers.changes import OTHER, USER, begin_run, name, update
from tests.brokers.valkey.conftest import MakeNode
from tests.brokers.valkey.history import kept
from tests.harness import ValkeyCluster, ValkeyServer, eventually
from tests.progress.reading import Reader, seqs
from wellnet_sse.brokers.valkey import ValkeyBroker
from wellnet_sse.errors import ConfigurationError, NotFoundError, StepCompletedError
from wellnet_sse.progress.broker import IdempotencyKey
from wellnet_sse.progress.events import Status, UserId
from wellnet_sse.progress.operation import Operation

EVENTS = 30


async def test_what_one_node_appends_is_read_and_heard_live_at_another(make_node: MakeNode) -> None:
    here, there = await make_node(), await make_node()
    await here.broker.append(USER, "op", update())
    async with Reader(there.hub.subscribe(USER)) as reader:
        assert seqs(await reader.until_live()) == [1]
        for seq in range(2, 5):
            await here.broker.append(USER, "op", update())
            assert seqs(await reader.until(seq)) == [seq]


async def test_nodes_that_publish_at_once_leave_no_hole_at_any_reader(make_node: MakeNode) -> None:
    nodes = [await make_node() for _ in range(3)]

    async def read(node: int, user_id: UserId) -> list[int]:
        async with Reader(nodes[node].hub.subscribe(user_id)) as reader:
            await reader.until_live()
            ready.release()
            await reader.until(len(nodes) * EVENTS)
            return seqs(reader.items)

    async def publish(node: int, user_id: UserId) -> None:
        for number in range(EVENTS):
            await nodes[node].broker.append(user_id, f"op{number % 3}", update(f"s{node}"))

    ready = asyncio.Semaphore(0)
    places = [(node, user_id) for node in range(3) for user_id in (USER, OTHER)]
    readers = [asyncio.create_task(read(*place)) for place in places]
    for _ in readers:
        await ready.acquire()
    await asyncio.gather(*(publish(*place) for place in places))
    for told in await asyncio.gather(*readers):
        assert told == list(range(1, len(nodes) * EVENTS + 1))


async def test_the_rules_hold_when_two_nodes_publish_at_once(make_node: MakeNode) -> None:
    nodes = [await make_node() for _ in range(2)]
    completed = update(status=Status.COMPLETED)
    results = await asyncio.gather(
        *(nodes[n % 2].broker.append(USER, "op", completed) for n in range(10)), return_exceptions=True
    )
    assert sum(isinstance(result, StepCompletedError) for result in results) == 9
    (step,) = [operation.steps["a"] for operation, _ in await nodes[0].broker.operations(USER, limit=2)]
    assert step.seq == 1


async def test_a_node_that_remembers_an_older_state_refuses_by_the_newest(make_node: MakeNode) -> None:
    here, there = await make_node(), await make_node()
    await here.broker.append(USER, "op", update(status=Status.COMPLETED))
    await there.broker.append(USER, "op", update(status=Status.PENDING))
    assert (await here.broker.append(USER, "op", update())).records
    with pytest.raises(NotFoundError):
        await there.broker.append(USER, "other", Operation.stop)


async def test_a_key_is_known_at_every_node(make_node: MakeNode) -> None:
    here, there = await make_node(), await make_node()
    key = IdempotencyKey("k", "print")
    first = await here.broker.append(USER, "op", update(), key=key)
    again = await there.broker.append(USER, "op", update(), key=key)
    assert (again.cursor, list(again.records)) == (first.cursor, [])


async def test_leases_and_what_has_not_ended_are_the_same_at_every_node(make_node: MakeNode) -> None:
    here, there = await make_node(), await make_node()
    await here.broker.renew("here", lease_ms=60_000)
    await here.broker.append(USER, "op", begin_run("r1", holder="here"))
    await here.broker.append(OTHER, "op", begin_run("r2", holder="gone"))
    await here.broker.append(UserId(40), "at-rest", name())
    assert await there.broker.alive("here")
    assert not await there.broker.alive("gone")
    assert await there.broker.orphans() == [(OTHER, "op", ["r2"])]
    now_ms = 2**52
    assert await there.broker.silent(now_ms) == [(UserId(40), "at-rest")]
    assert there.broker.active_operations() == 3


async def test_nobody_is_an_orphan_before_all_had_time_to_say_that_they_live(make_node: MakeNode) -> None:
    """A store that was away keeps no lease: whoever comes first must not judge the others by that."""
    here, there = await make_node(), await make_node()
    await here.broker.renew("here", lease_ms=100)
    await here.broker.append(USER, "op", begin_run("r1", holder="here"))

    async def is_over() -> bool:
        return not await there.broker.alive("here")

    await eventually(is_over)
    await there.broker.renew("there", lease_ms=60_000)
    assert await there.broker.orphans() == []


async def test_readers_and_publishers_of_a_cluster_meet_too(
    make_node: MakeNode, valkey_cluster: ValkeyCluster
) -> None:
    here, there = await make_node(valkey_cluster.url), await make_node(valkey_cluster.url)
    users = [UserId(number) for number in range(1, 13)]
    for user_id in users:
        async with Reader(there.hub.subscribe(user_id)) as reader:
            await reader.until_live()
            await here.broker.append(user_id, "op", update())
            assert seqs(await reader.until(1)) == [1]
    assert all([await server.call("DBSIZE") for server in valkey_cluster.servers])


# The cap of streams


async def test_the_streams_of_all_nodes_count_together_as_long_as_they_live(make_node: MakeNode) -> None:
    here, there = (await make_node()).broker, (await make_node()).broker
    await here.renew("here", lease_ms=60_000)
    await there.renew("there", lease_ms=60_000)

    async def reserve(broker: ValkeyBroker, holder: str, streams: int, version: int) -> bool:
        return await broker.reserve(USER, holder, streams=streams, version=version, limit=3)

    assert await reserve(here, "here", 2, 1)
    assert await reserve(there, "there", 1, 1)
    assert not await reserve(there, "there", 2, 2)
    assert not await reserve(here, "here", 3, 2)
    assert await reserve(here, "here", 1, 3)
    assert await reserve(here, "here", 2, 2)  # overtaken: what was told later counts
    assert await reserve(there, "there", 2, 3)
    assert not await reserve(there, "there", 3, 4)
    await here.renew("here", lease_ms=0)
    assert await reserve(there, "there", 3, 5)
    assert await here.reserve(OTHER, "here", streams=3, version=1, limit=3)


async def test_streams_of_a_node_count_again_when_it_is_heard_of_again(make_node: MakeNode) -> None:
    """A store that was away for longer than a lease has heard of nobody, and all have their streams still."""
    here, there = (await make_node()).broker, (await make_node()).broker
    await here.renew("here", lease_ms=60_000)
    await there.renew("there", lease_ms=60_000)
    assert await here.reserve(USER, "here", streams=3, version=1, limit=3)
    await here.renew("here", lease_ms=0)
    assert await there.reserve(USER, "there", streams=1, version=1, limit=3)
    assert await there.reserve(USER, "there", streams=0, version=2, limit=3)
    await here.renew("here", lease_ms=60_000)
    assert not await there.reserve(USER, "there", streams=1, version=3, limit=3)


# The start


async def test_a_server_that_is_not_there_stops_the_start(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wellnet_sse.brokers.valkey.broker.START_SECONDS", 0.1)
    with pytest.raises(ConfigurationError, match="WELLNET_BROKER_URL"):
        await make_node("redis://127.0.0.1:1")


async def test_a_wrong_password_stops_the_start_and_is_not_repeated(
    make_node: MakeNode, valkey: ValkeyServer
) -> None:
    with pytest.raises(ConfigurationError, match="contraseña") as caught:
        await make_node(f"redis://:secreto@127.0.0.1:{valkey.port}")
    assert "secreto" not in repr(caught.value)


async def test_whoever_comes_with_another_database_does_not_start(
    make_node: MakeNode, valkey: ValkeyServer
) -> None:
    await make_node(database="one")
    await make_node(database="one")
    with pytest.raises(ConfigurationError, match="WELLNET_DATABASE_URL") as caught:
        await make_node(database="other")
    await valkey.call("DEL", str(caught.value).split()[-1])
    await make_node(database="other")


# The end


async def test_an_append_that_is_under_way_is_answered_before_the_end(make_node: MakeNode) -> None:
    node = await make_node()
    await node.broker.append(USER, "op", update())
    append = asyncio.create_task(node.broker.append(USER, "op", update()))
    lane = node.broker._writer._lane(0)
    while lane._emptied.is_set() or lane._waiting:  # noqa: ASYNC110 - nothing tells that it was taken
        await asyncio.sleep(0)
    await node.broker.aclose()
    assert (await append).records


# Rights


@pytest.fixture
async def restricted(valkey: ValkeyServer) -> AsyncIterator[str]:
    """The URL for a user who may announce; `ACL SETUSER restricted resetchannels` takes that away."""
    await valkey.call(
        "ACL", "SETUSER", "restricted", "on", ">p", "~wellnet:*", "+@all", "resetchannels", "&wellnet:*"
    )
    yield f"redis://restricted:p@127.0.0.1:{valkey.port}"
    await valkey.call("ACL", "DELUSER", "restricted")


async def test_a_server_that_takes_no_announcements_stops_the_start(
    make_node: MakeNode, valkey: ValkeyServer, restricted: str
) -> None:
    await valkey.call("ACL", "SETUSER", "restricted", "resetchannels")
    with pytest.raises(ConfigurationError, match="canales"):
        await make_node(restricted)


async def test_what_cannot_be_announced_is_written_once_and_answered(
    make_node: MakeNode, valkey: ValkeyServer, restricted: str
) -> None:
    node = await make_node(restricted)
    await node.broker.append(USER, "op", update(message="before"))
    await valkey.call("ACL", "SETUSER", "restricted", "resetchannels")
    assert (await node.broker.append(USER, "op", update(message="after"))).records
    assert await kept(node.broker) == ["before", "after"]
