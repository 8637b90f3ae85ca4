"""What goes wrong in a Klong program: one exception, which knows its place in the text."""

from typing import NamedTuple

from atled.errors import AtledError

__all__ = ["KlongError", "KlongExit", "Place"]


class Place(NamedTuple):
    """A position in a program.

    Attributes:
        text: the whole text.
        at: the index of the character.
    """

    text: str
    at: int

    def shown(self) -> str:
        """Return the line with a caret under the place."""
        at = min(self.at, len(self.text))
        start = self.text.rfind("\n", 0, at) + 1
        end = self.text.find("\n", at)
        line = self.text[start : end if end >= 0 else len(self.text)]
        number = self.text.count("\n", 0, start) + 1
        column = at - start
        if len(line) > 90:  # a long line is shown around the place
            cut = max(0, column - 60)
            line, column = line[cut : cut + 90], column - cut
        pad = "".join("\t" if c == "\t" else " " for c in line[:column])
        return f"line {number}, column {at - start + 1}:\n  {line}\n  {pad}^"


class KlongError(AtledError):
    """A Klong program cannot be read, or cannot go on.

    Attributes:
        message: what is wrong, without the place.
        spot: where; None until it is known.
    """

    def __init__(self, message: str, spot: Place | None = None) -> None:
        Exception.__init__(self, message)  # the place is in Klong's text, not in Python's
        self.message, self.place, self.spot = message, "", spot

    def __str__(self) -> str:
        return self.message if self.spot is None else f"{self.message}\n{self.spot.shown()}"


class KlongExit(SystemExit):
    """`.x(a)` ended the program; the code is that of the process."""
