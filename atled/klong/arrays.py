"""From lists to Tensors and back: the one place that knows where arrays live.

`listed` makes a list of values, a Tensor wherever it can be one; `items` takes one apart. The
default floating dtype while a program runs is float64 (float32 on a device without it).
"""

from collections.abc import Iterable
from typing import Any

from atled.backends.protocol import current, default_dtype
from atled.config import settings
from atled.core.tensor import Tensor, wrap
from atled.dtypes import bool_, int64
from atled.functions import astype, concat, reshape, stack, unbind
from atled.klong.errors import KlongError
from atled.klong.values import NUMBERS, Char, Dictionary

__all__ = [
    "array",
    "carries",
    "constant",
    "freeze",
    "integers",
    "is_floating",
    "items",
    "joined",
    "listed",
    "real",
    "settle",
    "shape_of",
    "size_limit",
    "thaw",
]

LEAST, MOST = -(2**63), 2**63 - 1
EXACT = 2**53  # integers up to here are floats, exactly
DEEPEST = 32  # axes of a Tensor; a list that nests more deeply stays a list
LARGEST = 2**31  # elements of a list that a verb may make


def size_limit(count: int) -> int:
    """Return a number of elements to make, or refuse it.

    Raises:
        KlongError: it is more than 2³¹.
    """
    if count > LARGEST:
        raise KlongError(f"a list of {count} elements is larger than the limit, {LARGEST}")
    return count


def array(numbers: Any, floating: bool = False) -> Tensor:
    """Return a Tensor of nested Python numbers, int64 or the floating dtype."""
    backend = current()
    dtype = default_dtype(backend) if floating else int64
    return wrap(backend.asarray(numbers, dtype=dtype, device=settings.device))


def carries(value: Any) -> bool:
    """Say whether a gradient flows through a value, or whether it is being traced."""
    return type(value) is Tensor and (value._node is not None or value.backend.level > 0)


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
    if t._value.shape or t._node is not None or t.backend.level > 0:
        return integers(t) if t.dtype is bool_ else t
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
        if value._node is None and value.backend.level == 0 and len(value._value.shape) == 1:
            return value.tolist()
        return [settle(x) for x in unbind(value)]
    return [value]


def listed(values: Iterable[Any]) -> Any:
    """Return a list of values: a Tensor if they are numbers, or Tensors of one shape."""
    values = list(values)
    if not values:
        return values
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


def flat(t: Tensor) -> Tensor:
    """Return a Tensor of one axis with all elements."""
    return reshape(t, (-1,))


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
