"""What must be reached, as ratios of rows of one session."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from bench.results import Row
from bench.workloads import WORKLOADS

Rows = Mapping[tuple[str, str], Row]
"""By workload and server."""

OURS, SQL = "wellnet-sse", "wellnet-sse-sql"
P99_MS = 50.0


class Verdict(NamedTuple):
    """One thing that must be reached, and what was."""

    workload: str
    what: str
    value: float
    limit: float
    at_least: bool

    @property
    def reached(self) -> bool:
        """Whether it was."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        verdict = "reached" if self.reached else "NOT REACHED"
        return f"{self.workload}: {self.what} is {self.value:.3g} ({sign} {self.limit:.3g}): {verdict}"


def verdicts(rows: Rows) -> Iterator[Verdict]:
    """Every target whose rows are all there; of the others `unjudged` tells."""
    for check in _CHECKS.values():
        try:
            yield from check(rows)
        except KeyError:
            continue


def unjudged(workload: str, rows: Rows) -> str:
    """Why a workload was not judged in full: the row that is refused, or was not run. Else empty."""
    check = _CHECKS.get(workload)
    try:
        found = [] if check is None else list(check(rows))
    except KeyError as error:
        return f"{workload}: not judged in full, for want of the row {error.args[0][1]}"
    return f"{workload}: not judged, for want of rows" if check is not None and not found else ""


def _most(workload: str, what: str, value: float, limit: float) -> Verdict:
    return Verdict(workload, what, value, limit, at_least=False)


def _least(workload: str, what: str, value: float, limit: float) -> Verdict:
    return Verdict(workload, what, value, limit, at_least=True)


def _cpu(row: Row) -> float:
    return row.cpu_us_per_delivery or float("inf")


def _ratios(
    rows: Rows, workload: str, peers: Mapping[str, float], of: Callable[[Row], float]
) -> Iterator[tuple[str, str, float, float]]:
    for server in (OURS, SQL):
        for peer, limit in peers.items():
            if (workload, server) in rows and (workload, peer) in rows:
                yield server, peer, of(rows[workload, server]) / of(rows[workload, peer]), limit


def _wide(rows: Rows) -> Iterator[Verdict]:
    for server, peer, ratio, limit in _ratios(rows, "wide", {"nchan": 0.9, "node-ws": 0.65}, _cpu):
        yield _most("wide", f"{server}'s CPU per delivery in {peer}'s", ratio, limit)
    for server, peer, ratio, limit in _ratios(rows, "wide", {"nchan": 1.0}, lambda row: row.p99_ms):
        yield _most("wide", f"{server}'s p99 in {peer}'s", ratio, limit)


def _share(row: Row) -> float:
    return row.deliveries_per_s / WORKLOADS[row.workload].offered_per_second


def _wide_max(rows: Rows) -> Iterator[Verdict]:
    ours = rows["wide-max", OURS]
    if _share(ours) >= 0.98:
        yield _least("wide-max", "the share of the offer that is delivered", _share(ours), 0.98)
    else:
        per_second = lambda row: row.deliveries_per_s  # noqa: E731 - once, and short
        for _, peer, ratio, limit in _ratios(rows, "wide-max", {"nchan": 4, "node-ws": 5}, per_second):
            yield _least("wide-max", f"deliveries in {peer}'s", ratio, limit)
    yield _most("wide-max", "p99 in ms", ours.p99_ms, P99_MS)
    yield _most("wide-max", "lost", ours.lost, 0)
    yield _most("wide-max", "memory, in that after warm-up", ours.extra["memory_growth"], 1.2)


def _wide_limit(rows: Rows) -> Iterator[Verdict]:
    ours = rows["wide-limit", OURS]
    yield _most("wide-limit", "p99 in ms", ours.p99_ms, P99_MS)
    ratio = ours.deliveries_per_s / rows["wide-limit", "uws"].deliveries_per_s
    yield _least("wide-limit", "deliveries in µWebSockets'", ratio, 0.9)


def _scatter(rows: Rows) -> Iterator[Verdict]:
    ours = rows["scatter", OURS]
    yield _most("scatter", "p99 in ms", ours.p99_ms, P99_MS)
    ratio = ours.deliveries_per_s / rows["scatter", "node-ws"].deliveries_per_s
    yield _least("scatter", "deliveries in node-ws's", ratio, 0.9)


def _mixed(rows: Rows) -> Iterator[Verdict]:
    yield _most("mixed", "p99 in ms from step.update to the reader", rows["mixed", SQL].p99_ms, P99_MS)
    yield _most("mixed", "lost", rows["mixed", SQL].lost, 0)
    for failed in ("posts_refused", "operations_failed", "operations_without_ending"):
        yield _most("mixed", failed.replace("_", " "), rows["mixed", SQL].extra[failed], 0)


def _idle(rows: Rows) -> Iterator[Verdict]:
    ours = rows["idle", OURS]
    yield _most("idle", "KiB per stream", ours.extra["kib_per_stream"], 24)
    yield _most("idle", "share of a core", ours.extra["cpu_share"], 0.02)


def _storm(rows: Rows) -> Iterator[Verdict]:
    ours = rows["storm", OURS]
    yield _most("storm", "refused", ours.extra["refused"], 0)
    yield _most("storm", "events missed", ours.lost, 0)
    peer = rows["storm", "sse-starlette"].extra["seconds_to_live"]
    yield _most("storm", "seconds in sse-starlette's", ours.extra["seconds_to_live"] / peer, 1)


def _stalled(rows: Rows) -> Iterator[Verdict]:
    ours = rows["stalled", OURS]
    yield _most("stalled", "KiB of memory per stalled reader", ours.extra["kib_per_stalled"], 350)
    yield _most("stalled", "p99 in `wide`'s", ours.p99_ms / rows["wide", OURS].p99_ms, 1.5)


_CHECKS: Mapping[str, Callable[[Rows], Iterator[Verdict]]] = {
    "wide": _wide,
    "wide-max": _wide_max,
    "wide-limit": _wide_limit,
    "scatter": _scatter,
    "mixed": _mixed,
    "idle": _idle,
    "storm": _storm,
    "stalled": _stalled,
}
