"""Whose history this is: the epoch of its cursors, and whether it can be trusted to be whole."""

import hashlib
import secrets
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import func, insert, select, update

from wellnet_sse.brokers.sql.tables import identity, users
from wellnet_sse.progress.events import UserId
from wellnet_sse.storage.database import Database

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Witnessed(NamedTuple):
    """What was committed last, as it is noted outside the database.

    An older copy that is put in the database's place has the same epoch and fewer entries, and would soon
    give their numbers to others.
    """

    epoch: str
    entries: int
    """Of all users, since the beginning."""

    def __str__(self) -> str:
        return f"{self.epoch:<32} {self.entries:019}"

    @classmethod
    def parse(cls, text: str) -> "Witnessed | None":
        """What the note says; None where it is none."""
        epoch, _, entries = text.partition(" ")
        return cls(epoch, int(entries)) if epoch and entries.strip().isdecimal() else None


async def claim_epoch(database: Database, owner: str, witnessed: Witnessed | None) -> Witnessed:
    """The epoch to go on with, after noting that `owner` writes here from now on; and what is there.

    It changes where entries that were answered may be gone: after a power loss, where SQLite was not told to
    wait for the disk (`synchronous` other than FULL), and where `witnessed` tells of another database or of
    more entries than there are. `kill -9` loses nothing.
    """
    boot_id = _boot_id()
    async with database.writing() as connection:
        entries = (await connection.execute(select(func.coalesce(func.sum(users.c.seq), 0)))).scalar_one()
        row = (await connection.execute(select(identity))).first()
        if row is None:
            epoch = _new_epoch()
            values = {"id": 1, "epoch": epoch, "boot_id": boot_id, "owner": owner, "clean": False}
            await connection.execute(insert(identity).values(values))
            return Witnessed(epoch, int(entries))
        lost_power = not row.clean and row.boot_id != boot_id and not database.survives_power_loss
        replaced = witnessed is not None and (row.epoch != witnessed.epoch or entries < witnessed.entries)
        epoch = _new_epoch() if lost_power or replaced else str(row.epoch)
        await connection.execute(
            update(identity).values(epoch=epoch, boot_id=boot_id, owner=owner, clean=False)
        )
        return Witnessed(epoch, int(entries))


async def close_cleanly(database: Database, owner: str) -> None:
    """Note that everything was written."""
    async with database.writing() as connection:
        await connection.execute(update(identity).where(identity.c.owner == owner).values(clean=True))


async def touch(database: Database, owner: str) -> None:
    """Write, to see whether it can be done. Raises UnavailableError."""
    async with database.writing() as connection:
        await connection.execute(update(identity).where(identity.c.owner == owner).values(clean=False))


@lru_cache(maxsize=65536)
def epoch_of(epoch: str, user_id: UserId) -> str:
    """The epoch in this user's cursors: one of another user is foreign, whatever its number (protocol §3)."""
    return hashlib.blake2s(f"{epoch} {user_id}".encode(), digest_size=4).hexdigest()


def _new_epoch() -> str:
    return secrets.token_hex(4)


def _boot_id() -> str:
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
