"""A cursor that history cannot serve is always answered by a gap and the true state, never by silence."""

import asyncio
from random import Random

import pytest

from tests.chaos.checker import Fault, check
from tests.chaos.ledger import seq_of, split_cursor
from tests.chaos.resuming import Watch, resume, verify
from tests.chaos.world import OTHER, USER, operations, resume_everywhere, watches, world
from tests.conftest import MakeServer

pytestmark = pytest.mark.slow

OPERATIONS = 10
"""Fewer than are kept of those that have ended: as many as there may be events."""

TRIM_SECONDS = 25.0
"""The server forgets about every ten seconds; a busy machine takes longer."""


async def test_trimmed_history_is_told_by_a_gap_while_it_is_trimmed_and_after_restarts(
    make_server: MakeServer,
) -> None:
    server = await make_server(demo=False, heartbeat_seconds=1, history_events=20)
    async with world(server) as it:
        await it.publish(operations=3, seed=1)
        epoch = split_cursor(it.truth()[-1].cursor)[0]
        random = Random(5)  # noqa: S311 - seeded, so that a run can be repeated
        async with asyncio.timeout(TRIM_SECONDS):
            told = await resume(server.port, Watch(USER), f"{epoch}-0")
            while told.gap is None:
                if len(operations(it.truth())) < OPERATIONS:
                    await it.publish(operations=1, seed=10 + len(it.truth()))
                for watch in watches(random.sample(operations(it.truth()), 2)):
                    cursor = f"{epoch}-{random.randint(0, len(it.truth()))}"
                    verify(await resume(server.port, watch, cursor), it.truth(), watch, cursor)
                told = await resume(server.port, Watch(USER), f"{epoch}-0")
        truth = it.truth()
        floor = seq_of(told.gap["earliest"]) - 1
        seqs = {0, floor - 1, floor, floor + 1, len(truth), *random.sample(range(len(truth)), 5)}
        cursors = [f"{epoch}-{seq}" for seq in sorted(seqs)]
        for _ in range(2):
            for watch, cursor, answer in await resume_everywhere(server.port, truth, cursors):
                seq = seq_of(cursor)
                mine = [one for one in truth if one.data["operation_id"] == watch.operation_id]
                lost = [one for one in mine if seq < seq_of(one.cursor) <= floor]
                due = seq < floor if watch.operation_id is None else bool(lost)
                assert (answer.gap is not None) == due, f"{watch} {cursor} {floor} {answer}"
            await server.kill()
            await server.start()
        assert not [one for one in check(it.ledger, [it.watchers[USER].log]) if one.fault is not Fault.GAP]


FORGED = [
    "-", "0", "x", "gap", "{epoch}", "{epoch}-", "-1", "{epoch}--1", "{epoch}-01", "{epoch}-+1", "{epoch}- 1",
    "{epoch}-1.0", "{epoch}-1e1", "{epoch}-0x1", "{epoch}-1-1", "{epoch}-1 x", "{epoch}-{newest}9",
    "{epoch}-9223372036854775807", "{epoch}-9223372036854775808", "{epoch}-99999999999999999999",
    "{epoch}" + "0" * 40 + "-1", "null", "undefined", "[object Object]", "';--", "%00", "{epoch}-1," * 300,
    "ffffffff-1", "0-0", "ñ-1", "{epoch}-\u0661", "{epoch}\u2013{newest}", "{upper}-1", "{other}",
]  # fmt: skip


async def test_a_forged_cursor_is_answered_by_a_gap(make_server: MakeServer) -> None:
    """One of another user as well: its number says nothing about this one's history."""
    server = await make_server(demo=False, heartbeat_seconds=1)
    async with world(server) as it:
        await it.publish(operations=3, seed=1)
        await it.publish(operations=1, seed=1, user=OTHER)
        truth = it.truth()
        epoch, newest = split_cursor(truth[-1].cursor)
        other = [one.cursor for one in it.truth(OTHER)][:: len(it.truth(OTHER)) // 3]
        assert len(it.truth(OTHER)) < len(truth), "else they would be from the future"
        forged = [
            text.format(epoch=epoch, newest=newest, upper=epoch.upper(), other=other[0]) for text in FORGED
        ]
        for _, _, told in await resume_everywhere(server.port, truth, [*forged, *other]):
            assert told.gap is not None, told
