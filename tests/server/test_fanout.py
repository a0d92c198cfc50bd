"""What it costs to tell many: one encoding, one write a tick, and for an idle stream no task and no timer."""

import gc
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest
from quart import Quart

from tests.server.inside import Inside, application
from tests.server.peer import TEXT, Peer, masked, request
from wellnet_sse.app import services
from wellnet_sse.progress.events import Status, UserId
from wellnet_sse.progress.items import Item
from wellnet_sse.server.direct import DirectWriter
from wellnet_sse.transports import wire

USER = UserId(7)
EACH = 10
EVENTS = 20
ENCODERS = ("sse_chunk", "documented_frames", "v2_frames")


async def publish(app: Quart, count: int) -> None:
    """Publish as fast as the broker takes it."""
    progress = services(app).progress
    for number in range(count):
        await progress.publish(
            USER, "op", step="copy", status=Status.IN_PROGRESS, message=f"{number} ", progress=None
        )


def join_sse(peer: Peer) -> None:
    peer.send(request(f"/sse/progress?userId={USER}"))
    peer.until(b"event: live")
    peer.until(b"\n\n\r\n")


def join_v2(peer: Peer) -> None:
    peer.upgrade(f"/ws/progress?userId={USER}", Sec_WebSocket_Protocol="wellnet.progress.v2")
    peer.frame()


def join_documented(peer: Peer) -> None:
    peer.upgrade(f"/ws/progress?userId={USER}")


@contextmanager
def readers(server: Inside, app: Quart) -> Iterator[dict[str, list[Peer]]]:
    """`EACH` of each kind, all of them level."""
    joins = {"sse": join_sse, "documented": join_documented, "v2": join_v2}
    with ExitStack() as stack:
        peers: dict[str, list[Peer]] = {}
        for kind, join in joins.items():
            peers[kind] = [stack.enter_context(Peer(server.port)) for _ in range(EACH)]
            for peer in peers[kind]:
                join(peer)
        server.wait(lambda: direct_readers(app) == 3 * EACH)
        yield peers


def direct_readers(app: Quart) -> int:
    channel = services(app).progress.hub._channels.get(USER)
    return 0 if channel is None else channel.all.readers - len(channel.all._others)


def messages_in(chunk: bytes) -> list[str]:
    return [
        json.loads(line[6:])["message"].strip() for line in chunk.split(b"\n") if line.startswith(b"data: ")
    ]


def test_an_event_is_encoded_once_for_all_readers_of_a_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()

    def counting(name: str) -> Callable[[Sequence[Item]], bytes]:
        encode: Callable[[Sequence[Item]], bytes] = getattr(wire, name)

        def counted(items: Sequence[Item]) -> bytes:
            calls[name] += len(items)
            return encode(items)

        return counted

    with application(streams_per_user=100, history_events=1000) as (server, app):
        for name in ENCODERS:
            monkeypatch.setattr(wire, name, counting(name))
        with readers(server, app) as peers:
            calls.clear()
            for number in range(EVENTS):
                server.run(publish(app, 1))
                server.wait(lambda: direct_readers(app) == 3 * EACH)
                for kind, group in peers.items():
                    for peer in group:
                        assert b'"message":"0 "' in (
                            peer.chunk() if kind == "sse" else peer.frame().payload
                        ), number
        assert calls == dict.fromkeys(ENCODERS, EVENTS), "and not for each of their readers"


def test_a_lone_event_is_one_write_and_a_burst_is_few() -> None:
    with application(streams_per_user=100) as (server, app), readers(server, app) as peers:
        for _ in range(3):  # at rest each is told by itself
            server.run(publish(app, 1))
            for peer in peers["sse"]:
                assert messages_in(peer.chunk()) == ["0"]
        server.run(publish(app, 200))
        for peer in peers["sse"]:
            told: list[str] = []
            writes = 0
            while len(told) < 200:
                told += messages_in(peer.chunk())
                writes += 1
            assert told == [str(number) for number in range(200)]
            assert writes < 100, "what comes within a tick goes out together"


def test_under_load_a_reader_is_written_to_once_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    written: Counter[int] = Counter()
    flushes = Counter[str]()
    write = DirectWriter.write

    def counted(self: DirectWriter, data: bytes) -> None:
        written[id(self)] += 1
        write(self, data)

    with application(streams_per_user=100) as (server, app), readers(server, app) as peers:
        hub = services(app).progress.hub
        flush = hub._flush
        monkeypatch.setattr(DirectWriter, "write", counted)
        monkeypatch.setattr(hub, "_flush", lambda: (flushes.update(["all"]), flush()))
        server.run(publish(app, 200))
        for peer in peers["sse"]:
            seen = 0
            while seen < 200:
                seen += len(messages_in(peer.chunk()))
        assert len(written) == 3 * EACH
        assert set(written.values()) == {flushes["all"]}
        assert flushes["all"] < 100


def timers() -> int:
    """How many timers uvloop has set."""
    gc.collect()
    return sum(1 for it in gc.get_objects() if type(it).__name__ == "TimerHandle")


def test_an_idle_stream_has_no_task_and_no_timer() -> None:
    """But for the one that reads from its connection, and sees that the peer goes."""
    with application(streams_per_user=100, heartbeat_seconds=0.5) as (server, app):
        server.wait(lambda: len(server.tasks()) > 0)
        tasks, before = server.tasks(), server.call(timers)
        with ExitStack() as stack:
            peers = [stack.enter_context(Peer(server.port)) for _ in range(50)]
            for peer in peers:
                join_sse(peer)
            server.wait(lambda: direct_readers(app) == 50)
            server.wait(lambda: len(server.tasks()) == len(tasks) + 50, server.tasks)
            assert server.call(timers) <= before
            for peer in peers:
                assert peer.chunk() == b":\n\n", "the one clock of all beats for it"
            server.wait(lambda: len(server.tasks()) == len(tasks) + 50, server.tasks)
            server.run(publish(app, 1))
            for peer in peers:
                chunk = peer.chunk()
                while chunk == b":\n\n":
                    chunk = peer.chunk()
                assert messages_in(chunk) == ["0"]
            server.wait(lambda: len(server.tasks()) == len(tasks) + 50, server.tasks)
        server.wait_for_tasks(tasks)


def test_a_socket_that_is_asked_something_is_answered_between_direct_writes() -> None:
    """What goes through `send` and what goes past it never cut into each other."""
    with application(streams_per_user=100) as (server, app), Peer(server.port) as peer:
        join_v2(peer)
        server.wait(lambda: direct_readers(app) == 1)
        wrong = masked(TEXT, b'{"type":"no such thing"}')
        for number in range(20):
            peer.send(wrong)
            server.run(publish(app, 5))
            kinds = Counter(json.loads(peer.frame().payload)["event"] for _ in range(6))
            assert kinds == {"progress": 5, "error": 1}, number
