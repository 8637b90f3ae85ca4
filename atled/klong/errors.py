"""What goes wrong in a Klong program: one exception, which knows its place in the text."""

from typing import NamedTuple

from atled.errors import AtledError

__all__ = ["KlongError", "KlongExit", "Place", "Source"]


class Source(str):
    """The text of a program that has a name: the file's that it was in."""

    __slots__ = ("name",)
    name: str

    def __new__(cls, text: str, name: str) -> "Source":
        made = super().__new__(cls, text)
        made.name = name
        return made


class Place(NamedTuple):
    """A position in a program.

    Attributes:
        text: the whole text.
        at: the index of the character.
    """

    text: str
    at: int

    def position(self) -> tuple[int, int]:
        """Return the line and the column, counted from 1."""
        at = min(self.at, len(self.text))
        return self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at)

    def heading(self) -> str:
        """Return `file:line:column`, or the words for a text without a name."""
        line, column = self.position()
        if isinstance(self.text, Source):
            return f"{self.text.name}:{line}:{column}"
        return f"line {line}, column {column}"

    def picture(self) -> str:
        """Return the line with a caret under the place."""
        row, column = self.position()
        line, column = self.text.split("\n")[row - 1], column - 1
        if len(line) > 90:  # a long line is shown around the place
            cut = max(0, column - 60)
            line, column = line[cut : cut + 90], column - cut
        pad = "".join("\t" if c == "\t" else " " for c in line[:column])
        return f"  {line}\n  {pad}^"

    def shown(self) -> str:
        """Return where it is, and the line with a caret under the place."""
        return f"{self.heading()}:\n{self.picture()}"


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
