"""What a database meets in real life, brought about and ended by a test."""

import contextlib
import os
import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.crash.world import World
from tests.harness import ServerProcess

TMPFS_MIB = 2


Trouble = Callable[[World, ServerProcess], AbstractContextManager[None]]
"""Within its block nothing, or soon nothing, can be written."""


@contextmanager
def locked(house: World, _server: ServerProcess) -> Iterator[None]:
    """Another process holds the database for writing."""
    with contextlib.closing(sqlite3.connect(house.directory / "wellnet.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def limited(_house: World, server: ServerProcess) -> Iterator[None]:
    """Not one more byte: the kernel lets the server write to no file (RLIMIT_FSIZE, EFBIG)."""
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    yield
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def full(house: World, _server: ServerProcess) -> Iterator[None]:
    """The file system is full to the last block (ENOSPC); `house` stands on a small one."""
    ballast = house.directory / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    yield
    ballast.unlink()


@contextmanager
def small_file_system(directory: Path) -> Iterator[None]:
    """A file system of its own at `directory`."""
    directory.mkdir()
    size = f"size={TMPFS_MIB}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(directory)], check=True)  # noqa: S603, S607
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)  # noqa: S603, S607


def can_mount(directory: Path) -> bool:
    """Whether this process may: root may, but not in every container."""
    if os.geteuid() != 0:
        return False
    try:
        with small_file_system(directory):
            return True
    except subprocess.CalledProcessError:
        return False
