"""From lists to Tensors and back: the one place that knows where arrays live.

`listed` makes a list of values, a Tensor wherever it can be one; `items` takes one apart. The
default floating dtype while a program runs is float64 (float32 on a device without it).
"""

from collections.abc import Iterable
from math import prod
from typing import Any

from atled.backends.protocol import current, default_dtype
from atled.config import modes, settings
from atled.core.tensor import Tensor, wrap
from atled.dtypes import bool_, int64
from atled.errors import TraceError
from atled.functions import astype, concat, greater_equal, less_equal, stack, unbind
from atled.klong.errors import KlongError
from atled.klong.limits import limits, size_limit
from atled.klong.values import NUMBERS, Char, Dictionary

__all__ = [
    "NotAsAssumed",
    "Unrolled",
    "array",
    "carries",
    "constant",
    "freeze",
    "holds",
    "integers",
    "is_floating",
    "items",
    "joined",
    "known",
    "listed",
    "real",
    "settle",
    "shape_of",
    "small",
    "thaw",
]

LEAST, MOST = -(2**63), 2**63 - 1
EXACT = 2**53  # integers up to here are floats, exactly
DEEPEST = 32  # axes of a Tensor; a list that nests more deeply stays a list


def array(numbers: Any, floating: bool = False) -> Tensor:
    """Return a Tensor of nested Python numbers, int64 or the floating dtype."""
    backend = current()
    dtype = default_dtype(backend) if floating else int64
    t = wrap(backend.asarray(numbers, dtype=dtype, device=settings.device))
    if backend.level and type(numbers) is list:
        t.__dict__["literal"] = numbers  # a constant of a program remembers what it is
    return t


def carries(value: Any) -> bool:
    """Say whether a gradient flows through a value, or whether it is being traced."""
    return type(value) is Tensor and (value._node is not None or value.backend.level > 0)


# -- while a program is being traced, numbers are not known


class NotAsAssumed(Exception):
    """A program met values that it was not made for."""


def known(value: Any) -> Any:
    """Return a value as plain data, to be looked at.

    Raises:
        TraceError: it is an array of a program that is being traced.
    """
    value = constant(value)
    if type(value) is Tensor and value.backend.level:
        raise TraceError("it looks at a value")
    return value


def holds(condition: Tensor) -> bool:
    """Say whether a truth value is true; a program being traced relies on it, and checks it."""
    if condition.backend.level and modes.tracing is not None:
        modes.tracing.check(condition, NotAsAssumed)
        return True
    return bool(condition.item())


def small(t: Tensor) -> Tensor:
    """Return an integer of a program that is being traced, which Python's stays equal to."""
    holds(less_equal(t, EXACT))
    holds(greater_equal(t, -EXACT))
    return t


class Unrolled:
    """While it lasts, so many rounds of loops may be written out in the program being traced.

    A class: it is asked at every call of a function.
    """

    left: int | None = None

    def __init__(self, room: int) -> None:
        self._room, self._before = room, Unrolled.left

    def __enter__(self) -> None:
        Unrolled.left = self._room

    def __exit__(self, *exc: Any) -> None:
        Unrolled.left = self._before

    @classmethod
    def spend(cls, rounds: int) -> None:
        """Count rounds.

        Raises:
            TraceError: the program is becoming too long.
        """
        if cls.left is not None:
            cls.left -= rounds
            if cls.left < 0:
                raise TraceError("its loops, written out, are too long for a program")


def constant(value: Any) -> Any:
    """Return a value as plain data: what carries a gradient, without it."""
    if type(value) is Tensor and value.backend.level:  # a literal of a function being traced
        return value.__dict__.get("literal", value)
    if type(value) is Tensor and value._node is not None:
        value = value.detach()
        return value if value._value.shape else settle(value)
    return value


def settle(t: Tensor) -> Any:
    """Return a result: a Python number for a Tensor of no axes, unless it carries a gradient."""
    if t._value.shape or t._node is not None:
        return integers(t) if t.dtype is bool_ else t
    if t.backend.level > 0:
        return integers(t) if t.dtype is bool_ else t if t.dtype is not int64 else small(t)
    value = t.backend.tolist(t._value)
    return int(value) if type(value) is bool else value


def integers(t: Tensor) -> Tensor:
    """Return a Tensor as int64."""
    return astype(t, int64)


def is_floating(t: Tensor) -> bool:
    """Say whether a Tensor holds reals."""
    return t.dtype.is_floating_point


def real(t: Tensor) -> Tensor:
    """Return a Tensor of reals."""
    return t if is_floating(t) else astype(t, default_dtype(t.backend))


def shape_of(value: Any) -> tuple[int, ...]:
    """Return the shape of a Tensor; () for anything else."""
    return tuple(value._value.shape) if type(value) is Tensor else ()


def items(value: Any) -> list[Any]:
    """Return the elements of a list or the characters of a string; [a] for an atom."""
    kind = type(value)
    if kind is list:
        return value
    if kind is str:
        return [Char(c) for c in value]
    if kind is Tensor and value._value.shape:
        if value._node is None and len(value._value.shape) == 1:
            if value.backend.level == 0:
                return value.tolist()
            if "literal" in value.__dict__:
                return list(value.__dict__["literal"])
        Unrolled.spend(value._value.shape[0])
        return [settle(x) for x in unbind(value)]
    return [value]


def listed(values: Iterable[Any]) -> Any:
    """Return a list of values: a Tensor if they are numbers, or Tensors of one shape."""
    values = list(values)
    if not values:
        return values
    if limits.steps is not None:
        limits.spend(len(values))
    kinds = set(map(type, values))
    if kinds <= NUMBERS:
        return _numbers(values, kinds)
    if Tensor in kinds and kinds <= _STACKABLE:
        shape = shape_of(values[0])
        if len(shape) < DEEPEST and all(shape_of(v) == shape for v in values):
            return _stacked(values, kinds)
    return values


_STACKABLE = frozenset({int, float, Tensor})


def _numbers(values: list[Any], kinds: set[type]) -> Any:
    if float not in kinds:
        if min(values) < LEAST or max(values) > MOST:
            return values
        return array(values)
    if int in kinds and any(type(v) is int and not -EXACT <= v <= EXACT for v in values):
        return values
    return array(values, floating=True)


def _stacked(values: list[Any], kinds: set[type]) -> Any:
    size_limit(len(values) * prod(shape_of(values[0])))
    if len(kinds) > 1:  # Tensors of no axes, which carry gradients, beside numbers
        if any(type(v) is int and not -EXACT <= v <= EXACT for v in values):
            return values
        values = [v if type(v) is Tensor else array(v, type(v) is float) for v in values]
    floating = [is_floating(v) for v in values]
    if any(floating) and not all(floating):
        values = [real(v) for v in values]
    return stack(values)


def joined(a: Any, b: Any) -> Any:
    """Return the elements of list a, then those of list b, as a list."""
    if type(a) is Tensor and type(b) is Tensor and shape_of(a)[1:] == shape_of(b)[1:]:
        if is_floating(a) != is_floating(b):
            a, b = real(a), real(b)
        return concat([a, b])
    if type(a) is list and not a:
        return b
    if type(b) is list and not b:
        return a
    return listed(items(a) + items(b))


def freeze(key: Any) -> Any:
    """Return a value as the key of a dictionary: a list as a tuple."""
    kind = type(key)
    if kind is list or kind is Tensor:
        key = constant(key)
        if type(key) is Tensor:
            key = key.tolist()
        return tuple(map(freeze, key)) if type(key) is list else key
    if kind is Dictionary:
        raise KlongError("a dictionary cannot be a key of a dictionary")
    return key


def thaw(key: Any) -> Any:
    """Return the value of which a key was made."""
    return listed(map(thaw, key)) if type(key) is tuple else key
