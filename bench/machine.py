"""What it ran on, for whoever reads the numbers later."""

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path

from bench.servers.catalogue import NGINX_ROOT, NODE_MODULES, PEERS


def describe() -> str:
    """The machine in one line."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    gib = int(memory[1]) / 2**20 if memory else 0
    name = cpu[1].strip() if cpu else platform.machine()
    return f"{os.cpu_count()} cores of {name}, {gib:.0f} GiB, Linux {platform.release()}"


def versions(told: dict[str, str]) -> str:
    """What was measured, in which version: what servers told, and what they cannot tell."""
    found = {"Python": platform.python_version(), **told}
    if NODE_MODULES.exists() and "node" not in found:
        found["node"] = _first(r"v([\d.]+)", "node", "--version")
    for package in (NGINX_ROOT.parent).glob("*.deb"):
        name, version, _ = package.name.split("_")
        found[name] = version.replace("%3a", ":")
    if (PEERS / "floor").exists():
        found["cc"] = _first(r"([\d.]+)$", "cc", "-dumpfullversion")
    return ", ".join(f"{name} {version}" for name, version in found.items())


def today() -> str:
    """The date, in UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _first(pattern: str, *command: str) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return "?"
    match = re.search(pattern, answer.strip())
    return match[1] if match else "?"
