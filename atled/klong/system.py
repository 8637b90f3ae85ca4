"""System functions: the names that begin with a dot.

To add one: a function under `@system`; its first argument is the interpreter. Its docstring is
the help that the REPL shows.
"""

import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from atled.klong.arrays import items, listed
from atled.klong.channels import Channel
from atled.klong.compiled import compiled
from atled.klong.context import Module
from atled.klong.derivatives import agrees, hessian, jacobian, jacobians, jvp, names_in, vjp
from atled.klong.errors import KlongError, KlongExit, Source
from atled.klong.exchange import wrapped
from atled.klong.literals import data
from atled.klong.optimizers import Optimizer
from atled.klong.printer import displayed, written
from atled.klong.values import EOF, Dictionary, Function, KlongSymbol, is_list, kind_of, true

__all__ = ["SYSTEM", "System", "system"]


class System(NamedTuple):
    """A system function.

    Attributes:
        name, title: as in the manual.
        arity, least: the number of its arguments, and with how many it can do.
        run: what computes; its first argument is the interpreter.
        help: the manual's entry in short.
    """

    name: str
    arity: int
    title: str
    run: Callable[..., Any]
    help: str
    least: int


SYSTEM: dict[str, System] = {}


def system(
    name: str, arity: int, title: str, *, least: int | None = None
) -> Callable[[Callable[..., Any]], Any]:
    """Enter a function as a system function."""

    def enter(run: Callable[..., Any]) -> Callable[..., Any]:
        SYSTEM[name] = System(
            name, arity, title, run, run.__doc__ or "", arity if least is None else least
        )
        return run

    return enter


def text_of(value: Any, what: str) -> str:
    """Return a string argument, or refuse it."""
    if type(value) is not str:
        raise KlongError(f"{what} must be a string; found {kind_of(value)}")
    return value


# -- input and output


@system(".p", 1, "Print")
def print_(k: Any, a: Any) -> Any:
    """.p(a): display a and a newline."""
    k.channels.write(displayed(a) + "\n")
    return a


@system(".d", 1, "Display")
def display(k: Any, a: Any) -> Any:
    """.d(a): display a: strings and characters as they are."""
    k.channels.write(displayed(a))
    return a


@system(".w", 1, "Write")
def write(k: Any, a: Any) -> Any:
    """.w(a): write a in the form that .r reads."""
    k.channels.write(written(a))
    return a


@system(".fl", 0, "Flush")
def flush(k: Any) -> Any:
    """.fl(): make sure that all output has reached the file."""
    k.channels.target.stream.flush()
    return []


@system(".r", 0, "Read")
def read(k: Any) -> Any:
    """.r(): the next object of the From Channel; it may span lines."""
    return k.channels.source.datum()


@system(".rl", 0, "Read-Line")
def read_line(k: Any) -> Any:
    """.rl(): the next line of the From Channel."""
    return k.channels.source.line()


@system(".rs", 1, "Read-String")
def read_string(k: Any, a: Any) -> Any:
    """.rs(a): the first object that the string a describes; as .r, it gives :eof for none.

    .rs("[1 2 3]")  -->  [1 2 3]
    """
    return data(text_of(a, "a in .rs(a)"))


@system(".rls", 0, "Read-Lines")
def read_lines(k: Any) -> Any:
    """.rls(): the list of all lines that are left in the From Channel, as in KlongPy."""
    lines = []
    while (line := k.channels.source.line()) is not EOF:
        lines.append(line)
    return lines


@system(".mi", 1, "More-Input")
def more_input(k: Any, a: Any) -> Any:
    """.mi(a): 1 unless reading beyond the end of the From Channel was attempted."""
    return int(not k.channels.source.exhausted)


@system(".ic", 1, "Input-Channel")
def input_channel(k: Any, a: Any) -> Any:
    """.ic(a): an input channel for the file named a."""
    return k.channels.open(text_of(a, "a in .ic(a)"), "r")


@system(".oc", 1, "Output-Channel")
def output_channel(k: Any, a: Any) -> Any:
    """.oc(a): an output channel for the file named a, which becomes empty."""
    return k.channels.open(text_of(a, "a in .oc(a)"), "w")


@system(".ac", 1, "Append-Channel")
def append_channel(k: Any, a: Any) -> Any:
    """.ac(a): an output channel that appends to the file named a."""
    return k.channels.open(text_of(a, "a in .ac(a)"), "a")


@system(".cc", 1, "Close-Channel")
def close_channel(k: Any, a: Any) -> Any:
    """.cc(a): close a channel."""
    if not isinstance(a, Channel):
        raise KlongError(f"a in .cc(a) must be a channel; found {kind_of(a)}")
    if a is k.channels.target:
        k.channels.select(0, False)
    if a is k.channels.source:
        k.channels.select(0, True)
    a.close()
    return []


def _select(k: Any, a: Any, reads: bool) -> Any:
    if true(a) and not isinstance(a, Channel):
        raise KlongError(f"a channel, or 0 for the standard one, is needed; found {kind_of(a)}")
    return k.channels.select(a, reads)


@system(".fc", 1, "From-Channel")
def from_channel(k: Any, a: Any) -> Any:
    """.fc(a): read from channel a, or from .cin if a is 0; the channel before is returned."""
    return _select(k, a, True)


@system(".tc", 1, "To-Channel")
def to_channel(k: Any, a: Any) -> Any:
    """.tc(a): write to channel a, or to .cout if a is 0; the channel before is returned."""
    return _select(k, a, False)


@system(".df", 1, "Delete-File")
def delete_file(k: Any, a: Any) -> Any:
    """.df(a): delete the file named a."""
    name = text_of(a, "a in .df(a)")
    try:
        os.remove(name)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise KlongError(f"cannot delete {name!r}: {reason}") from error
    return []


# -- programs


@system(".E", 1, "Evaluate")
def evaluate(k: Any, a: Any) -> Any:
    """.E(a): the value of the program in the string a.

    .E("1+2")  -->  3
    """
    return k.run(text_of(a, "a in .E(a)"))


def _text_in(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise KlongError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise KlongError(f"{str(path)!r} is not a text in UTF-8: {error}") from error


@system(".l", 1, "Load")
def load(k: Any, a: Any) -> Any:
    """.l(a): run the program in the file a or a,".kg", looked for along KLONGPATH."""
    name = text_of(a, "a in .l(a)")
    folders = os.environ.get("KLONGPATH", ".:lib").split(":")
    if name.startswith(("/", ".")):
        folders = [""]
    for folder in folders:
        for path in (Path(folder, name), Path(folder, name + ".kg")):
            if path.is_file():
                return k.run(Source(_text_in(path), str(path)))
    where = "" if folders == [""] else f" in {':'.join(folders)}"
    raise KlongError(f"there is no file {name!r} or {name + '.kg'!r}{where}")


@system(".module", 1, "Module")
def module(k: Any, a: Any) -> Any:
    """.module(:name) begins a module, .module(0) ends it."""
    context = k.context
    if type(a) is KlongSymbol:
        if context.module is not None:
            raise KlongError(f"the module {context.module.name} is open; modules do not nest")
        context.module = Module(str(a), frozenset(context.variables))
    elif not true(a):
        context.module = None
    else:
        raise KlongError(f".module(a) needs a symbol, or 0; found {kind_of(a)}")
    return a


@system(".comment", 1, "Comment")
def comment(k: Any, a: Any) -> Any:
    """.comment(a): the lines up to the one that begins with a are ignored."""
    return a


@system(".x", 1, "Exit")
def exit_(k: Any, a: Any) -> Any:
    """.x(a): end the program, with success if a is false."""
    raise KlongExit(1 if true(a) else 0)


@system(".sys", 1, "System")
def shell(k: Any, a: Any) -> Any:
    """.sys(a): run a command of the operating system; its exit code is returned."""
    k.channels.target.stream.flush()
    return subprocess.run(text_of(a, "a in .sys(a)"), shell=True, check=False).returncode


@system(".pc", 0, "Process-Clock")
def process_clock(k: Any) -> Any:
    """.pc(): the time that the process has computed, in seconds."""
    return time.process_time()


@system(".rn", 0, "Random-Number")
def random_number(k: Any) -> Any:
    """.rn(): a random number from 0 to below 1."""
    return random.random()


# -- derivatives


@system(".jacobian", 2, "Jacobian")
def jacobian_(k: Any, f: Any, x: Any) -> Any:
    """.jacobian(f;x): the exact Jacobian of f at x.

    .jacobian({x^2};[1 2])  -->  [[2.0 0.0] [0.0 4.0]]
    """
    names = names_in(x)
    if names is not None:
        return listed(jacobians(k.context, f, names))
    return jacobian(k.context, f, x)


@system(".hessian", 2, "Hessian")
def hessian_(k: Any, f: Any, x: Any) -> Any:
    """.hessian(f;x): the exact matrix of second derivatives of f at x.

    .hessian({+/x^3};[1 2])  -->  [[6.0 0.0] [0.0 12.0]]
    """
    return hessian(k.context, f, x)


@system(".jvp", 3, "Jacobian-Vector-Product")
def jvp_(k: Any, f: Any, x: Any, t: Any) -> Any:
    """.jvp(f;x;t): the derivative of f at x in the direction t.

    .jvp({x^2};[1.0 2.0];[1.0 10.0])  -->  [2.0 40.0]
    """
    return jvp(k.context, f, x, t)


@system(".vjp", 3, "Vector-Jacobian-Product")
def vjp_(k: Any, f: Any, x: Any, g: Any) -> Any:
    """.vjp(f;x;g): the cotangent g of f(x), pulled back to x.

    .vjp({x^2};[1.0 2.0];[1.0 10.0])  -->  [2.0 40.0]
    """
    return vjp(k.context, f, x, g)


@system(".gradcheck", 2, "Grad-Check")
def gradcheck(k: Any, f: Any, x: Any) -> Any:
    """.gradcheck(f;x): 1 if the exact derivative of f at x agrees with differences.

    .gradcheck({+/x^3};[1.0 2.0])  -->  1
    """
    return int(agrees(k.context, f, x))


@system(".compile", 2, "Compile", least=1)
def compile_(k: Any, f: Any, example: Any = None) -> Any:
    """.compile(f): f as a native program, made at its first call for each kind of arguments.

    A second argument, an example, makes the program at once, as KlongPy does. Results are the
    interpreter's, up to the rounding of sums and mathematical functions. Integers are part of a
    program, as shapes are: pass what changes from call to call as a real.

    f::{+/x^2};g::.compile(f);g([1.0 2.0 3.0])  -->  14.0
    """
    if type(f) is not Function:
        raise KlongError(f".compile(f) needs a function; found {kind_of(f)}")
    made = compiled(k.context, f)
    if example is not None:
        made.run(example)
    return made


@system(".hot", 1, "Hot")
def hot(k: Any, a: Any) -> Any:
    """.hot(a): whether hot functions are compiled by themselves: .hot(0) turns it off.

    What has taken 50 ms with arrays of equal shapes, and only computes, becomes a native program,
    and stays one if that is faster. Results are the interpreter's, up to the rounding of sums and
    mathematical functions; KlongInterpreter(compile=False) never compiles.

    .hot(0)  -->  0
    """
    k.context.compiles = true(a)
    return int(k.context.compiles)


@system(".optim", 3, "Optimizer")
def optimizer(k: Any, name: Any, params: Any, config: Any) -> Any:
    """.optim(a;b;c): an optimizer a of atled.optim for the variables b, with parameters c.

    w::2.0;loss::{w^2};opt::.optim("SGD";["w"];:{["lr" 0.25]});opt(loss);w  -->  1.0
    """
    names = items(params) if is_list(params) else [params]
    if type(config) is not Dictionary:
        raise KlongError(f"c in .optim(a;b;c) must be a dictionary; found {kind_of(config)}")
    return wrapped(Optimizer(k, names, config, text_of(name, "a in .optim(a;b;c)")), "an optimizer")
