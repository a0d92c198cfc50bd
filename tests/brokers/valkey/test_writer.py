"""Appends whose answer is lost, or that are refused for now."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.brokers.changes import USER, begin_run, name, seqs, update
from tests.brokers.valkey.conftest import MakeNode, Node
from tests.brokers.valkey.history import kept
from tests.harness import ValkeyServer, eventually
from wellnet_sse.brokers.valkey import scripts
from wellnet_sse.brokers.valkey.link import Call
from wellnet_sse.brokers.valkey.shards import AwayError, Reply
from wellnet_sse.errors import StepCompletedError, UnavailableError
from wellnet_sse.progress.broker import Change, IdempotencyKey
from wellnet_sse.progress.events import Status


def lose_answers(node: Node, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let the store write the next appends, and their answers never come."""
    run = node.broker._link.run
    left = count

    async def lossy(calls: Sequence[Call]) -> list[Reply]:
        nonlocal left
        replies = await run(calls)
        if left and calls[0].script is scripts.APPEND:
            left -= 1
            raise AwayError
        return replies

    monkeypatch.setattr(node.broker._link, "run", lossy)


@pytest.mark.parametrize("key", [None, IdempotencyKey("k", "print")])
async def test_an_append_whose_answer_is_lost_is_there_once_and_answered_as_it_was_written(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch, key: IdempotencyKey | None
) -> None:
    node = await make_node()
    lose_answers(node, monkeypatch, 1)
    fed: list[int] = []
    node.broker.attach(lambda _user, records: fed.extend(seqs(records)))
    appended = await node.broker.append(USER, "op", update(message="once"), key=key)
    assert appended.created
    assert seqs(appended.records) == fed == [1]
    assert await kept(node.broker) == ["once"]


async def test_each_of_many_whose_answers_are_lost_is_there_once(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await make_node()
    lose_answers(node, monkeypatch, 3)
    await asyncio.gather(*(node.broker.append(USER, f"op{n % 3}", update(message=f"{n}")) for n in range(12)))
    assert sorted(await kept(node.broker), key=int) == [f"{n}" for n in range(12)]


@pytest.mark.parametrize("change", [name(), begin_run("r1")])
async def test_an_append_without_entries_is_done_once_too(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    node = await make_node()
    lose_answers(node, monkeypatch, 1)
    appended = await node.broker.append(USER, "op", change)
    assert (appended.created, list(appended.records)) == (True, [])
    assert node.broker.active_operations() >= 0
    await node.broker.silent(0)
    assert node.broker.active_operations() == 1


async def test_one_in_doubt_that_was_written_is_not_refused_for_what_it_did_itself(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged again by what is there now, `completed` would be one too many."""
    node = await make_node()
    lose_answers(node, monkeypatch, 1)
    assert (await node.broker.append(USER, "op", update(status=Status.COMPLETED))).records
    with pytest.raises(StepCompletedError):
        await node.broker.append(USER, "op", update(status=Status.COMPLETED))


async def test_a_store_without_room_refuses_and_goes_on_when_it_has_some(
    make_node: MakeNode, own_valkey: ValkeyServer
) -> None:
    node = await make_node(own_valkey.url, wait_seconds=0.3)
    await node.broker.append(USER, "op", update(message="before"))
    await own_valkey.call("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(UnavailableError):
        await node.broker.append(USER, "op", update(message="refused"))
    with pytest.raises(UnavailableError):
        await node.broker.check()
    assert await kept(node.broker) == ["before"]
    await own_valkey.call("CONFIG", "SET", "maxmemory", "0")

    async def is_taken() -> bool:
        key = IdempotencyKey("k", "print")
        return (await node.broker.append(USER, "op", update(message="after"), key=key)).cursor is not None

    assert await eventually(is_taken)
    await node.broker.check()
    assert await kept(node.broker) == ["before", "after"]
