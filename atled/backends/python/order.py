"""Order: sorting, searching and what is not zero.

nan counts as larger than every number, inf included.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from functools import partial
from itertools import compress, repeat
from operator import floordiv, mod
from typing import Any

from atled.backends.python.array import Array
from atled.backends.python.operand import as_array
from atled.backends.python.reduce import Lane, along, has_nan
from atled.dtypes import int64
from atled.errors import ShapeError

__all__ = ["argsort", "nonzero", "searchsorted"]


def _ordered(values: Iterable[Any]) -> list[tuple[bool, Any]]:
    """Return keys that compare as the values do, nan last."""
    return [(v != v, 0.0 if v != v else v) for v in values]


def argsort(x: Array, axis: int = -1, descending: bool = False) -> Array:
    """Return the indices that sort x along an axis.

    Stable both ways: equal elements keep their order, descending too. nan is the largest: last
    when ascending, first when descending.

    Raises:
        ShapeError: the axis does not exist.
    """
    keys = _ordered if has_nan(x) else None

    def places(lane: Lane) -> list[int]:
        key = (keys(lane) if keys else lane).__getitem__
        return sorted(range(len(lane)), key=key, reverse=descending)

    return along(x, axis, places, int64)


def searchsorted(x1: Array, x2: Any, side: str = "left") -> Array:
    """Return where each element of x2 would go in the sorted x1.

    Args:
        x1: one-dimensional, ascending.
        x2: any shape.
        side: "left" goes before equal elements, "right" after them.

    Raises:
        ShapeError: x1 is not one-dimensional, or side is neither.
    """
    if x1.ndim != 1:
        raise ShapeError(f"searchsorted: x1 must have one axis; found shape {x1.shape}")
    if side not in ("left", "right"):
        raise ShapeError(f"searchsorted: side must be 'left' or 'right'; found {side!r}")
    x2 = as_array("searchsorted", x2)
    values: Iterable[Any] = x2.flat()
    within: Lane = x1.flat()
    if has_nan(x1) or has_nan(x2):
        within, values = _ordered(within), _ordered(values)
    place = partial(bisect_left if side == "left" else bisect_right, within)
    return Array(array("q", map(place, values)), x2.shape, int64)


def nonzero(x: Array) -> tuple[Array, ...]:
    """Return the indices of what is not zero, one array an axis, in row-major order.

    Raises:
        ShapeError: x is 0-d.
    """
    if not x.ndim:
        raise ShapeError("nonzero: a 0-d array has no indices; reshape it to (1,) first")
    places = list(compress(range(x.size), x.flat()))
    found, step = [], 1
    for n in reversed(x.shape):
        along_axis = map(mod, map(floordiv, places, repeat(step)), repeat(n))
        found.append(Array(array("q", along_axis), (len(places),), int64))
        step *= n
    return tuple(reversed(found))
