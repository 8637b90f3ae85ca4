"""Operands: what a function accepts beside an Array, and how two of them line up.

Python scalars are weak: they take the dtype of the array beside them, or the smallest one
that can hold their kind (a float beside an int64 array gives float64).

A *column* is the elements of an operand in the row-major order of the result, as something
that `map` can read more than once: a storage, or an endless `repeat` of one element.
"""

from array import array
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any, TypeAlias

from atled.backends.python.array import CODES, Array
from atled.backends.python.layout import (
    Shape,
    Storage,
    broadcast_shape,
    broadcast_strides,
    dense,
)
from atled.dtypes import DType, bool_, float64, int64
from atled.errors import DTypeError

Column: TypeAlias = Iterable[Any]

RANK = {bool_: 0, int64: 1, float64: 2}
INT_MIN, INT_MAX = -(2**63), 2**63 - 1


def dtype_of(name: str, x: Any) -> DType:
    """Return the dtype of an array or a Python scalar.

    Raises:
        DTypeError: x is neither.
    """
    if isinstance(x, Array):
        return x.dtype
    for kind, dtype in ((bool, bool_), (int, int64), (float, float64)):
        if isinstance(x, kind):
            return dtype
    raise DTypeError(f"{name}: expected an array or a number; found {type(x).__name__}")


def promoted(name: str, *operands: Any) -> DType:
    """Return the dtype in which operands are computed: float64 over int64 over bool."""
    return max((dtype_of(name, x) for x in operands), key=RANK.__getitem__)


def number(name: str, value: Any, dtype: DType) -> Any:
    """Return a Python scalar as an element of `dtype`, which holds its kind.

    Raises:
        DTypeError: it is an integer that `dtype` cannot hold.
    """
    if dtype is not float64:
        if INT_MIN <= value <= INT_MAX:
            return int(value)
    else:
        try:
            return float(value)
        except OverflowError:
            pass
    raise DTypeError(
        f"{name}: an integer of {int(value).bit_length()} bits does not fit {dtype.name}"
    )


def as_array(name: str, x: Any) -> Array:
    """Return x itself if it is an Array, a 0-d Array if it is a Python scalar."""
    if isinstance(x, Array):
        return x
    dtype = dtype_of(name, x)
    return Array(array(CODES[dtype], [number(name, x, dtype)]), (), dtype)


def expanded(x: Array, shape: Shape) -> Storage:
    """Return the elements of x broadcast to `shape`, in row-major order."""
    if x.shape == shape:
        return x.flat()
    return dense(x.data, shape, broadcast_strides(x.shape, x.strides, shape), x.offset)


def paired(name: str, a: Any, b: Any) -> tuple[Shape, DType, Column, Column]:
    """Line up two operands.

    Returns:
        The shape and dtype of their broadcast, and a column for each.

    Raises:
        ShapeError: their shapes do not broadcast.
        DTypeError: one is neither an array nor a number.
    """
    if isinstance(a, Array) and isinstance(b, Array):
        dtype = a.dtype if RANK[a.dtype] >= RANK[b.dtype] else b.dtype
        if a.shape == b.shape:
            return a.shape, dtype, a.flat(), b.flat()
        shape = broadcast_shape(name, a.shape, b.shape)
        if b.size == 1:
            return shape, dtype, expanded(a, shape), repeat(b.data[b.offset])
        if a.size == 1:
            return shape, dtype, repeat(a.data[a.offset]), expanded(b, shape)
        return shape, dtype, expanded(a, shape), expanded(b, shape)
    dtype = promoted(name, a, b)
    if isinstance(a, Array):
        return a.shape, dtype, a.flat(), repeat(number(name, b, dtype))
    b = as_array(name, b)
    return b.shape, dtype, repeat(number(name, a, dtype)), b.flat()


def mapped(
    dtype: DType, fast: Callable[..., Any], careful: Callable[..., Any], *columns: Iterable[Any]
) -> Storage:
    """Map a function over columns: the C-level one, or the careful one where that raises.

    Args:
        dtype: the dtype of the result.
        fast: a function of `math` or `operator`, which may raise where IEEE arithmetic has a
            result, or leave the range of int64.
        careful: the same function, which never does.
        columns: the operands.
    """
    try:
        return array(CODES[dtype], map(fast, *columns))
    except (ArithmeticError, ValueError):
        return array(CODES[dtype], map(careful, *columns))
