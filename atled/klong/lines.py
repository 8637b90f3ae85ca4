"""Lines of the prompt: editing, history and completion, by readline where it is there.

What always holds: without readline the prompt works, only without these.
"""

import os
import re
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from atled.klong.errors import KlongError
from atled.klong.help import entries
from atled.klong.interpreter import KlongInterpreter
from atled.klong.reader import read

__all__ = ["Editor", "completions", "history_file", "one_line"]

TYPED = {"\\d": "∂", "\\n": "∇"}
NAME = re.compile(r"[a-zA-Z.][a-zA-Z0-9.]*$")
KEPT = 2000  # entries of the history


def completions(k: KlongInterpreter, line: str) -> tuple[int, list[str]]:
    """Return where the word at the end of a line begins, and what it can become.

    Names of variables and system functions; `\\\\d` to ∂ and `\\\\n` to ∇; topics behind `]h`;
    files behind `]l`, `]i`, `]t` and inside a string.

    Example:
        >>> completions(KlongInterpreter(backend="python"), "x\\\\d")
        (1, ['∂'])
    """
    for typed, symbol in TYPED.items():
        if line.endswith(typed):
            return len(line) - len(typed), [symbol]
    command = re.match(r"\](\w)\s*", line)
    if command is not None:
        return _of_command(k, line, command.group(1), command.end())
    quote = line.rfind('"')
    if line.count('"') % 2:
        return quote + 1, _files(line[quote + 1 :])
    match = NAME.search(line)
    if match is None:
        return len(line), []
    return match.start(), _names(k, match.group())


def _of_command(k: KlongInterpreter, line: str, letter: str, start: int) -> tuple[int, list[str]]:
    word = line[start:]
    if letter in "ha":
        titles = [e.title for e in entries() if e.title.lower().startswith(word.lower())]
        return start, sorted(set(titles + _names(k, word))) if word else []
    return (start, _files(word)) if letter in "lit" else (start, [])


def _names(k: KlongInterpreter, word: str) -> list[str]:
    names = sorted(n for n in k.context.variables if "`" not in n)
    return [name for name in names if name.startswith(word)]


def _files(word: str) -> list[str]:
    folder, _, start = word.rpartition("/")
    place = Path(folder + "/" if folder or word.startswith("/") else ".").expanduser()
    prefix = word[: len(word) - len(start)]
    try:
        found = sorted(p for p in place.iterdir() if p.name.startswith(start))
    except OSError:
        return []
    return [
        f"{prefix}{p.name}{'/' if p.is_dir() else ''}"
        for p in found
        if start or not p.name.startswith(".")
    ]


def history_file() -> Path:
    """Return where the history is kept: with the state of the user's programs."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state, "atled", "klong_history").expanduser()


def one_line(text: str) -> str:
    """Return a program of several lines as one for the history, if that means the same."""
    joined = " ".join(line.strip() for line in text.split("\n"))
    if any(line.count('"') % 2 for line in text.split("\n")):
        return text  # a string goes over the end of a line
    try:
        same = len(read(joined).statements) == len(read(text).statements)
    except KlongError:
        return text
    return joined if same else text


class Editor:
    """readline as the prompt uses it: the history is saved line by line.

    Args:
        k: the interpreter, whose names are completed.
        history: the file that keeps the lines; None keeps none.
    """

    def __init__(self, k: KlongInterpreter, history: Path | None) -> None:
        self.k, self.history, self.last = k, history, ""
        self._found: list[str] = []
        self._readline: Any = _readline() if k[".edit"] and sys.stdin.isatty() else None
        if self._readline is not None:
            self._prepare(self._readline)

    def _prepare(self, readline: Any) -> None:
        readline.set_completer(self.complete)
        readline.set_completer_delims(" \t\n\"'()[]{};:,+-*%^&|<>=~!@#$?_/`")
        libedit = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
        readline.set_auto_history(False)
        readline.set_history_length(KEPT)
        if self.history is not None:
            with suppress(OSError):  # there is none yet
                readline.read_history_file(self.history)

    def complete(self, text: str, state: int) -> str | None:
        """Return the completion of that number: the protocol of readline."""
        if state == 0:
            line = self._readline.get_line_buffer()[: self._readline.get_endidx()]
            begin = self._readline.get_begidx()
            start, words = completions(self.k, line)
            # readline replaces the text from `begin` on, where its own word begins
            self._found = [(line[begin:start] + w)[max(0, begin - start) :] for w in words]
        return self._found[state] if state < len(self._found) else None

    def ask(self, prompt: str) -> str:
        """Show a prompt and return the line that is typed; without readline TAB is in it."""
        line = input(prompt)
        for typed, symbol in TYPED.items():
            line = line.replace(typed + "\t", symbol)
        return line

    def remember(self, text: str) -> None:
        """Add a program to the history, and to its file; `.edit::0` stops that."""
        entry = one_line(text)
        if self._readline is None or not self.k[".edit"] or entry == self.last:
            return
        self.last = entry
        lines = entry.split("\n")
        for line in lines:
            self._readline.add_history(line)
        if self.history is not None:
            with suppress(OSError):  # a read-only home: the session is still useful
                self.history.parent.mkdir(parents=True, exist_ok=True)
                self.history.touch(mode=0o600)
                self._readline.append_history_file(len(lines), self.history)


def _readline() -> Any:
    with suppress(ImportError):  # there is none on this system
        return import_module("readline")
    return None
