"""Gathering and scattering by integer arrays over the leading axes.

k index arrays of one shape name *blocks*: the elements of x[i0, ..., ik-1]. Blocks lie dense
in row-major order, so one is copied by a slice.
"""

from array import array
from collections.abc import Iterable
from itertools import repeat
from math import prod
from operator import add, mul
from typing import Any

from atled.backends.python import ieee
from atled.backends.python.array import CODES, Array
from atled.backends.python.choose import astype
from atled.backends.python.layout import Shape, Storage
from atled.backends.python.movement import broadcast_to
from atled.backends.python.operand import as_array
from atled.dtypes import float64, int64
from atled.errors import DTypeError, IndexingError, ShapeError

__all__ = ["gather_nd", "scatter_nd_add", "scatter_nd_set"]


def gather_nd(x: Array, *indices: Array) -> Array:
    """Return x[i0, i1, ...], of shape indices.shape + x.shape[k:].

    Raises:
        IndexingError: an index is out of [0, n).
        DTypeError: indices are not int64.
        ShapeError: their shapes differ, or there are more than axes.
    """
    places, size = _blocks("gather_nd", x, indices)
    flat = x.flat()
    shape = indices[0].shape + x.shape[len(indices) :]
    if size == 1:
        return Array(array(flat.typecode, map(flat.__getitem__, places)), shape, x.dtype)
    data = flat[:0]
    for i in places:
        data += flat[i * size : (i + 1) * size]
    return Array(data, shape, x.dtype)


def scatter_nd_add(x: Array, v: Any, *indices: Array) -> Array:
    """Return a copy of x with v added at x[i0, i1, ...]; repeats add up in the order of v.

    Raises:
        IndexingError: an index is out of [0, n).
        DTypeError: indices are not int64.
        ShapeError: their shapes differ, or there are more than axes, or v does not fit them.
    """
    places, size = _blocks("scatter_nd_add", x, indices)
    added = _values(x, v, indices)
    if size == 1:
        values: list[Any] = x.flat().tolist()
        for i, value in zip(places, added, strict=True):
            values[i] += value
        return Array(_packed(x, values), x.shape, x.dtype)
    data = x.flat()[:]
    for j, i in enumerate(places):
        here = slice(i * size, (i + 1) * size)
        data[here] = _packed(x, list(map(add, data[here], added[j * size : (j + 1) * size])))
    return Array(data, x.shape, x.dtype)


def scatter_nd_set(x: Array, v: Any, *indices: Array) -> Array:
    """Return a copy of x with v written at x[i0, i1, ...]; the last one wins on repeats.

    Raises:
        IndexingError: an index is out of [0, n).
        DTypeError: indices are not int64.
        ShapeError: their shapes differ, or there are more than axes, or v does not fit them.
    """
    places, size = _blocks("scatter_nd_set", x, indices)
    written = _values(x, v, indices)
    data = x.flat()[:]
    for j, i in enumerate(places):
        data[i * size : (i + 1) * size] = written[j * size : (j + 1) * size]
    return Array(data, x.shape, x.dtype)


def _blocks(name: str, x: Array, indices: tuple[Array, ...]) -> tuple[Iterable[int], int]:
    """Return the numbers of the blocks that indices name, and the size of a block."""
    if not 1 <= len(indices) <= x.ndim or any(i.shape != indices[0].shape for i in indices):
        shapes = ", ".join(str(i.shape) for i in indices)
        raise ShapeError(
            f"{name}: expected one to {x.ndim} index arrays of one shape for an array of shape "
            f"{x.shape}; found {len(indices)}: {shapes}"
        )
    places: Iterable[int] = ()
    for axis, (index, n) in enumerate(zip(indices, x.shape, strict=False)):
        if index.dtype is not int64:
            raise DTypeError(f"{name}: indices must be int64; found {index.dtype.name}")
        flat = index.flat()
        if flat and (min(flat) < 0 or max(flat) >= n):
            raise IndexingError(
                f"{name}: indices from {min(flat)} to {max(flat)} leave axis {axis} of shape "
                f"{x.shape}; each must lie in [0, {n})"
            )
        places = map(add, map(mul, places, repeat(n)), flat) if axis else flat
    return places, prod(x.shape[len(indices) :])


def _values(x: Array, v: Any, indices: tuple[Array, ...]) -> Storage:
    """Return what is scattered, in the dtype of x and the shape of the named blocks."""
    shape: Shape = indices[0].shape + x.shape[len(indices) :]
    return astype(broadcast_to(as_array("scatter", v), shape), x.dtype).flat()


def _packed(x: Array, values: list[Any]) -> Storage:
    """Return values as a storage of the dtype of x; integers wrap."""
    if x.dtype is not float64:
        values = list(map(ieee.wrapped, values)) if x.dtype is int64 else list(map(bool, values))
    return array(CODES[x.dtype], values)
