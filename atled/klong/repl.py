"""The prompt: programs in, values out.

A line is a program, or a command: `]h topic` help, `]a word` apropos, `]l file` load, `]i dir`
inventory, `]t file` transcript, `]! command` shell, `]q` quit. `it` is the last value. Ctrl-C
stops what runs and leaves the variables as they are at that moment; Ctrl-D ends the session.
"""

import os
import subprocess
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atled.klong.errors import KlongError, Source
from atled.klong.help import apropos, help_on
from atled.klong.interpreter import KlongInterpreter
from atled.klong.printer import written
from atled.klong.reader import incomplete

__all__ = ["Repl", "complaint", "program"]

PROMPT, MORE = "klong> ", "  ...  "
COMMANDS = "]h help  ]a apropos  ]l load  ]i inventory  ]t transcript  ]! shell  ]q quit"
LONGEST = 2000  # characters of a value that are shown
# What newcomers type; a program's own variables of these names come first.
SAID = {"help": "]h", "?": "]h", "quit": "]q", "exit": "]q"}


def program(ask: Callable[[str], str]) -> str:
    """Return a line, and those that its open brackets and strings ask for; an empty one ends it.

    Raises:
        EOFError: there are no more lines.
    """
    text = ask(PROMPT)
    if text.lstrip().startswith("]"):
        return text.strip()
    while incomplete(text):
        try:
            more = ask(MORE)
        except EOFError:
            return text
        if not more.strip():
            return text
        text += "\n" + more
    return text


def complaint(error: KlongError) -> str:
    """Return an error for the prompt: the message, and a caret under the place."""
    place = error.spot
    if place is None:
        return error.message
    if "\n" in place.text or isinstance(place.text, Source):
        return f"{error.message}\n{place.shown()}"
    return f"{error.message}\n{place.picture()}"


class Repl:
    """A session at a prompt.

    Args:
        k: the interpreter.
        ask: what shows a prompt and returns a line; raises EOFError at the end.
        out: where answers go.
        remember: what keeps a program in the history.
    """

    def __init__(
        self,
        k: KlongInterpreter,
        ask: Callable[[str], str] = input,
        out: Callable[[str], Any] = print,
        remember: Callable[[str], Any] = len,
    ) -> None:
        self.k, self.ask, self.out, self.remember = k, ask, out, remember
        self.transcript: Any = None

    def run(self) -> None:
        """Read programs and print their values until the end of the input."""
        where = self.k.backend
        self.out(
            f"atled Klong on {where.name}, {where.device}. ]h shows what there is, ]h + on +,\n"
            r"TAB completes names (\d TAB is ∂, \n TAB is ∇), Ctrl-C stops, ]q or Ctrl-D ends."
        )
        try:
            while self._turn():
                pass
        finally:
            self._transcribe("")

    def _turn(self) -> bool:
        """Read a program and answer it; say whether there is more to come."""
        try:
            text = program(self.ask)
        except EOFError:
            self.out("")
            return False
        except KeyboardInterrupt:
            self.out("")
            return True
        if text.strip():
            self.remember(text)
        if text.strip() not in self.k:
            text = SAID.get(text.strip(), text)
        if text.strip() == "]q":
            return False
        if text.strip():
            with self._guarded():
                self._answer(text)
        return True

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Show what goes wrong, and go on."""
        try:
            yield
        except KlongError as error:
            self.out(complaint(error))
        except KeyboardInterrupt:
            self.out("\ninterrupted")
        except Exception:  # a fault of atled's own: the session must survive it
            self.out(traceback.format_exc() + "this is a fault of atled; the session goes on")
        finally:
            context = self.k.context
            context.depth, context.pending, context.derivatives = 0, None, 0
            self.k.channels.select(0, True)
            self.k.channels.select(0, False)

    def _answer(self, text: str) -> None:
        if text.startswith("]"):
            self._command(text[1:2], text[2:].strip())
            return
        value = self.k(text)
        with self.k.entered():
            self.k["it"] = value
            shown = written(value)
        self._note(f"\t{text}\n{shown}\n")
        if len(shown) > LONGEST:
            shown = f"{shown[:LONGEST]} ...\n({len(shown):,} characters; .p(it) prints all)"
        self.out(shown)

    def _note(self, text: str) -> None:
        if self.transcript is not None:
            self.transcript.write(text)
            self.transcript.flush()

    def _command(self, letter: str, rest: str) -> None:
        if letter == "h":
            self.out(help_on(rest, self.k.context))
        elif letter == "a":
            self.out(apropos(rest))
        elif letter == "l":
            self._answer('.l("' + rest.replace('"', '""') + '")')
        elif letter == "!":
            subprocess.run(rest, shell=True, check=False)
        elif letter == "i":
            self._inventory(rest)
        elif letter == "t":
            self._transcribe(rest)
        else:
            self.out(f"there is no command ]{letter}; there are {COMMANDS}")

    def _inventory(self, folder: str) -> None:
        path = Path(folder or os.environ.get("KLONGPATH", ".:lib").split(":")[0])
        self.out("  ".join(sorted(p.name for p in path.glob("*.kg"))) or f"no *.kg in {path}")

    def _transcribe(self, name: str) -> None:
        if self.transcript is not None:
            self.transcript.close()
        self.transcript = None
        try:
            self.transcript = open(name, "a", encoding="utf-8") if name else None  # noqa: SIM115
        except OSError as error:
            self.out(f"cannot open {name!r}: {error.strerror}")
