"""Movement: functions that place elements elsewhere and compute nothing.

A view wherever strides can say it (permutations, broadcasts, slices), one copy otherwise.
"""

import builtins
from array import array
from math import prod
from typing import Any, TypeAlias

from atled.backends.python.array import CODES, Array
from atled.backends.python.layout import (
    Shape,
    axes_of,
    broadcast_strides,
    transfer,
)
from atled.backends.python.operand import promoted
from atled.dtypes import DType
from atled.errors import IndexingError, ShapeError

__all__ = ["basic_index", "broadcast_to", "concat", "permute_dims", "place", "reshape", "slice"]

Index: TypeAlias = tuple[tuple[int | None, int | None, int | None], ...]


def reshape(x: Array, shape: Shape) -> Array:
    """Return the elements of x, in row-major order, under another shape.

    Raises:
        ShapeError: the shapes hold different numbers of elements.
    """
    shape = tuple(shape)
    if prod(shape) != x.size or any(n < 0 for n in shape):
        raise ShapeError(f"reshape: {x.size} elements of shape {x.shape} do not fill {shape}")
    return Array(x.flat(), shape, x.dtype)


def permute_dims(x: Array, axes: Shape) -> Array:
    """Return a view whose axis i is axis axes[i] of x.

    Raises:
        ShapeError: axes does not name every axis once.
    """
    axes = tuple(axes)
    if axes_of(axes, x.shape) != tuple(range(x.ndim)):
        raise ShapeError(f"permute_dims: axes {axes} are not the {x.ndim} axes of {x.shape}")
    strides = x.strides
    shape = tuple(x.shape[i] for i in axes)
    return Array(x.data, shape, x.dtype, tuple(strides[i] for i in axes), x.offset)


def broadcast_to(x: Array, shape: Shape) -> Array:
    """Return a view of x under a shape that it broadcasts to.

    Raises:
        ShapeError: it does not.
    """
    shape = tuple(shape)
    if shape == x.shape:
        return x
    strides = broadcast_strides(x.shape, x.strides, shape)
    return Array(x.data, shape, x.dtype, strides, x.offset)


def concat(*arrays: Array, axis: int = 0) -> Array:
    """Return the arrays joined along an axis, in their promoted dtype.

    Raises:
        ShapeError: there is none, or the shapes differ off the axis.
    """
    if not arrays:
        raise ShapeError("concat: expected at least one array; found none")
    first = arrays[0].shape
    (axis,) = axes_of(axis, first)
    for x in arrays[1:]:
        if x.ndim != len(first) or any(
            n != m for i, (n, m) in enumerate(zip(first, x.shape, strict=True)) if i != axis
        ):
            shapes = ", ".join(str(a.shape) for a in arrays)
            raise ShapeError(f"concat: shapes {shapes} differ off axis {axis}")
    dtype = promoted("concat", *arrays)
    shape = (*first[:axis], sum(x.shape[axis] for x in arrays), *first[axis + 1 :])
    out = _zeros(shape, dtype)
    strides, start = out.strides, 0
    for x in arrays:
        # A storage of another typecode cannot be copied in runs: convert it first.
        data = x.data if x.dtype is dtype else array(CODES[dtype], x.data)
        transfer(out.data, strides, start, data, x.strides, x.offset, x.shape)
        start += x.shape[axis] * strides[axis]
    return out


def slice(x: Array, index: Index) -> Array:
    """Return a view of x at one (start, stop, step) an axis.

    Raises:
        ShapeError: index does not have one entry an axis.
    """
    shape, strides, offset = _sliced(x.shape, x.strides, index)
    return Array(x.data, shape, x.dtype, strides, x.offset + offset)


def place(x: Array, index: Index, shape: Shape) -> Array:
    """Return zeros of `shape` with x at slice(..., index).

    Raises:
        ShapeError: x does not have the shape of that slice.
    """
    out = _zeros(tuple(shape), x.dtype)
    found, strides, offset = _sliced(out.shape, out.strides, index)
    if found != x.shape:
        raise ShapeError(f"place: {index} of {out.shape} has shape {found}; x has {x.shape}")
    transfer(out.data, strides, offset, x.data, x.strides, x.offset, x.shape)
    return out


def basic_index(x: Array, key: Any) -> Array:
    """Return the view x[key] for integers, slices, None and one Ellipsis.

    Raises:
        IndexingError: another kind of index, too many of them, or an integer out of range.
    """
    keys = _completed(key if isinstance(key, tuple) else (key,), x)
    shape, strides, offset = [], [], x.offset
    axes = iter(zip(x.shape, x.strides, strict=True))
    for k in keys:
        if k is None:
            shape.append(1)
            strides.append(0)
            continue
        n, step = next(axes)
        if isinstance(k, builtins.slice):
            taken = range(n)[k]
            shape.append(len(taken))
            strides.append(taken.step * step)
            offset += taken.start * step
        elif -n <= k < n:
            offset += k % n * step
        else:
            raise IndexingError(f"index {k} is out of range for an axis of length {n}")
    return Array(x.data, tuple(shape), x.dtype, tuple(strides), offset)


def _completed(keys: tuple[Any, ...], x: Array) -> list[Any]:
    """Return one key for each axis (and each None), the Ellipsis written out."""
    for k in keys:
        if not (k is None or k is ... or isinstance(k, (int, builtins.slice))):
            raise IndexingError(
                f"x[...] here takes integers, slices, None and Ellipsis; found {type(k).__name__}"
            )
    dots = [i for i, k in enumerate(keys) if k is ...]
    used = sum(k is not None and k is not ... for k in keys)
    if used > x.ndim or len(dots) > 1:
        raise IndexingError(f"{used} indices and {len(dots)} '...' do not fit shape {x.shape}")
    at = dots[0] if dots else len(keys)
    whole = [builtins.slice(None)] * (x.ndim - used)
    return [*keys[:at], *whole, *keys[at + 1 :]]


def _sliced(shape: Shape, strides: Shape, index: Index) -> tuple[Shape, Shape, int]:
    """Return shape, strides and first place of a slice of a strided array."""
    if len(index) != len(shape):
        raise ShapeError(f"slice: {len(index)} entries for the {len(shape)} axes of {shape}")
    taken = [range(n)[builtins.slice(*k)] for n, k in zip(shape, index, strict=True)]
    first = sum(t.start * step for t, step in zip(taken, strides, strict=True))
    steps = tuple(t.step * step for t, step in zip(taken, strides, strict=True))
    return tuple(map(len, taken)), steps, first


def _zeros(shape: Shape, dtype: DType) -> Array:
    """Return a dense array to be filled."""
    return Array(array(CODES[dtype], [0]) * prod(shape), shape, dtype)
