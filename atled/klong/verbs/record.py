"""The record of a verb, the table of all, and what atomic verbs have in common.

To add a verb: one function under `@verb` in one file of this folder. Its docstring is the help
that the REPL shows; each line ``expression  -->  value`` of it is run by the tests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from atled.config import modes
from atled.core.tensor import Tensor
from atled.dtypes import bool_
from atled.errors import TraceError
from atled.functions import abs as absolute
from atled.functions import equal, less_equal, maximum, minimum, reshape
from atled.klong.arrays import (
    EXACT,
    LEAST,
    MOST,
    holds,
    integers,
    is_floating,
    items,
    listed,
    real,
    settle,
)
from atled.klong.errors import KlongError
from atled.klong.values import NUMBERS, is_list, kind_of

__all__ = ["VERBS", "Verb", "aligned", "each_atom", "each_pair", "verb"]

VERBS: dict[tuple[str, int], "Verb"] = {}


@dataclass(frozen=True, slots=True)
class Verb:
    """An operator with one or two operands.

    Attributes:
        glyph: how it is written.
        arity: how many operands it takes.
        name: the manual's name of it.
        run: what computes.
        help: the manual's entry in short, with its examples.
        atomic: whether it goes into lists down to their atoms.
        contextual: whether `run` is given, before the operands, the program's state, and behind
            them the names of those operands that are variables.
    """

    glyph: str
    arity: int
    name: str
    run: Callable[..., Any]
    help: str
    atomic: bool = False
    contextual: bool = False


def verb(
    glyph: str,
    arity: int,
    name: str,
    *,
    atomic: bool = False,
    contextual: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function as the verb `glyph` with so many operands."""

    def enter(run: Callable[..., Any]) -> Callable[..., Any]:
        if (glyph, arity) in VERBS:
            raise ValueError(f"the verb {glyph} with {arity} operands is there already")
        help = run.__doc__ or ""
        VERBS[glyph, arity] = Verb(glyph, arity, name, run, help, atomic, contextual)
        return run

    return enter


def each_atom(function: Callable[[Any], Any], a: Any) -> Any:
    """Apply a function to each element of a list, as atomic monads do."""
    return listed([function(x) for x in items(a)])


def each_pair(function: Callable[[Any, Any], Any], glyph: str, a: Any, b: Any) -> Any:
    """Combine what is no number: lists element by element, an atom with each element.

    Raises:
        KlongError: neither is a list, or two lists have different lengths.
    """
    if is_list(a):
        if is_list(b):
            xs, ys = items(a), items(b)
            if len(xs) != len(ys):
                raise _unequal(glyph, len(xs), len(ys))
            return listed([function(x, y) for x, y in zip(xs, ys, strict=True)])
        return listed([function(x, b) for x in items(a)])
    if is_list(b):
        return listed([function(a, y) for y in items(b)])
    raise KlongError(f"a{glyph}b needs numbers; found {kind_of(a)} and {kind_of(b)}")


def _unequal(glyph: str, m: int, n: int) -> KlongError:
    return KlongError(f"a{glyph}b: lists of {m} and {n} elements do not match")


def aligned(
    operation: Callable[[Any, Any], Tensor], function: Any, glyph: str, a: Any, b: Any
) -> Any:
    """Apply an operation to Tensors, or a Tensor and a number.

    Axes are matched from the left, as elements of lists are: [[1 2] [3 4]]+[10 20] adds 10 to
    the first row.
    """
    if type(a) is Tensor and type(b) is Tensor:
        p, q = tuple(a._value.shape), tuple(b._value.shape)
        if p != q and p and q:
            n = min(len(p), len(q))
            if p[:n] != q[:n]:
                at = next(i for i in range(n) if p[i] != q[i])
                raise _unequal(glyph, p[at], q[at])
            if len(p) < len(q):
                a = reshape(a, p + (1,) * (len(q) - n))
            else:
                b = reshape(b, q + (1,) * (len(p) - n))
    else:
        number = b if type(a) is Tensor else a
        if type(number) is int and not LEAST <= number <= MOST:
            return each_pair(function, glyph, a, b)
    t = operation(a, b)
    if t._value.shape:
        return t
    return _number_of_program(operation, a, b, t) if t.backend.level else settle(t)


def _number_of_program(operation: Any, a: Any, b: Any, t: Tensor) -> Tensor:
    """Return the result for two numbers while a program is traced: as Python's, or not at all.

    Raises:
        TraceError: whether it is an integer or a real depends on the values.
    """
    if t._node is not None or modes.tracing is None:
        return t
    kinds = [type(v) is float or (type(v) is Tensor and is_floating(v)) for v in (a, b)]
    if operation in (maximum, minimum):
        if kinds[0] != kinds[1]:
            raise TraceError("a value decides here between an integer and a real")
        if kinds[0]:
            holds(equal(a, a))  # nan: Python's comparison and the operation differ
            holds(equal(b, b))
    if not is_floating(t):  # where integers would leave int64, reals say so
        holds(less_equal(absolute(operation(*map(_as_real, (a, b)))), EXACT))
    return integers(t) if t.dtype is bool_ else t


def _as_real(value: Any) -> Any:
    return real(value) if type(value) is Tensor else float(value)


def is_numeric(a: Any, b: Any) -> bool:
    """Say whether both are numbers or Tensors."""
    return (type(a) is Tensor or type(a) in NUMBERS) and (type(b) is Tensor or type(b) in NUMBERS)
