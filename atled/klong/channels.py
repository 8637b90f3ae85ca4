"""I/O channels: what `.rl`, `.p` and their relatives read and write."""

import sys
from typing import Any, TextIO

from atled.klong.errors import KlongError
from atled.klong.lexemes import skip
from atled.klong.literals import data_at
from atled.klong.values import EOF

__all__ = ["Channel", "Channels"]


class Channel:
    """A file that is open for reading or writing, or one of the standard streams.

    Attributes:
        name: the file's name.
        reads: whether it is an input channel.
        exhausted: whether reading beyond the end was attempted.
    """

    def __init__(self, name: str, stream: Any, reads: bool) -> None:
        self.name, self.reads, self.exhausted, self.closed = name, reads, False, False
        self._stream, self._pending = stream, ""

    @property
    def stream(self) -> TextIO:
        """The file; a standard stream is whatever it is at the moment."""
        if self.closed:
            raise KlongError(f"the channel {self.name} is closed")
        return getattr(sys, self._stream) if isinstance(self._stream, str) else self._stream

    def close(self) -> None:
        """Close the file; standard streams stay open."""
        if not isinstance(self._stream, str):
            self._stream.close()
            self.closed = True

    def __del__(self) -> None:
        self.close()  # "a channel will be closed automatically when no variable refers to it"

    def line(self) -> Any:
        """Return the next line without its end; EOF behind the last."""
        text = self._pending or self.stream.readline()
        self._pending = ""
        if not text:
            self.exhausted = True
            return EOF
        return text[:-1] if text.endswith("\n") else text

    def datum(self) -> Any:
        """Return the next object, which may span lines; EOF if there is none."""
        text = self._pending
        while True:
            if text and skip(text, 0, True) < len(text):
                try:
                    value, at = data_at(text, 0)
                except KlongError as error:
                    if "never closed" not in error.message and "no closing" not in error.message:
                        self._pending = ""
                        raise
                else:
                    self._pending = text[at:].lstrip(" \t").removeprefix("\n")
                    return value
            more = self.stream.readline()
            if not more:
                self.exhausted, self._pending = True, ""
                if text.strip():
                    raise KlongError(f"the channel {self.name} ended inside an object")
                return EOF
            text += more

    def __repr__(self) -> str:
        return ":inchan" if self.reads else ":outchan"


class Channels:
    """The standard channels and those in effect."""

    def __init__(self) -> None:
        self.cin = Channel(".cin", "stdin", True)
        self.cout = Channel(".cout", "stdout", False)
        self.cerr = Channel(".cerr", "stderr", False)
        self.source, self.target = self.cin, self.cout

    def select(self, channel: Any, reads: bool) -> Channel:
        """Make a channel the one in effect; return the one before."""
        default = self.cin if reads else self.cout
        chosen = channel if isinstance(channel, Channel) else default
        if chosen.reads != reads:
            needed = "an input" if reads else "an output"
            raise KlongError(f"{needed} channel is needed here; {chosen.name} is none")
        before = self.source if reads else self.target
        if reads:
            self.source = chosen
        else:
            self.target = chosen
        return before

    def open(self, name: str, mode: str) -> Channel:
        """Open a file.

        Raises:
            KlongError: the system cannot.
        """
        try:
            stream = open(name, mode, encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        except (OSError, ValueError) as error:
            raise KlongError(
                f"cannot open {name!r}: {getattr(error, 'strerror', error)}"
            ) from error
        return Channel(name, stream, mode == "r")

    def write(self, text: str) -> None:
        """Write text to the channel in effect."""
        self.target.stream.write(text)
