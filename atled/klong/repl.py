"""The prompt: lines in, values out, with history, completion, and help.

What a line can be, beside a program: ``]h topic`` help, ``]a topic`` apropos, ``]l file`` load,
``]i dir`` inventory, ``]t file`` transcript, ``]! command`` shell, ``]q`` quit. TAB completes
names, and turns ``\\d`` into ∂ and ``\\n`` into ∇.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from atled.klong.errors import KlongError
from atled.klong.help import apropos, help_on
from atled.klong.interpreter import KlongInterpreter
from atled.klong.printer import written
from atled.klong.reader import incomplete

__all__ = ["Repl", "completions"]

PROMPT, MORE = "klong> ", "  ...  "
HISTORY = "~/.atled_klong_history"
TYPED = {"\\d": "∂", "\\n": "∇"}


def completions(k: KlongInterpreter, text: str) -> list[str]:
    """Return what the end of a line can become.

    Example:
        >>> completions(KlongInterpreter(backend="python"), "\\\\d")
        ['∂']
    """
    for typed, symbol in TYPED.items():
        if text.endswith(typed):
            return [text[: -len(typed)] + symbol]
    match = re.search(r"[a-zA-Z.][a-zA-Z0-9.]*$", text)
    if match is None:
        return []
    start, word = text[: match.start()], match.group()
    names = sorted(n for n in k.context.variables if "`" not in n)
    return [start + name for name in names if name.startswith(word)]


class Repl:
    """A session at a prompt.

    Args:
        k: the interpreter.
        ask: what shows a prompt and returns a line; raises EOFError at the end.
        out: where answers go.
    """

    def __init__(
        self,
        k: KlongInterpreter,
        ask: Callable[[str], str] = input,
        out: Callable[[str], Any] = print,
    ) -> None:
        self.k, self.ask, self.out = k, ask, out
        self.transcript: Any = None

    def run(self) -> None:
        """Read programs and print their values until the end of the input."""
        self.out("atled Klong; ]h topic for help, ]q to quit")
        self._prepare_lines()
        while True:
            try:
                text = self._program()
            except EOFError:
                self.out("")
                return
            except KeyboardInterrupt:
                self.out("")
                continue
            if text.strip() == "]q":
                return
            if text.strip():
                self._answer(text)

    def _program(self) -> str:
        """Return a line, and those that its open brackets ask for; an empty one ends them."""
        text = self.ask(PROMPT)
        if text.startswith("]"):
            return text
        while incomplete(text):
            more = self.ask(MORE)
            if not more.strip():
                break
            text += "\n" + more
        return text

    def _answer(self, text: str) -> None:
        try:
            if text.startswith("]"):
                self._command(text[1:2], text[2:].strip())
                return
            value = self.k(text)
            with self.k.entered():
                self.k["it"] = value
                shown = written(value)
            self.out(shown)
            self._note(f"\t{text}\n{shown}\n")
        except KlongError as error:
            self.out(str(error))
        except KeyboardInterrupt:
            self.out("interrupted")
        finally:
            self.k.channels.select(0, True)
            self.k.channels.select(0, False)

    def _note(self, text: str) -> None:
        if self.transcript is not None:
            self.transcript.write(text)
            self.transcript.flush()

    def _command(self, letter: str, rest: str) -> None:
        if letter == "h":
            self.out(help_on(rest or "all"))
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
            self.out(f"there is no command ]{letter}; there are ]h ]a ]l ]i ]t ]! ]q")

    def _inventory(self, folder: str) -> None:
        path = Path(folder or os.environ.get("KLONGPATH", ".:lib").split(":")[0])
        self.out("  ".join(sorted(p.name for p in path.glob("*.kg"))) or f"no *.kg in {path}")

    def _transcribe(self, name: str) -> None:
        if self.transcript is not None:
            self.transcript.close()
        try:
            self.transcript = open(name, "a", encoding="utf-8") if name else None  # noqa: SIM115
        except OSError as error:
            self.out(f"cannot open {name!r}: {error.strerror}")

    def _prepare_lines(self) -> None:
        """Let readline edit lines, where it is there and a person types."""
        if self.ask is not input or not sys.stdin.isatty() or not self.k[".edit"]:
            return
        try:
            readline = import_module("readline")
        except ImportError:
            return
        found: list[str] = []

        def complete(text: str, state: int) -> str | None:
            if state == 0:
                found[:] = completions(self.k, text)
            return found[state] if state < len(found) else None

        readline.set_completer(complete)
        readline.set_completer_delims(" \t\n")
        readline.parse_and_bind("tab: complete")
        history = os.path.expanduser(HISTORY)
        with suppress(OSError):  # there is none yet
            readline.read_history_file(history)
        import_module("atexit").register(_save_history, readline, history)


def _save_history(readline: Any, name: str) -> None:
    with suppress(OSError):  # a read-only home: the session was still useful
        readline.write_history_file(name)
