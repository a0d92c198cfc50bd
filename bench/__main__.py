"""`bench/run [WORKLOAD...] [--servers A,B] [--rounds N]`: run servers in turn, and say what came of it."""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import chart, machine, peers, results, table, targets
from bench.profiling import dearest
from bench.servers.catalogue import BENCH, SERVERS
from bench.session import FailedError, run_round
from bench.workloads import WORKLOADS, Workload

RAW = BENCH / "raw"
ROUNDS = 3


def main() -> int:
    """Run what the command line asks for."""
    options = _options()
    cores = _cores()
    every = [name for name, workload in WORKLOADS.items() if not workload.measures_client]
    chosen = [WORKLOADS[name] for name in options.workloads or every]
    if options.seconds:
        chosen = [replace(one, window_seconds=options.seconds) for one in chosen]
    wanted = options.servers.split(",") if options.servers else list(SERVERS)
    if options.profile:
        peers.install_profiler()
    missing = peers.install(name for name in wanted if any(name in one.servers for one in chosen))
    rows: dict[tuple[str, str], results.Row] = {}
    sections: list[tuple[str, list[results.Row | results.Refused], str]] = []
    for workload in chosen:
        names = [name for name in workload.servers if name in wanted]
        raw = _rounds(workload, names, options, cores, missing)
        found = [results.row_of(raw[name]) for name in names]
        rows |= {(row.workload, row.server): row for row in found if isinstance(row, results.Row)}
        sections.append((workload.name, found, _about(raw, workload, options.rounds)))
        print(f"\n{workload.name}: {workload.what}\n\n{table.text(found)}\n", flush=True)
    for verdict in targets.verdicts(rows):
        print(verdict)
    for name, _, _ in sections:
        print(targets.unjudged(name, rows))
    if options.rounds < ROUNDS or options.seconds or options.servers or options.profile:
        print("\nNot written down: that takes all servers, whole windows and at least 3 rounds.")
        return 0
    for name, found, about in sections:
        said = [str(verdict) for verdict in targets.verdicts(rows) if verdict.workload == name]
        said += filter(None, [targets.unjudged(name, rows)])
        table.write_section(name, table.markdown(name, found, about=about, verdicts=said))
    chart.draw(results.write(row for row in rows.values() if not WORKLOADS[row.workload].measures_client))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/run", description="Measure speed, beside servers of its kind."
    )
    parser.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)}; default: all"
    )
    parser.add_argument("--servers", help="only these, separated by commas (results are not written)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each server runs (3)")
    parser.add_argument(
        "--profile", action="store_true", help="py-spy on the server meanwhile (results are not written)"
    )
    parser.add_argument(
        "--seconds", type=float, help="a shorter window, to try things (results are not written)"
    )
    options = parser.parse_args()
    if unknown := set(options.workloads) - WORKLOADS.keys():
        parser.error(f"no such workload: {', '.join(sorted(unknown))}")
    if unknown := set(filter(None, (options.servers or "").split(","))) - SERVERS.keys():
        parser.error(f"no such server: {', '.join(sorted(unknown))}")
    return options


def _cores() -> tuple[int, int]:
    """One core for the server and another for the load; the harness itself sleeps on the latter."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("bench/run needs two cores: one for the server, one for the load")
    os.sched_setaffinity(0, {cores[1]})
    return cores[0], cores[1]


def _rounds(
    workload: Workload,
    servers: list[str],
    options: argparse.Namespace,
    cores: tuple[int, int],
    missing: dict[str, str],
) -> dict[str, list[dict[str, Any]]]:
    """Run all rounds of a workload: the servers take turns, so that what changes on the machine hits all."""
    raw: dict[str, list[dict[str, Any]]] = {name: [] for name in servers}
    RAW.mkdir(exist_ok=True)
    for old in RAW.glob("*.stacks"):
        old.unlink()
    for number in range(1, options.rounds + 1):
        for name in servers:
            print(f"{workload.name} {number}/{options.rounds} {name}", file=sys.stderr, flush=True)
            profile = RAW / f"{workload.name}-{name}.stacks" if options.profile else None
            if name in missing:
                one = {"workload": workload.name, "server": name, "failed": missing[name]}
            else:
                one = _one(workload, name, cores, profile)
            _keep(one, number)
            raw[name].append(one)
    return raw


def _one(workload: Workload, name: str, cores: tuple[int, int], profile: Path | None) -> dict[str, Any]:
    try:
        one = run_round(workload, SERVERS[name], cores=cores, profile=profile)
    except FailedError as error:
        return {"workload": workload.name, "server": name, "failed": str(error)}
    if profile is not None:
        print(f"\n{dearest(profile)}\n")
    return one


def _keep(one: dict[str, Any], number: int) -> None:
    at = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    path = RAW / f"{at}-{one['workload']}-{one['server']}-{number}.json"
    path.write_text(json.dumps(one, indent=1) + "\n")


def _about(raw: dict[str, list[dict[str, Any]]], workload: Workload, rounds: int) -> str:
    told: dict[str, str] = {}
    for ones in raw.values():
        for one in ones:
            told |= one.get("ready", {}).get("versions", {})
    window = (
        f"median of {rounds} rounds of {workload.window_seconds:g} s"
        if workload.mode != "storm"
        else f"median of {rounds} rounds"
    )
    return f"{machine.today()}, {window}. {machine.describe()}. {machine.versions(told)}."


if __name__ == "__main__":
    raise SystemExit(main())
