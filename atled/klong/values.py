"""Klong's data, as Python sees it.

| Klong                                   | Python                                            |
|-----------------------------------------|---------------------------------------------------|
| integer, real                           | `int` (unlimited), `float`                        |
| a number that carries a gradient        | a `Tensor` of no axes                             |
| list of equal-shaped numbers            | a `Tensor` of int64 or float64 with ≥ 1 axis¹     |
| any other list, and the empty one       | `list`                                            |
| character, symbol, string               | `Char`, `KlongSymbol`, `str`                      |
| dictionary                              | `Dictionary`                                      |
| function, operator with adverbs         | `Function`                                        |
| a missing value                         | `UNDEFINED`; numbers that are not finite count too |

¹ An array of float32 or float16 that Python hands over stays one, until it meets a float64.

What always holds: a list that could be a Tensor is one (`arrays.listed` makes them), and no
verb changes a list, so lists may be shared. Only dictionaries change in place.
"""

import math
from collections.abc import Callable
from typing import Any

from atled.core.tensor import Tensor

__all__ = [
    "EOF",
    "NUMBERS",
    "UNDEFINED",
    "Char",
    "Dictionary",
    "Function",
    "KlongSymbol",
    "Undefined",
    "arrays_or_numbers",
    "counted",
    "is_atom",
    "is_list",
    "is_undefined",
    "kind_of",
    "true",
]

NUMBERS = frozenset({int, float})


class _Text(str):
    """Text of its own kind: not equal to the string of the same characters."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((type(self), str(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class Char(_Text):
    """A character, `0ca`; not equal to the string of one character."""

    __slots__ = ()


class KlongSymbol(_Text):
    """A symbol, `:foo`; not equal to the string of its name."""

    __slots__ = ()


class Undefined:
    """What has no readable form: `UNDEFINED`, and `EOF`, the end of an input channel."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        return False


UNDEFINED = Undefined(":undefined")
EOF = Undefined(":eof")


class Dictionary(dict[Any, Any]):
    """A dictionary. Its keys are frozen values: a list as a key is a tuple.

    `arrays.freeze` and `arrays.thaw` go from values to keys and back.
    """

    __slots__ = ()
    __hash__ = object.__hash__  # type: ignore[assignment]


class Function:
    """A verb that is a value: a function of a program, a system function, one of Python.

    Attributes:
        name: how it is called, for messages.
        arity: the number of its arguments, 0 to 3; more for functions of Python.
        run: what computes, with exactly so many positional arguments.
        definition: what `calls.py` knows of a function written in Klong; None for others.
        least: the number of arguments that it can do with.
        origin: the object of Python that it stands for; None for others.
        parts: the functions that it calls, if these are all that it does besides computing
            with numbers; None where that is not known.
        enter: a context in which Python may call it; set by the interpreter that owns it.
    """

    __slots__ = ("arity", "definition", "enter", "least", "name", "origin", "parts", "run")

    def __init__(
        self,
        name: str,
        arity: int,
        run: Callable[..., Any],
        definition: Any = None,
        least: int | None = None,
        origin: Any = None,
        parts: "tuple[Function, ...] | None" = None,
    ) -> None:
        self.name, self.arity, self.run, self.definition = name, arity, run, definition
        self.least = arity if least is None else least
        self.origin, self.parts = origin, parts
        self.enter: Callable[..., Any] | None = None

    def __call__(self, *args: Any) -> Any:
        """Call it from Python: arguments become Klong's values, the result Python's."""
        return self.run(*args) if self.enter is None else self.enter(self, args)

    def __repr__(self) -> str:
        return KINDS[self.arity] if self.arity < len(KINDS) else ":function"


KINDS = (":nilad", ":monad", ":dyad", ":triad")


def is_list(value: Any) -> bool:
    """Say whether a value is a list (of whatever kind); strings are not."""
    kind = type(value)
    return kind is list or (kind is Tensor and len(value._value.shape) > 0)


def arrays_or_numbers(*values: Any) -> bool:
    """Say whether all values are numbers or arrays of numbers."""
    return all(type(v) is Tensor or type(v) in NUMBERS for v in values)


def is_atom(value: Any) -> bool:
    """Say what `@` says: all but non-empty lists and strings are atoms."""
    kind = type(value)
    if kind is list or kind is str:
        return not value
    return not (kind is Tensor and len(value._value.shape) > 0)


def true(value: Any) -> bool:
    """Say whether a value counts as true: all but 0, [] and ""."""
    kind = type(value)
    if kind is int or kind is float:
        return bool(value != 0)
    if kind is list or kind is str:
        return bool(value)
    if kind is Tensor:
        return bool(value._value.shape) or bool(value != 0)
    return True


def is_undefined(value: Any) -> bool:
    """Say whether a value is undefined: the undefined object, or a number that is not finite."""
    kind = type(value)
    if kind is float:
        return not math.isfinite(value)
    if kind is Tensor and not value._value.shape:
        return not math.isfinite(value.detach().item())
    return value is UNDEFINED


def kind_of(value: Any) -> str:
    """Return what a value is called in messages."""
    kind = type(value)
    if kind is Tensor:
        shape = tuple(value._value.shape)
        return f"an array of shape {list(shape)}" if shape else "a number"
    return _CALLED.get(kind) or f"an object of Python ({kind.__name__})"


_CALLED = {
    int: "an integer",
    float: "a real number",
    list: "a list",
    str: "a string",
    Char: "a character",
    KlongSymbol: "a symbol",
    Dictionary: "a dictionary",
    Function: "a function",
    Undefined: "undefined",
}


def counted(arity: int) -> str:
    """Return how many arguments there are, in words."""
    return "no arguments" if arity == 0 else "1 argument" if arity == 1 else f"{arity} arguments"
