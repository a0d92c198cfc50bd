"""The table: for the terminal, and for README.md."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.results import Refused, Row
from bench.servers.catalogue import BENCH
from bench.workloads import WORKLOADS

README = BENCH / "README.md"
HEAD = ("server", "deliveries/s", "CPU µs each", "p50 ms", "p99 ms", "memory MB", "lost", "of note")

NOTES = {
    "kib_per_stream": "{:.1f} KiB a stream",
    "cpu_share": "{:.1%} of a core",
    "seconds_to_live": "all live after {:.2f} s",
    "refused": "{:.0f} refused",
    "post_p99_ms": "POST p99 {:.0f} ms",
    "kib_per_stalled": "{:.0f} KiB a stalled reader",
    "evicted": "{:.0f} evicted",
    "conflated": "{:.0f} conflated",
    "broker_us": "{:.0f} µs of Valkey an event",
    "late_ms": "publisher up to {:.0f} ms late",
    "readers_ended": "{:.0f} readers ended",
    "operations_without_ending": "{:.0f} operations without an ending",
    "posts_refused": "{:.0f} POSTs refused",
    "operations_failed": "{:.0f} operations failed",
    "disturbed": "something else took {:.0%} of its core",
    "load_disturbed": "something else took {:.0%} of the load's core",
}
ALWAYS = {"refused", "evicted"}
"""A zero of these is worth a word."""

LEAST = {"late_ms": 100.0, "disturbed": 0.05, "load_disturbed": 0.1}
"""Of these, so much is worth a word; of others, anything above 0."""


def cells(row: Row) -> Sequence[str]:
    """A row as text."""
    cpu = row.cpu_us_per_delivery
    notes = [text.format(row.extra[name]) for name, text in NOTES.items() if _is_worth(name, row.extra)]
    return (
        row.server,
        f"{row.deliveries_per_s:,.0f}",
        "" if cpu is None else f"{cpu:.1f}",
        f"{row.p50_ms:.1f}",
        f"{row.p99_ms:.1f}",
        f"{row.rss_mb:.0f}",
        f"{row.lost:,}",
        ", ".join(notes),
    )


def _is_worth(name: str, extra: Mapping[str, float]) -> bool:
    if name not in extra:
        return False
    return name in ALWAYS or extra[name] > LEAST.get(name, 0.0)


def text(rows: Iterable[Row | Refused]) -> str:
    """The rows of one workload, in columns."""
    lines = [HEAD]
    refused = []
    for row in rows:
        if isinstance(row, Refused):
            refused.append(f"  {row.server}: no row: {row.why}")
        else:
            lines.append(tuple(cells(row)))  # type: ignore[arg-type]  # as many as HEAD has
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join(["  ".join(_aligned(line, widths)).rstrip() for line in lines] + refused)


def _aligned(line: Sequence[str], widths: Sequence[int]) -> Iterable[str]:
    for column, (cell, width) in enumerate(zip(line, widths, strict=True)):
        yield cell.ljust(width) if column in {0, len(widths) - 1} else cell.rjust(width)


def markdown(workload: str, rows: Iterable[Row | Refused], *, about: str, verdicts: Iterable[str]) -> str:
    """The section of one workload in README.md."""
    lines = [f"### `{workload}`: {WORKLOADS[workload].what}", "", about, ""]
    lines += ["| " + " | ".join(HEAD) + " |", "|---|" + "--:|" * (len(HEAD) - 2) + "---|"]
    for row in rows:
        if isinstance(row, Refused):
            lines.append(f"| {row.server} |" + " |" * (len(HEAD) - 2) + f" no row: {row.why} |")
        else:
            lines.append("| " + " | ".join(cells(row)) + " |")
    said = [f"- {verdict}" for verdict in verdicts]
    return "\n".join([*lines, "", *said] if said else lines)


def write_section(workload: str, section: str, path: Path = README) -> None:
    """Put a workload's section between its marks, which stay there for the next time."""
    begin, end = f"<!-- {workload} -->", f"<!-- /{workload} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    whole = path.read_text()
    if not pattern.search(whole):
        raise ValueError(f"{path.name} has no {begin}")
    path.write_text(pattern.sub(lambda _: f"{begin}\n{section}\n{end}", whole))
