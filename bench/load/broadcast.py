"""`wide*`, `scatter`, `stalled` and `mixed`: readers wait, events come, and everything is counted."""

import json
import time

from bench.load.client import Client, Orders
from bench.load.counting import MARKER, percentile
from bench.load.meter import Cost, Meter
from bench.load.posters import Posters
from bench.load.readers import Reader
from bench.load.spec import Report, Spec
from bench.load.strict import witness

SAMPLES_A_SECOND = 25_000
LEAST_SAMPLED = 5
SILENCE_SECONDS = 3.0
DRAIN_SECONDS = 60.0
MEMORY_SECONDS = 1.0
STALL_AFTER_SECONDS = 3.0
REASONS_KEPT = 5


def make_readers(spec: Spec) -> list[Reader]:
    """The readers of a round: users in turn, and transports in turn; enough of them sampled."""
    ways = spec.transports
    # In turn within a user's readers, too, so that each user has both.
    kinds = (ways[(n + n // spec.users) % len(ways)] for n in range(spec.readers))
    readers = [Reader(1 + n % spec.users, websocket=kind == "ws") for n, kind in enumerate(kinds)]
    each = max(spec.rate / spec.users, 1e-9)
    sampled = len(readers) if spec.mode == "mixed" else max(LEAST_SAMPLED, int(SAMPLES_A_SECOND / each))
    step = max(1, len(readers) // sampled)
    if len(ways) > 1 and step % len(ways) == 0:
        step += 1  # a step that passes over one of the transports would sample the other alone
    for reader in readers[::step]:
        reader.sampled = True
    for reader in readers[: len(ways)]:
        reader.sampled = reader.witness = True
    return readers


def broadcast(spec: Spec, orders: Orders) -> Report:
    """Run one round. The harness says when to begin, and at the end how many events were published."""
    client, report = Client(spec.port), Report()
    client.add(orders)
    meter = Meter(
        spec.pids,
        cores=(spec.cores[0], spec.cores[1]),
        beside=() if spec.publisher_pid is None else (spec.publisher_pid,),
    )
    readers = make_readers(spec)
    report.rss_before = meter.memory_bytes()
    report.open_seconds = client.open(readers)
    if client.lost_readers:
        raise RuntimeError(f"{len(client.lost_readers)} readers were not opened: {client.lost_readers[:3]}")
    start_ns = int(_order(client, orders, tell="connected")["start_ns"])
    posters = Posters(client, spec) if spec.in_flight else None
    if posters is not None:
        posters.begin()
    warm_ns = start_ns + int(spec.warmup_seconds * 1e9)
    if spec.stalled:
        client.run_until(start_ns + int(STALL_AFTER_SECONDS * 1e9))
        report.extra["rss_before_stalled"] = meter.memory_bytes()
        _stall(client, spec)
        watch_memory(client, meter, report)
    client.run_until(warm_ns)
    report.rss_start = report.rss_peak = max(report.rss_peak, meter.memory_bytes())
    if not spec.stalled:
        watch_memory(client, meter, report)
    before, seen = meter.read(), client.total
    client.measuring = True
    client.run_until(warm_ns + int(spec.window_seconds * 1e9))
    client.measuring = False
    measure(report, before, meter.read())
    report.deliveries = client.total - seen
    report.rss_end = meter.memory_bytes()
    report.rss_peak = max(report.rss_peak, report.rss_end)
    if posters is not None:
        posters.finish(report)
    expected = int(_order(client, orders, tell="measured")["expected"])
    _drain(client, expected)
    _summarize(client, report)
    for reader in readers:
        if reader.witness:
            report.witness.append(_testify(reader))
    return report


def watch_memory(client: Client, meter: Meter, report: Report) -> None:
    """Note the highest memory from now on."""

    def look() -> None:
        report.rss_peak = max(report.rss_peak, meter.memory_bytes())

    client.every.append((MEMORY_SECONDS, look))


def measure(report: Report, before: Cost, after: Cost) -> None:
    """Fill in what the window cost."""
    elapsed_ns = after.at_ns - before.at_ns
    report.window_seconds = elapsed_ns / 1e9
    report.cpu_seconds = (after.cpu_ns - before.cpu_ns) / 1e9
    report.core_busy_seconds = (after.core_busy_ns - before.core_busy_ns) / 1e9
    report.load_busy_seconds = (after.load_busy_ns - before.load_busy_ns) / 1e9
    report.client_share = (after.own_cpu_ns - before.own_cpu_ns) / elapsed_ns


def _order(client: Client, orders: Orders, *, tell: str) -> dict[str, float]:
    """Tell the harness how far it is and wait, reading on, for its next line."""
    print(json.dumps({tell: True}), flush=True)
    while not orders.lines:
        client.turn(0.1)
    order: dict[str, float] = json.loads(orders.lines.pop(0))
    return order


def _stall(client: Client, spec: Spec) -> None:
    for number in range(spec.stalled):
        reader = Reader(1 + number % spec.users, websocket=spec.transports[0] == "ws")
        reader.stalled = True
        client.start(reader)


def _drain(client: Client, expected: int) -> None:
    """Read what is still on its way: to the last expected event, or until nothing comes for a while."""
    deadline = time.monotonic() + DRAIN_SECONDS
    seen, last = client.total, time.monotonic()
    while client.total < expected:
        client.turn(0.1)
        now = time.monotonic()
        if client.total != seen:
            seen, last = client.total, now
        if now - last > SILENCE_SECONDS or now > deadline:
            return


def _summarize(client: Client, report: Report) -> None:
    ordered = sorted(client.latencies_ns)
    report.total = client.total
    report.samples = len(ordered)
    report.p50_ms = percentile(ordered, 0.50) / 1e6
    report.p99_ms = percentile(ordered, 0.99) / 1e6
    report.max_ms = percentile(ordered, 1.0) / 1e6
    report.ended += client.lost_readers[:REASONS_KEPT]
    report.ended_count = len(client.lost_readers)


def _testify(reader: Reader) -> dict[str, float | str]:
    raw = bytes(reader.raw)
    try:
        found = witness(raw, websocket=reader.websocket, chunked=reader.chunked)
    except ValueError as error:
        return {"error": str(error)}
    return {"events": found.events, "counted": raw.count(MARKER), "bytes_per_event": found.bytes_per_event}
