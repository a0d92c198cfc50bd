"""Fetch the peers from pip, npm and apt, into a folder that git ignores."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from bench.servers.catalogue import BENCH, FLOOR, NGINX_ROOT, NODE_MODULES, OUR_PYTHON, PEER_PYTHON, PEERS

PIP = ("uvicorn[standard]>=0.30", "sse-starlette>=2", "socketify>=0.0.31", "py-spy>=0.4")
NPM = ("ws@8", "better-sse@0.16")
APT = ("nginx", "libnginx-mod-nchan")


def install_profiler() -> None:
    """Fetch py-spy."""
    _python()


def install(servers: Iterable[str]) -> dict[str, str]:
    """Fetch what these servers need and is not there yet; why, for those that cannot be had."""
    steps: dict[str, Callable[[], None]] = {
        "node-ws": _node,
        "better-sse": _node,
        "sse-starlette": _python,
        "uws": _python,
        "nchan": _nginx,
        "floor": _floor,
        "floor-joined": _floor,
    }
    missing = {}
    _environment(OUR_PYTHON, str(BENCH.parent), *(path for path in sys.path if "site-packages" in path))
    for server in servers:
        if server in steps:
            try:
                steps[server]()
            except (OSError, subprocess.CalledProcessError) as error:
                missing[server] = f"not installed: {error}"
    return missing


def _run(*command: str, folder: Path = PEERS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    print(f"$ {' '.join(command)}", file=sys.stderr)
    subprocess.run(command, cwd=folder, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)  # noqa: S603 - ours


def _done(stamp: Path, packages: Iterable[str]) -> bool:
    """Whether just these packages were fetched before."""
    stamp.parent.mkdir(parents=True, exist_ok=True)
    return stamp.exists() and stamp.read_text() == " ".join(packages)


def _python() -> None:
    stamp = PEERS / "venv/.installed"
    if not _done(stamp, PIP):
        venv = PEERS / "venv"
        _run(sys.executable, "-m", "venv", str(venv))
        _run(str(venv / "bin/pip"), "--quiet", "--disable-pip-version-check", "install", *PIP)
        stamp.write_text(" ".join(PIP))
    _environment(PEER_PYTHON, *map(str, (PEERS / "venv").glob("lib/python*/site-packages")))


def _environment(folder: Path, *paths: str) -> None:
    """An environment that sees these packages, on the system's Python where it has this version.

    That is what servers run on. A Python that a version manager has built from source, without the
    optimizations that distributions build with, is a fifth slower.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    base = shutil.which(f"python{version}", path="/usr/bin") or sys.executable
    if not (folder / "bin/python").exists():
        _run(base, "-m", "venv", "--without-pip", str(folder))
    packages = folder / f"lib/python{version}/site-packages"
    (packages / "packages.pth").write_text("".join(f"{path}\n" for path in paths))


def _node() -> None:
    stamp = NODE_MODULES / ".installed"
    if not _done(stamp, NPM):
        folder = NODE_MODULES.parent
        (folder / "package.json").write_text('{"private": true}\n')
        _run("npm", "install", "--no-audit", "--no-fund", *NPM, folder=folder)
        stamp.write_text(" ".join(NPM))


def _nginx() -> None:
    """Unpack Debian's packages; of the system only one empty folder is asked."""
    # nchan makes a configuration of its own inside nginx, with the paths that Debian compiled in.
    Path("/var/lib/nginx").mkdir(exist_ok=True)
    stamp = NGINX_ROOT / ".installed"
    if not _done(stamp, APT):
        folder = NGINX_ROOT.parent
        for old in folder.glob("*.deb"):
            old.unlink()
        _run("apt-get", "download", *APT, folder=folder)
        for package in folder.glob("*.deb"):
            _run("dpkg-deb", "-x", str(package), str(NGINX_ROOT))
        stamp.write_text(" ".join(APT))


def _floor() -> None:
    source = BENCH / "servers/floor.c"
    if not FLOOR.exists() or FLOOR.stat().st_mtime < source.stat().st_mtime:
        compiler = shutil.which("cc") or "gcc"
        _run(compiler, "-O2", "-Wall", "-Wextra", "-o", str(FLOOR), str(source))
