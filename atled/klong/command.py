"""`atled klong`: a prompt, a file, or expressions."""

import argparse
import sys
from pathlib import Path

from atled.backends import protocol
from atled.errors import BackendError
from atled.klong.errors import KlongError
from atled.klong.interpreter import KlongInterpreter
from atled.klong.printer import written
from atled.klong.repl import Repl

__all__ = ["add_klong"]


def add_klong(parser: argparse.ArgumentParser) -> None:
    """Add the options of `atled klong` to its parser."""
    add = parser.add_argument
    add("file", nargs="?", metavar="FILE.kg", help="a program to run")
    add("arguments", nargs="*", metavar="ARGUMENT", help="what the program finds in .a")
    add("-e", dest="expressions", action="append", default=[], metavar="EXPR",
        help="an expression to evaluate and print; may be given again")  # fmt: skip
    add("--backend", choices=protocol.names(), help="what computes (default: numpy, else python)")
    add("--device", help="where: cpu, cuda, cuda:1, mps or auto (default: cpu)")
    parser.set_defaults(command=run_klong)


def run_klong(given: argparse.Namespace) -> None:
    """Run what the command line asks for.

    Errors of a program go to stderr with their place, and the process exits with 1.
    """
    try:
        k = KlongInterpreter(backend=given.backend, device=given.device)
        k[".a"] = given.arguments
        if given.file is not None:
            k(_text_of(given.file))
        for expression in given.expressions:
            value = k(expression)
            with k.entered():
                print(written(value))
        if given.file is None and not given.expressions:
            Repl(k).run()
    except (KlongError, BackendError) as error:
        sys.stdout.flush()
        print(f"atled klong: {error}", file=sys.stderr)
        raise SystemExit(1 if isinstance(error, KlongError) else 2) from None


def _text_of(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text in UTF-8"
        print(f"atled klong: cannot read {name!r}: {reason}", file=sys.stderr)
        raise SystemExit(2) from None
