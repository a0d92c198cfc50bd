"""Announcements that are lost: what they told is found by asking."""

from collections.abc import Callable
from random import Random

import pytest

from tests.brokers.changes import USER, update
from tests.brokers.valkey.conftest import MakeNode, Node
from tests.progress.reading import Reader, record_of, seqs
from wellnet_sse.progress.events import Ending
from wellnet_sse.progress.operation import Operation


def lose_announcements(node: Node, monkeypatch: pytest.MonkeyPatch, is_lost: Callable[[], bool]) -> list[str]:
    """Let some announcements never reach the node; gives the channels of those that were lost."""
    lost: list[str] = []
    heard = node.broker._watches._announced

    def announced(channel: str, message: bytes) -> None:
        if is_lost():
            lost.append(channel)
        else:
            heard(channel, message)

    monkeypatch.setattr(node.broker._watches, "_announced", announced)
    return lost


@pytest.mark.parametrize("share", [0.3, 0.9, 1.0])
async def test_holes_that_lost_announcements_leave_are_found_and_filled(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    here, there = await make_node(), await make_node()
    random = Random(f"lost {share}")  # noqa: S311 - seeded, so that a run can be repeated
    lost = lose_announcements(there, monkeypatch, lambda: random.random() < share)
    async with Reader(there.hub.subscribe(USER)) as reader:
        await reader.until_live()
        for number in range(40):
            await here.broker.append(USER, f"op{number % 4}", update(message=f"{number}"))
        await reader.until(40)
        assert seqs(reader.items) == list(range(1, 41))
        assert lost


async def test_an_ending_whose_announcement_is_lost_is_told_all_the_same(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing follows it that would show the hole."""
    here, there = await make_node(), await make_node()
    lost = lose_announcements(there, monkeypatch, lambda: True)
    await here.broker.append(USER, "op", update())
    async with Reader(there.hub.subscribe(USER, operation_id="op")) as one:
        await one.until_live()
        await here.broker.append(USER, "op", Operation.stop)
        (ending,) = map(record_of, await one.rest())
        assert ending is not None
        assert isinstance(ending.event, Ending)
        assert lost


async def test_a_publisher_hears_of_its_event_only_after_its_readers_even_behind_a_lost_one(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = await make_node(), await make_node()
    lose_announcements(there, monkeypatch, lambda: True)
    fed: list[int] = []
    async with Reader(there.hub.subscribe(USER)) as reader:
        await reader.until_live()
        there.broker.attach(lambda _user, records: fed.extend(seqs(records)))
        await here.broker.append(USER, "op", update())
        await there.broker.append(USER, "op", update())
        assert fed == [1, 2]
