"""`atled klong`: a prompt, a program, or expressions.

What always holds: values go to stdout, errors to stderr as `file:line:column: what is wrong`.
The exit code is 0, 1 for an error of the program, 2 for one of the command line, 130 for Ctrl-C,
and whatever `.x` says.
"""

import argparse
import sys
from io import TextIOWrapper
from pathlib import Path

from atled.backends import protocol
from atled.errors import BackendError
from atled.klong.errors import KlongError, Source
from atled.klong.interpreter import KlongInterpreter
from atled.klong.lines import Editor, history_file
from atled.klong.printer import written
from atled.klong.repl import Repl, program

__all__ = ["add_klong"]

EXAMPLES = """examples:
  atled klong                              a prompt
  atled klong -e '+/!10' -e '{x^2}:>3'     prints 45 and 6.0
  atled klong net.kg digits.csv 50         .a is ["digits.csv" "50"]
  atled klong net.kg -- -v                 what follows -- is the program's
  atled klong -i net.kg                    the program, then a prompt
  echo '1+1' | atled klong                 prints the value of each line
"""


def add_klong(parser: argparse.ArgumentParser) -> None:
    """Add the options of `atled klong` to its parser."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    add = parser.add_argument
    add("file", nargs="?", metavar="FILE.kg", help="a program to run; - reads it from stdin")
    add("arguments", nargs="*", metavar="ARGUMENT", help="what the program finds in .a")
    add("-e", dest="expressions", action="append", default=[], metavar="EXPR",
        help="an expression to evaluate and print, after the file; may be given again")  # fmt: skip
    add("-i", dest="prompt", action="store_true", help="a prompt after the file and expressions")
    add("--backend", choices=protocol.names(), help="what computes (default: numpy, else python)")
    add("--device", help="where: cpu, cuda, cuda:1, mps or auto (default: cpu)")
    add("--no-compile", dest="compile", action="store_false",
        help="do not make native programs of hot functions")  # fmt: skip
    add("--no-history", dest="history", action="store_false",
        help="do not keep the lines of the prompt in ~/.local/state/atled")  # fmt: skip
    parser.set_defaults(command=run_klong)


def run_klong(given: argparse.Namespace) -> None:
    """Run what the command line asks for."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # ∂ where the terminal's encoding lacks it
            stream.reconfigure(errors="backslashreplace")
    try:
        k = KlongInterpreter(given.backend, given.device, compile=given.compile)
    except BackendError as error:
        hint = "" if given.backend == "torch" else "; --backend torch computes elsewhere too"
        raise _ended(f"atled klong: {error.message}{hint}", 2) from None
    k[".a"] = given.arguments
    try:
        _run(k, given)
    except KlongError as error:
        if isinstance(error.__cause__, BrokenPipeError):  # `atled klong ... | head`
            raise error.__cause__ from None
        raise _ended(_report(error), 1) from None


def _run(k: KlongInterpreter, given: argparse.Namespace) -> None:
    if given.file is not None:
        k(_text_of(given.file))
    for expression in given.expressions:
        _show(k, Source(expression, "-e"))
    if given.prompt or (given.file is None and not given.expressions):
        if sys.stdin.isatty() or given.prompt:
            editor = Editor(k, history_file() if given.history else None)
            Repl(k, editor.ask, remember=editor.remember).run()
        else:
            _answer_lines(k)


def _answer_lines(k: KlongInterpreter) -> None:
    """Print the value of each program that comes through a pipe."""
    at = 0  # lines so far

    def ask(prompt: str) -> str:
        nonlocal at
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        at += 1
        return line.removesuffix("\n")

    while True:
        before = at
        try:
            text = program(ask)
        except EOFError:
            return
        if text.strip() == "]q":
            return
        if text.strip():
            _show(k, Source("\n" * before + text, "<stdin>"))  # places count from the first line


def _show(k: KlongInterpreter, text: str) -> None:
    """Print the value of a program."""
    value = k(text)
    with k.entered():
        print(written(value))


def _report(error: KlongError) -> str:
    """Return `file:line:column: what is wrong`, and a caret under the place."""
    if error.spot is None:
        return f"atled klong: {error.message}"
    return f"{error.spot.heading()}: {error.message}\n{error.spot.picture()}"


def _ended(text: str, code: int) -> SystemExit:
    """Return the end of the process, with a line on stderr."""
    sys.stdout.flush()
    print(text, file=sys.stderr)
    return SystemExit(code)


def _text_of(name: str) -> Source:
    try:
        if name == "-":
            return Source(sys.stdin.read(), "<stdin>")
        text = Path(name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text in UTF-8"
        raise _ended(f"atled klong: cannot read {name!r}: {reason}", 2) from None
    if text.startswith("#!/"):  # how Unix starts a program: #!/usr/bin/env -S atled klong
        text = "\n" + text.partition("\n")[2]
    return Source(text, name)
