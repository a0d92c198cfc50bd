"""The chart for the README: a bar for each server, in one panel for each question."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from bench.servers.catalogue import BENCH

CHART = BENCH / "chart.svg"
WIDTH, LABEL, VALUE, BAR, GAP, HEADING, MARGIN = 760, 130, 110, 18, 6, 44, 16
OURS, OTHERS = "#0b7285", "#adb5bd"
Json = Mapping[str, Any]


class Panel(NamedTuple):
    """A workload, one of its numbers, and how to write it."""

    workload: str
    heading: str
    value: Callable[[Json], float | None]
    unit: str


PANELS = (
    Panel(
        "wide",
        "CPU per delivery at 25,000 a second, µs (less is better)",
        lambda r: r["cpu_us_per_delivery"],
        "µs",
    ),
    Panel(
        "wide-max",
        "Delivered per second, 500,000 offered (more is better)",
        lambda r: r["deliveries_per_s"],
        "",
    ),
    Panel("wide-limit", "Delivered per second, 2,000,000 offered", lambda r: r["deliveries_per_s"], ""),
    Panel(
        "scatter", "Delivered per second to 2,000 users, 100,000 offered", lambda r: r["deliveries_per_s"], ""
    ),
)


def draw(results: Sequence[Json], path: Path = CHART) -> None:
    """Draw what there is of the panels' workloads, the best server first."""
    parts: list[str] = []
    top = MARGIN
    for panel in PANELS:
        values = {str(r["server"]): panel.value(r) for r in results if r["workload"] == panel.workload}
        found = {server: value for server, value in values.items() if value is not None}
        if found:
            parts += _panel(panel, found, top)
            top += HEADING + len(found) * (BAR + GAP) + MARGIN
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" '
        'font-family="system-ui, sans-serif" font-size="13" role="img">\n'
        "<title>wellnet-sse beside other servers, one core each</title>\n"
        f'<rect width="{WIDTH}" height="{top}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(panel: Panel, values: Mapping[str, float], top: int) -> list[str]:
    less_is_better = panel.unit != ""
    servers = sorted(values, key=lambda server: values[server] if less_is_better else -values[server])
    scale = (WIDTH - LABEL - VALUE - 2 * MARGIN) / max(*values.values(), 1e-9)
    parts = [
        f'<text x="{MARGIN}" y="{top + 20}" font-weight="600" fill="#212529">'
        f"{escape(panel.workload)}: {escape(panel.heading)}</text>"
    ]
    for place, server in enumerate(servers):
        y = top + HEADING - 10 + place * (BAR + GAP)
        width = max(1.0, values[server] * scale)
        colour = OURS if server.startswith("wellnet-sse") else OTHERS
        value = f"{values[server]:.1f} µs" if less_is_better else f"{values[server]:,.0f}"
        parts.append(
            f'<text x="{MARGIN + LABEL - 8}" y="{y + 14}" text-anchor="end" fill="#212529">'
            f"{escape(server)}</text>"
            f'<rect x="{MARGIN + LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{colour}"/>'
            f'<text x="{MARGIN + LABEL + width + 6:.1f}" y="{y + 14}" fill="#495057">{value}</text>'
        )
    return parts
