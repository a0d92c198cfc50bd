"""What was found, and what mends it."""

from enum import Enum
from typing import NamedTuple, Self


class State(Enum):
    """How bad it is: as a word, and as a colour of a terminal."""

    FINE = ("ok", "green")
    DOUBTFUL = ("doubt", "yellow")
    WRONG = ("wrong", "red")

    def __init__(self, word: str, colour: str) -> None:
        self.word = word
        self.colour = colour


class Finding(NamedTuple):
    """One thing that was looked at: what was seen, and what to do about it where it is not fine."""

    subject: str
    state: State
    seen: str
    mend: str = ""

    @classmethod
    def fine(cls, subject: str, seen: str) -> Self:
        """It is as it should be."""
        return cls(subject, State.FINE, seen)

    @classmethod
    def doubtful(cls, subject: str, seen: str, mend: str) -> Self:
        """It works, and may not do what is wanted."""
        return cls(subject, State.DOUBTFUL, seen, mend)

    @classmethod
    def wrong(cls, subject: str, seen: str, mend: str) -> Self:
        """It does not work."""
        return cls(subject, State.WRONG, seen, mend)
