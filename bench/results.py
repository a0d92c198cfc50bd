"""Rounds become rows: the median of the rounds, and a reason where there is no row."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.load.spec import Report
from bench.servers.catalogue import BENCH
from bench.workloads import WORKLOADS, Workload

RESULTS = BENCH / "results.json"
SATURATED = 0.9
"""Of its core: a load client that is busier measures itself."""

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Row:
    """One server under one workload: the medians of its rounds. `extra` has what the workload itself asks."""

    workload: str
    server: str
    deliveries_per_s: float
    cpu_us_per_delivery: float | None
    p50_ms: float
    p99_ms: float
    rss_mb: float
    lost: int
    """In all rounds together: neither delivered nor conflated."""
    extra: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """The row in results.json."""
        cpu = self.cpu_us_per_delivery
        return {
            "workload": self.workload,
            "server": self.server,
            "deliveries_per_s": round(self.deliveries_per_s),
            "cpu_us_per_delivery": None if cpu is None else round(cpu, 2),
            "p50_ms": round(self.p50_ms, 2),
            "p99_ms": round(self.p99_ms, 2),
            "rss_mb": round(self.rss_mb, 1),
            "lost": self.lost,
        }


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that is not reported, and why."""

    workload: str
    server: str
    why: str


def refusal(raw: dict[str, Any]) -> str:
    """Why a round's numbers are worth nothing; empty where they are good."""
    if "failed" in raw:
        return str(raw["failed"])
    report = Report(**raw["report"])
    if report.client_share > SATURATED:
        return f"the load client was saturated ({report.client_share:.0%} of its core)"
    if not report.samples and raw["workload"] != "idle":
        return "nothing was delivered in the window"
    for seen in report.witness:
        if "error" in seen:
            return f"not what was asked for: {seen['error']}"
        if raw["workload"] != "mixed" and not 0 <= seen["counted"] - seen["events"] <= 1:
            return f"the count is wrong: {seen}"
    return ""


def row_of(rounds: Sequence[dict[str, Any]]) -> Row | Refused:
    """The row of the rounds of one server under one workload."""
    workload, server = WORKLOADS[rounds[0]["workload"]], rounds[0]["server"]
    for raw in rounds:
        if why := refusal(raw):
            return Refused(workload.name, server, why)
    reports = [Report(**raw["report"]) for raw in rounds]
    extras = [_extra(workload, raw, report) for raw, report in zip(rounds, reports, strict=True)]
    costs = [report.cpu_seconds * 1e6 / report.deliveries for report in reports if report.deliveries > 0]
    return Row(
        workload.name,
        server,
        median(report.deliveries / report.window_seconds for report in reports),
        median(costs) if costs else None,
        median(report.p50_ms for report in reports),
        median(report.p99_ms for report in reports),
        max(report.rss_peak for report in reports) / MIB,
        sum(_lost(workload, raw, report) for raw, report in zip(rounds, reports, strict=True)),
        {name: median(extra.get(name, 0.0) for extra in extras) for name in sorted(extras[0])},
    )


def _lost(workload: Workload, raw: dict[str, Any], report: Report) -> int:
    told = raw["published"]
    if workload.mode == "idle":
        return report.ended_count
    if workload.mode == "storm":
        return int(max(0.0, report.extra["missed"]))
    expected = int(told["published"] * workload.deliveries_per_event)
    # Where readers stall it is for them that updates are conflated, and they are not counted.
    conflated = 0 if workload.stalled else int(told.get("conflated", 0))
    return expected - report.total - conflated


def _extra(workload: Workload, raw: dict[str, Any], report: Report) -> dict[str, float]:
    extra = dict(report.extra)
    extra["client_share"] = report.client_share
    extra["disturbed"] = (report.core_busy_seconds - report.cpu_seconds) / report.window_seconds
    if workload.mode == "broadcast":
        extra["load_disturbed"] = report.load_busy_seconds / report.window_seconds - report.client_share
        extra["conflated"] = float(raw["published"].get("conflated", 0))
        extra["late_ms"] = raw["published"]["late_ms"]
        if "broker_us" in raw["published"]:
            extra["broker_us"] = raw["published"]["broker_us"]
            extra["disturbed"] -= extra["broker_us"] * workload.rate / 1e6  # the broker shares the core
        extra["memory_growth"] = report.rss_peak / max(1, report.rss_start)
        extra["readers_ended"] = report.ended_count
    if workload.stalled:
        before = extra.pop("rss_before_stalled")
        extra["kib_per_stalled"] = max(0.0, report.rss_peak - before) / workload.stalled / 1024
        if "readers" in raw["published"]:  # a peer that reads nothing does not see the end of its connection
            extra["evicted"] = workload.readers + workload.stalled - raw["published"]["readers"]
    if workload.mode == "storm":
        extra["seconds_to_live"] = report.open_seconds
    return extra


def write(rows: Iterable[Row], path: Path = RESULTS) -> list[dict[str, Any]]:
    """Put a session's rows into results.json. All rows of a workload are of one session; others stay."""
    new = [row.as_json() for row in rows]
    fresh = {row["workload"] for row in new}
    old = json.loads(path.read_text()) if path.exists() else []
    merged: list[dict[str, Any]] = [row for row in old if row["workload"] not in fresh] + new
    order = list(WORKLOADS)
    merged.sort(key=lambda row: order.index(str(row["workload"])))
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in merged)
    path.write_text(f"[\n{lines}\n]\n")
    return merged
