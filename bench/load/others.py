"""`idle` and `storm`: what readers cost while nothing happens, and when all of them come at once."""

import json
import time

from bench.load.broadcast import make_readers, measure, watch_memory
from bench.load.client import Client, Orders
from bench.load.counting import percentile
from bench.load.meter import Meter
from bench.load.spec import Report, Spec

STORM_SECONDS = 120.0


def idle(spec: Spec, orders: Orders) -> Report:
    """Open streams, let them settle, and look at memory and CPU while only heartbeats pass."""
    client, report = Client(spec.port), Report()
    client.add(orders)
    meter = Meter(spec.pids, cores=(spec.cores[0], spec.cores[1]))
    readers = make_readers(spec)
    report.rss_before = meter.memory_bytes()
    report.open_seconds = client.open(readers)
    client.run_until(time.monotonic_ns() + int(spec.warmup_seconds * 1e9))
    report.rss_start = report.rss_peak = meter.memory_bytes()
    watch_memory(client, meter, report)
    before = meter.read()
    client.run_until(before.at_ns + int(spec.window_seconds * 1e9))
    measure(report, before, meter.read())
    report.rss_end = meter.memory_bytes()
    report.ended, report.ended_count = client.lost_readers[:5], len(client.lost_readers)
    report.extra = {
        "kib_per_stream": (report.rss_end - report.rss_before) / len(readers) / 1024,
        "cpu_share": report.cpu_seconds / report.window_seconds,
    }
    return report


def storm(spec: Spec, orders: Orders) -> Report:
    """Open readers, close them, miss some events, and reconnect all at once, until the last is live."""
    client, report = Client(spec.port), Report()
    client.add(orders)
    client.wait_live = spec.replays
    meter = Meter(spec.pids, cores=(spec.cores[0], spec.cores[1]))
    readers = make_readers(spec)
    report.rss_before = meter.memory_bytes()
    client.open(readers)
    refused = len(client.lost_readers)
    for reader in readers:
        client.close(reader)
    print(json.dumps({"connected": True}), flush=True)
    while not orders.lines:
        client.turn(0.1)
    expected = int(json.loads(orders.lines.pop(0))["expected"])
    seen = client.total
    report.rss_start = meter.memory_bytes()
    before = meter.read()
    began_ns = time.monotonic_ns()
    report.open_seconds = client.open(readers, at_once=len(readers))
    after = meter.read()
    measure(report, before, after)
    report.rss_end = report.rss_peak = meter.memory_bytes()
    report.deliveries = client.total - seen
    live_ms = sorted((reader.live_at - began_ns) / 1e6 for reader in readers if reader.live_at)
    report.p50_ms, report.p99_ms = percentile(live_ms, 0.5), percentile(live_ms, 0.99)
    report.max_ms, report.samples = percentile(live_ms, 1.0), len(live_ms)
    report.total = report.deliveries
    report.ended = client.lost_readers[:5]
    report.ended_count = len(client.lost_readers)
    report.extra = {"refused": report.ended_count - refused, "missed": expected - report.deliveries}
    return report
