"""The scripts, each one atomic step of the store."""

from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """A script as it is loaded, and the name that the store knows it by."""

    source: str
    digest: str


def _script(*names: str) -> Script:
    folder = files(__package__) / "lua"
    source = "\n".join((folder / f"{name}.lua").read_text() for name in names)
    return Script(source, sha1(source.encode(), usedforsecurity=False).hexdigest())


APPEND = _script("head", "append")
LISTING = _script("head", "listing")
LOOK = _script("head", "look")
PAGE = _script("head", "page")
STATE = _script("head", "state")
TRIM = _script("head", "trim")

ACTIVE = _script("active")
ALIVE = _script("time", "alive")
ORPHANS = _script("time", "orphans")
PERMIT = _script("time", "permit")
RENEW = _script("time", "renew")
RESERVE = _script("time", "reserve")

DUE = _script("due")
PAIR = _script("pair")
PLACES = _script("places")
PROBE = _script("probe")
SILENT = _script("silent")

ALL = (
    APPEND,
    LISTING,
    LOOK,
    PAGE,
    STATE,
    TRIM,
    ACTIVE,
    ALIVE,
    ORPHANS,
    PERMIT,
    RENEW,
    RESERVE,
    DUE,
    PAIR,
    PLACES,
    PROBE,
    SILENT,
)
