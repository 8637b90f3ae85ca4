"""Choosing and converting: `where` and `astype`."""

import operator
from array import array
from typing import Any

from atled.backends.python import ieee
from atled.backends.python.array import CODES, Array
from atled.backends.python.layout import broadcast_shape
from atled.backends.python.operand import as_array, expanded, mapped, paired
from atled.dtypes import DType, bool_, float64, int64

__all__ = ["astype", "where"]


def astype(x: Array, dtype: DType) -> Array:
    """Return x in another dtype; x itself where it has it already.

    Floats are truncated towards zero; nan and what int64 cannot hold give its minimum.
    To bool, everything but zero is true.
    """
    if x.dtype is dtype:
        return x
    flat = x.flat()
    if dtype is bool_:
        data = array("b", bytes(map(operator.truth, flat)))
    elif dtype is int64 and x.dtype is float64:
        data = mapped(int64, int, ieee.truncated, flat)
    else:
        data = array(CODES[dtype], flat)
    return Array(data, x.shape, dtype)


def where(condition: Any, a: Any, b: Any) -> Array:
    """Return a where the condition holds and b elsewhere; all three broadcast."""
    condition = as_array("where", condition)
    shape, dtype, p, q = paired("where", a, b)
    whole = broadcast_shape("where", condition.shape, shape)
    if whole != shape:
        p = expanded(as_array("where", a), whole)
        q = expanded(as_array("where", b), whole)
    chosen = [x if k else y for k, x, y in zip(expanded(condition, whole), p, q)]  # noqa: B905
    return Array(array(CODES[dtype], chosen), whole, dtype)
