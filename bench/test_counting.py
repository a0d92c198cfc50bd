"""The load client counts what is there, however the bytes were cut: `pytest bench/test_counting.py`."""

import random
import time

import pytest

from bench.load.broadcast import make_readers
from bench.load.client import Client
from bench.load.counting import (
    MARKER,
    SSE_LAST,
    WEBSOCKET_LAST,
    MarkerCounter,
    StampReader,
    percentile,
)
from bench.load.spec import Spec
from bench.load.strict import witness
from bench.servers.common import Offer, dumps, event
from bench.servers.publisher import publish_all

EVENTS = 200
OFFER = Offer(0, EVENTS, 1.0, 1)


def _texts() -> list[bytes]:
    return [dumps(event(OFFER, number)).encode() for number in range(EVENTS)]


def _sse(texts: list[bytes]) -> bytes:
    blocks = [b"id: k3f9-%d\ndata: %b\n\n" % (number + 1, text) for number, text in enumerate(texts)]
    blocks.insert(7, b":\n\n")
    blocks.insert(0, b"retry: 2000\n\nevent: live\nid: k3f9-0\ndata: {}\n\n")
    return b"".join(b"%x\r\n%b\r\n" % (len(block), block) for block in blocks)


def _websocket(texts: list[bytes]) -> bytes:
    frames = [b"\x81\x7e" + len(text).to_bytes(2, "big") + text for text in texts]
    frames.insert(5, b"\x89\x00")  # a ping
    return b"".join(frames)


@pytest.mark.parametrize("websocket", [False, True])
@pytest.mark.parametrize("longest", [1, 7, 300, 5000])
def test_every_event_is_counted_once_wherever_the_bytes_are_cut(*, websocket: bool, longest: int) -> None:
    texts = _texts()
    raw = _websocket(texts) if websocket else _sse(texts)
    counter, stamps = MarkerCounter(WEBSOCKET_LAST if websocket else SSE_LAST), StampReader()
    cut = random.Random(longest)  # noqa: S311 - a test's own
    counted, at = 0, 0
    moments: list[int] = []
    while at < len(raw):
        piece = raw[at : at + cut.randint(1, longest)]
        buffer = bytearray(piece + b"x" * 50 + MARKER)  # what an earlier, longer read has left behind
        counted += counter.count(buffer, len(piece))
        moments += stamps.stamps(piece)
        at += len(piece)
    assert counted == EVENTS
    assert len(moments) == EVENTS
    assert moments == sorted(moments)


@pytest.mark.parametrize("websocket", [False, True])
def test_the_strict_witness_agrees_with_the_fast_count(*, websocket: bool) -> None:
    texts = _texts()
    raw = _websocket(texts) if websocket else _sse(texts)
    found = witness(raw, websocket=websocket, chunked=not websocket)
    assert found.events == raw.count(MARKER) == EVENTS
    assert 230 <= found.bytes_per_event <= 270  # "about 250 bytes"
    half = witness(raw[: len(raw) // 2], websocket=websocket, chunked=not websocket)
    assert 0 <= raw[: len(raw) // 2].count(MARKER) - half.events <= 1


def test_the_witness_refuses_what_is_not_the_documented_message() -> None:
    with pytest.raises(ValueError, match="documented"):
        witness(b'data: {"step":"x","timestamp":""}\n\n', websocket=False, chunked=False)


def test_an_event_carries_the_moment_when_it_was_made() -> None:
    before = time.monotonic_ns()
    (moment,) = StampReader().stamps(dumps(event(OFFER, 3)).encode())
    assert before <= moment <= time.monotonic_ns()


def test_percentiles() -> None:
    assert percentile([], 0.99) == 0
    assert percentile(list(range(1000)), 0.99) == 990
    assert percentile([5.0], 0.5) == 5


def _spec(readers: int, users: int, rate: float, transports: list[str]) -> Spec:
    return Spec("broadcast", 0, [], [0, 1], readers, users, transports, 1.0, 1.0, rate)


def test_sampled_readers_stay_few_and_are_of_both_transports() -> None:
    readers = make_readers(_spec(2000, 2000, 100_000, ["sse", "ws"]))
    sampled = [reader for reader in readers if reader.sampled]
    assert 300 <= len(sampled) <= 600
    assert 0.4 < sum(reader.websocket for reader in sampled) / len(sampled) < 0.6


def test_each_user_of_two_readers_has_both_transports() -> None:
    readers = make_readers(_spec(1000, 500, 0, ["sse", "ws"]))
    assert {(reader.user, reader.websocket) for reader in readers} == {
        (user, websocket) for user in range(1, 501) for websocket in (False, True)
    }


async def test_a_publisher_publishes_its_offer_once_and_in_time() -> None:
    offer = Offer(time.monotonic_ns(), 1000, 0.2, 1)
    numbers: list[int] = []

    async def publish(number: int) -> None:
        numbers.append(number)

    published = await publish_all(offer, publish)
    assert published.events == len(numbers) == len(set(numbers))
    assert 150 <= len(numbers) <= 200
    for lane in range(offer.lanes):  # an operation's own events stay in order
        mine = [number for number in numbers if number % offer.lanes == lane]
        assert mine == sorted(mine)


def test_a_client_without_readers_opens_at_once() -> None:
    assert Client(9).open([]) < 1
