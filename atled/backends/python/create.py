"""Arrays made from a few numbers: constants and ranges."""

import math
from array import array
from itertools import repeat
from operator import add, mul
from typing import Any

from atled.backends.python.array import CODES, Array
from atled.backends.python.choose import astype
from atled.backends.python.layout import Shape
from atled.backends.python.movement import broadcast_to
from atled.backends.python.operand import as_array, number
from atled.dtypes import DType, float64, int64
from atled.errors import ShapeError


def full(shape: int | Shape, fill_value: Any, dtype: DType | None) -> Array:
    """Return an array of one value: a view of one element, in the dtype of the value or `dtype`.

    Raises:
        ShapeError: a length is negative.
        DTypeError: the value is an integer that the dtype cannot hold.
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(n < 0 for n in shape):
        raise ShapeError(f"full: shape {shape} has a negative length")
    if dtype is float64 and isinstance(fill_value, int):
        fill_value = number("full", fill_value, float64)
    value = as_array("full", fill_value)
    return broadcast_to(value if dtype is None else astype(value, dtype), shape)


def arange(start: float, stop: float | None, step: float, dtype: DType | None) -> Array:
    """Return start, start + step, ... below stop; from 0 below start without a stop.

    int64 if all are integers, else float64, unless a dtype is given.

    Raises:
        ShapeError: the step is 0.
    """
    start, stop = (0, start) if stop is None else (start, stop)
    if step == 0:
        raise ShapeError(f"arange: the step from {start} to {stop} must not be 0")
    values: Any
    if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int):
        values, found = range(start, stop, step), int64
    else:
        count = max(0, math.ceil((stop - start) / step))
        values, found = map(add, repeat(start), map(mul, repeat(step), range(count))), float64
    data = array(CODES[found], values)
    x = Array(data, (len(data),), found)
    return x if dtype is None else astype(x, dtype)
