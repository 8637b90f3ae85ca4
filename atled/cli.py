"""The command line: `atled train digits`, `atled predict`, `atled doctor`, `atled klong`.

What always holds: a mistake of the user is one line on stderr and exit code 2; Ctrl-C is exit
code 130. Anything else that goes wrong is atled's fault and shows its traceback.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from atled.backends import protocol
from atled.klong.command import add_klong
from atled.train.digits import train_digits
from atled.train.doctor import doctor
from atled.train.models import MODELS
from atled.train.options import OPTIMIZERS
from atled.train.predict import predict
from atled.train.refusal import Refusal
from atled.train.versions import atled_version

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        arguments: what follows `atled`; by default those of the process.
    """
    given = _parser().parse_args(arguments)
    try:
        given.command(given)
        sys.stdout.flush()
    except Refusal as error:
        print(f"atled: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        folder = getattr(interrupt, "folder", None)
        hint = f"; go on with: atled train digits --resume {folder}" if folder else ""
        print(f"\natled: interrupted{hint}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `atled … | head`: nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="atled", description="Exact gradients wherever your arrays live.")
    parser.add_argument("--version", action="version", version=f"atled {atled_version()}")
    commands = parser.add_subparsers(metavar="command", required=True)
    train = commands.add_parser("train", help="train a model", description="Train a model.")
    jobs = train.add_subparsers(metavar="job", required=True)
    _add_digits(jobs.add_parser(
        "digits", help="on hand-written digits",
        description="Train a network on hand-written digits. Everything that decides the outcome "
        "is an option, and a run that was stopped goes on with --resume.",
    ))  # fmt: skip
    _add_predict(commands.add_parser(
        "predict", help="read a digit with a trained model",
        description="Read a digit from a picture, or one from each row of a table.",
    ))  # fmt: skip
    add_klong(commands.add_parser(
        "klong", help="run Klong: a prompt, a program, an expression",
        description="Run a Klong program; without one, an expression or a file, start a prompt.",
    ))  # fmt: skip
    look = commands.add_parser(
        "doctor", help="look at backends, devices and settings",
        description="Print what atled finds on this machine, and what makes it slow.",
    )  # fmt: skip
    look.set_defaults(command=lambda given: doctor())
    return parser


def _add_digits(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    epochs = ", ".join(f"{name}: {model.epochs}" for name, model in MODELS.items())
    add("--model", choices=list(MODELS), help="the network (default: mlp)")
    add("--backend", choices=protocol.names(), help="what computes (default: numpy, else python)")
    add("--device", help="where: cpu, cuda, cuda:1, mps or auto (default: cpu)")
    add("--epochs", type=_counted(1), help=f"passes over the data (default: {epochs})")
    add("--batch-size", type=_counted(1), help="images in a step (default: 32)")
    add("--lr", type=_positive, help="the learning rate (default: the optimizer's, adam: 0.015)")
    add("--optimizer", choices=list(OPTIMIZERS), help="(default: adam)")
    add("--compile", action=argparse.BooleanOptionalAction, default=None,
        help="steps as native programs (default: if NumPy and llvmlite are there)")  # fmt: skip
    add("--seed", type=_counted(0), help="decides weights, order and noise (default: 0)")
    add("--data", metavar="FILE.csv",
        help="your own digits: rows of 64 numbers from 0 to 16 and a label")  # fmt: skip
    add("--out", default="runs", help="the folder of all runs (default: runs)")
    add("--name", help="this run's folder in it (default: the first free digits-MODEL-N)")
    add("--resume", metavar="RUN", help="go on with a run that was stopped")
    add("-q", "--quiet", action="store_true", help="print the result only")
    parser.set_defaults(command=_train_digits)


def _train_digits(given: argparse.Namespace) -> None:
    options = dict(vars(given))
    del options["command"]
    place = {name: options.pop(name) for name in ("out", "name", "resume", "quiet")}
    train_digits(options, **place)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the folder of a run, or its name")
    about = "a picture of one digit, or rows of 64 numbers from 0 to 16"
    parser.add_argument("file", metavar="IMAGE.png|ROWS.csv", help=about)
    parser.add_argument("--out", default="runs", help="the folder of all runs (default: runs)")
    parser.add_argument("--backend", choices=protocol.names(), help="what computes")
    parser.set_defaults(command=lambda given: predict(
        given.run, given.file, out=given.out, backend=given.backend))  # fmt: skip


def _counted(least: int) -> Callable[[str], int]:
    def integer(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or value >= 2**63:
            raise argparse.ArgumentTypeError(f"a whole number from {least} on; found {text!r}")
        return value

    return integer


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"a number above 0; found {text!r}")
    return value
