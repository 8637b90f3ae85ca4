"""Strided layout: where the elements of an array lie in its storage, and how they are copied.

Pure functions over storages (`array.array`), shapes, strides and offsets; strides and offsets
count elements. What always holds: a storage is never written after the array that owns it
exists, so several arrays may share one; a stride of 0 repeats an element along its axis.

Copies move whole runs by slice assignment of `array.array`, which runs in C: no index is
computed per element.
"""

from array import array
from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

from atled.errors import ShapeError

if TYPE_CHECKING:
    Storage: TypeAlias = array[Any]
else:
    Storage = array

Shape: TypeAlias = tuple[int, ...]


def row_major(shape: Shape) -> Shape:
    """Return the strides of a dense array of `shape`."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def broadcast_shape(name: str, a: Shape, b: Shape) -> Shape:
    """Return the shape to which a and b broadcast together.

    Raises:
        ShapeError: they do not; the text names the function and both shapes.
    """
    ndim = max(len(a), len(b))
    shape = []
    for n, m in zip((1,) * (ndim - len(a)) + a, (1,) * (ndim - len(b)) + b, strict=True):
        if n != m and n != 1 and m != 1:
            raise ShapeError(
                f"{name}: shapes {a} and {b} do not broadcast: from the right, "
                f"each axis must have equal lengths, or length 1 in one of them"
            )
        shape.append(m if n == 1 else n)
    return tuple(shape)


def broadcast_strides(shape: Shape, strides: Shape, target: Shape) -> Shape:
    """Return the strides with which an array of `shape` reads as one of `target`.

    Raises:
        ShapeError: it cannot be broadcast so.
    """
    new = len(target) - len(shape)
    if new < 0 or any(n not in (1, m) for n, m in zip(shape, target[new:], strict=True)):
        raise ShapeError(f"shape {shape} cannot be broadcast to {target}")
    kept = zip(shape, strides, target[new:], strict=True)
    return (0,) * new + tuple(0 if n == 1 != m else step for n, step, m in kept)


def axes_of(axis: int | Iterable[int] | None, shape: Shape) -> Shape:
    """Return axes as ascending non-negative numbers; None means all of them.

    Raises:
        ShapeError: an axis does not exist, or is named twice.
    """
    ndim = len(shape)
    if axis is None:
        return tuple(range(ndim))
    asked = (axis,) if isinstance(axis, int) else tuple(axis)
    for i in asked:
        if not -ndim <= i < ndim:
            raise ShapeError(f"axis {i} does not exist in an array of shape {shape}")
    axes = tuple(sorted(i % ndim for i in asked))
    if len(set(axes)) < len(axes):
        raise ShapeError(f"axes {asked} name an axis of shape {shape} twice")
    return axes


def dense(data: Storage, shape: Shape, strides: Shape, offset: int) -> Storage:
    """Return the elements of a strided array in row-major order; data itself if it is that."""
    size = prod(shape)
    if not size:
        return data[:0]
    if strides == row_major(shape):
        return data if size == len(data) else data[offset : offset + size]
    if strides[0] == 0:  # a repeated block: copied once, repeated by memcpy
        return dense(data, shape[1:], strides[1:], offset) * shape[0]
    out = data[:1] * size  # 15 times faster than array(code, bytes(8 * size))
    transfer(out, row_major(shape), 0, data, strides, offset, shape)
    return out


def transfer(
    target: Storage,
    target_strides: Shape,
    target_offset: int,
    source: Storage,
    source_strides: Shape,
    source_offset: int,
    shape: Shape,
) -> None:
    """Copy a strided array of `shape` into strided places of another storage.

    The longest axis is copied by slices, the others are walked: a tall matrix and its
    transpose cost the same.
    """
    if 0 in shape:
        return
    axes = _merged(shape, target_strides, source_strides)
    longest = max(range(len(axes)), key=lambda i: axes[i][0])
    n, to_step, from_step = axes.pop(longest)
    starts = [(target_offset, source_offset)]
    for m, p, q in axes:
        starts = [(i + p * k, j + q * k) for i, j in starts for k in range(m)]
    for i, j in starts:
        run = source[j : j + 1] * n if from_step == 0 else source[_run(j, n, from_step)]
        target[_run(i, n, to_step)] = run


def _run(start: int, n: int, step: int) -> slice:
    """Return the slice of n >= 1 elements from `start` in steps of `step` (not 0)."""
    stop = start + (n - 1) * step + (1 if step > 0 else -1)
    return slice(start, None if stop < 0 else stop, step)


def _merged(shape: Shape, p: Shape, q: Shape) -> list[tuple[int, int, int]]:
    """Return axes as (length, stride, stride), joining neighbours that step as one."""
    axes: list[tuple[int, int, int]] = []  # from the innermost outwards
    for n, a, b in zip(reversed(shape), reversed(p), reversed(q), strict=True):
        if n == 1:
            continue
        if axes and a == axes[-1][0] * axes[-1][1] and b == axes[-1][0] * axes[-1][2]:
            axes[-1] = (n * axes[-1][0], *axes[-1][1:])
        else:
            axes.append((n, a, b))
    return axes[::-1] or [(1, 1, 1)]
