"""Klong functions as native programs: on demand by `.compile(f)`, and by themselves when hot.

A function that only computes is traced once for each kind of arguments and run as one native
program (`program.py`): its lambdas, adverbs and the functions that it calls included. The
variables that it reads (`reads.py`) are arguments of the program, so a new value needs no new
program.

Code is hot when calls with arrays of equal shapes have together taken as long as compiling will,
by an estimate: so what is thrown away after a few calls loses at most as much again.
Its program is kept only if its first calls are faster than the interpreter's were. What cannot
be traced, because it looks at a value or changes a variable, keeps being interpreted.
`context.compiles` turns this off.
"""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from atled import functions as at
from atled.config import modes, settings
from atled.core.tensor import Tensor
from atled.errors import AtledError, located
from atled.klong.arrays import NotAsAssumed, carries
from atled.klong.context import Context
from atled.klong.errors import KlongError
from atled.klong.program import Kind, Program, kind_of_values
from atled.klong.reads import Code, Inputs, Reads, code_of
from atled.klong.values import Function, arrays_or_numbers, kind_of

__all__ = ["Hot", "compiled", "is_possible"]

FEW = 4  # calls before compiling is thought of
PAYS = 0.05  # seconds in the interpreter: a small program takes 5 to 50 ms to make
SMALL = 0.001  # seconds that a call of such a program takes in the interpreter, on short arrays
SHORT = 3000  # elements on which an operation of the interpreter takes twice as long as on one
TRIALS = 5  # native calls that are timed, and compared with the interpreter's
LIMIT = 64  # kinds of arguments of one function
LONGEST, LONGEST_HOT = 5000, 300  # rounds of loops that are written out in a program
CLOSE = 1e-12  # relative, between a program's first result and the interpreter's
REST = 100  # calls after one with nothing to compile: looking at the arguments takes 2 µs
FORGIVEN = 3  # calls for which what a hot program assumes may be false


def is_possible(context: Context) -> bool:
    """Say whether functions compile by themselves here: on NumPy's arrays, with llvmlite.

    Not where steps are counted, for a program makes none.
    """
    is_counted = context.owner is not None and context.owner.steps is not None
    return context.compiles and not is_counted and _has_compiler()


def _has_compiler() -> bool:
    return settings.backend == "numpy" and _HAS_LLVM


_HAS_LLVM = find_spec("llvmlite") is not None


# -- on demand


class Compiled:
    """What `.compile(f)` runs.

    Args:
        context: the program's state.
        function: it was written in Klong, and only computes.
    """

    def __init__(self, context: Context, function: Function) -> None:
        self.context, self.function = context, function
        self.inputs = Inputs(context, code_of(function))
        self.reads: Reads | None = None
        self.programs: dict[Kind, Program] = {}
        self.warned = False

    def __call__(self, *args: Any) -> Any:
        context, f = self.context, self.function
        if modes.tracing is not None or context.derivatives or any(map(carries, args)):
            return f.run(*args)  # a part of what is being traced or differentiated
        values = self.inputs.values(args)
        if values is None and self.inputs.impure is not None:
            raise KlongError(f"{f.name} cannot be compiled: {self.inputs.impure}")
        if not arrays_or_numbers(*args):
            wrong = next(v for v in args if not arrays_or_numbers(v))
            raise KlongError(
                f"a compiled function takes numbers and arrays; found {kind_of(wrong)}"
            )
        kind = None if values is None else kind_of_values(values)
        if values is None or kind is None or all(type(v) is int for v in kind):
            return f.run(*args)  # nothing that a program could compute: Python's integers
        program = self._program(kind, values)
        if program is None:
            return f.run(*args)
        try:
            return program(values)
        except NotAsAssumed:
            return f.run(*args)
        except AtledError as error:
            del self.programs[kind]
            f.run(*args)  # where the interpreter fails, too, its error is the one to see
            raise self._refusal(error) from error

    def _program(self, kind: Kind, values: list[Any]) -> Program | None:
        """Return the program for a kind of values; None, with a warning, where there is none."""
        if self.inputs.reads is not self.reads:
            self.programs.clear()
            self.reads = self.inputs.reads
        known = self.programs.get(kind)
        if known is not None:
            return known
        if not _has_compiler():
            self._warn("programs run on NumPy's arrays, and are made by llvmlite")
        elif len(self.programs) >= LIMIT:
            self._warn(
                f"it has {LIMIT} programs, and this is another kind of arguments. Integers are "
                "part of a program: pass what changes as a real"
            )
        else:
            names, f = self.reads.numbers if self.reads else [], self.function
            made = Program(self.context, names, f.run, values, f.name, LONGEST)
            self.programs[kind] = made
            return made
        return None

    def _warn(self, reason: str) -> None:
        if not self.warned:
            self.warned = True
            message = f"the compiled {self.function.name} runs eagerly: {reason}"
            warnings.warn(located(message), RuntimeWarning, stacklevel=4)

    def _refusal(self, error: AtledError) -> KlongError:
        reason = error.message.split("\n")[0].removesuffix(".")
        return KlongError(
            f"{self.function.name} cannot be compiled for these arguments: {reason}. What depends "
            "on a value, like the length of a list or the end of a loop, must stay outside"
        )


def compiled(context: Context, f: Function) -> Function:
    """Return a function that runs `f` as native programs, one for each kind of arguments.

    Raises:
        KlongError: it was not written in Klong, or does more than compute.
    """
    if f.definition is None:
        raise KlongError(
            f".compile(f) needs a function written in Klong; {f.name} is not. "
            "Around a projection f write one: {f(x)}"
        )
    made = Compiled(context, f)
    made.inputs.values(())
    if made.inputs.impure is not None:
        raise KlongError(f"{f.name} cannot be compiled: {made.inputs.impure}")
    return Function(f"a compiled {f.name}", f.arity, made, parts=(f,))


# -- hot code


@dataclass(slots=True)
class Entry:
    """What is known of one kind of arguments.

    Attributes:
        calls, seconds, fastest: of the interpreter.
        program: what runs instead of it, once there is one.
        trials, best: native calls that have been timed, and the fastest of them.
        broken: calls for which the program was not made.
        failed: whether it stays with the interpreter.
    """

    calls: int = 0
    seconds: float = 0.0
    fastest: float = float("inf")
    program: Program | None = None
    trials: int = 0
    best: float = float("inf")
    broken: int = 0
    failed: bool = False

    def give_up(self) -> None:
        self.failed, self.program = True, None


class Hot:
    """Watch an expression or a function, and compile it when that pays.

    Args:
        context: the program's state.
        code: what is run.
        run: how the interpreter runs it.
        scalars: whether numbers alone are worth a program, as they are for gradients.
        reals: variables that count as reals if they are integers: those of a derivative.
    """

    __slots__ = ("context", "entries", "inputs", "reads", "rest", "run", "scalars")

    def __init__(
        self,
        context: Context,
        code: Code,
        run: Callable[..., Any],
        scalars: bool = False,
        reals: tuple[str, ...] = (),
    ) -> None:
        self.context, self.run, self.scalars = context, run, scalars
        self.inputs = Inputs(context, code, reals)
        self.reads: Reads | None = None
        self.entries: dict[Kind, Entry] = {}
        self.rest = 0  # calls that are not watched

    def __call__(self, *args: Any) -> Any:
        """Run it, natively where that has been found to pay."""
        if self.rest:
            self.rest -= 1
            return self.run(*args)
        if self.inputs.impure is not None or modes.tracing is not None or self.context.derivatives:
            return self.run(*args)
        values = self.inputs.values(args)
        kind = None if values is None else kind_of_values(values)
        if values is None or kind is None:
            return self.run(*args)
        if self.inputs.reads is not self.reads:
            self.entries.clear()
            self.reads = self.inputs.reads
        entry = self.entries.get(kind)
        if entry is None:
            if not self._is_worth_it(kind):
                self.rest = REST
                return self.run(*args)
            entry = self.entries[kind] = Entry()
        if entry.program is not None:
            return self._native(entry, entry.program, values, args)
        if entry.failed:
            if all(e.failed for e in self.entries.values()):
                self.rest = REST
            return self.run(*args)
        return self._interpreted(entry, values, args)

    def _is_worth_it(self, kind: Kind) -> bool:
        """Say whether a kind is watched: it has arrays, and there are not too many kinds."""
        if not any(type(k) is tuple or (self.scalars and k is float) for k in kind):
            return False
        if len(self.entries) >= LIMIT:  # integers that count calls, say, make new ones
            self.entries = {k: e for k, e in self.entries.items() if e.program is not None}
        return len(self.entries) < LIMIT

    def _interpreted(self, entry: Entry, values: list[Any], args: tuple[Any, ...]) -> Any:
        start = time.perf_counter()
        result = self.run(*args)
        seconds = time.perf_counter() - start
        entry.seconds += seconds
        entry.fastest = min(entry.fastest, seconds)
        entry.calls += 1
        if entry.calls >= FEW and entry.seconds > PAYS * _size_of_program(entry, values):
            self._compile(entry, values, result)
        return result

    def _compile(self, entry: Entry, values: list[Any], result: Any) -> None:
        """Make a program, and keep it if it gives the interpreter's result."""
        names = self.reads.numbers if self.reads else []
        program = Program(self.context, names, self.run, values, "hot Klong code", LONGEST_HOT)
        try:
            same = _alike(program(values), result)
        except Exception:  # it looks at values, or an operation has no native form
            same = False
        if same and program.is_native():
            entry.program = program
        else:
            entry.failed = True

    def _native(
        self, entry: Entry, program: Program, values: list[Any], args: tuple[Any, ...]
    ) -> Any:
        start = time.perf_counter() if entry.trials < TRIALS else 0.0
        try:
            result = program(values)
        except NotAsAssumed:
            entry.broken += 1
            if entry.broken > FORGIVEN:
                entry.give_up()
            return self.run(*args)
        except Exception:  # nothing has changed: what failed is for the interpreter to say
            entry.give_up()
            return self.run(*args)
        if start:
            entry.best = min(entry.best, time.perf_counter() - start)
            entry.trials += 1
            if entry.trials == TRIALS and entry.best > entry.fastest:
                entry.give_up()
        return result


def _size_of_program(entry: Entry, values: list[Any]) -> float:
    """Return how many small programs would take as long to make: by the number of operations.

    The time of a call says how many these are, less what they take for long arrays. A program for
    a call of 1 ms on short arrays took 40 to 140 ms to make.
    """
    longest = max((v.size for v in values if type(v) is Tensor), default=1)
    return max(1.0, entry.fastest / SMALL / (1 + longest / SHORT))


def _alike(a: Any, b: Any) -> bool:
    """Say whether two results are the same: of one kind, and equal up to rounding."""
    if type(a) is not type(b):
        return False
    if type(a) is list:
        return len(a) == len(b) and all(map(_alike, a, b))
    if type(a) is float:
        return math.isclose(a, b, rel_tol=CLOSE) or not (math.isfinite(a) or math.isfinite(b))
    if type(a) is Tensor:
        if a.dtype is not b.dtype or a.shape != b.shape:
            return False
        return bool(at.allclose(a, b, rtol=CLOSE, atol=0.0, equal_nan=True))
    return bool(a == b)
