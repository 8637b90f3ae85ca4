"""More names for moving elements: joining, cutting, turning, diagonals, windows; dtype questions.

All of it is written with the movements of `shape.py` and with gathering.
"""

from itertools import pairwise
from typing import Any

from atled import dtypes
from atled.core import kinds
from atled.core.apply import apply, as_tensor
from atled.core.kinds import normalize_axes
from atled.core.op import Sample
from atled.core.surface import public, spelled
from atled.core.tensor import Tensor, wrap
from atled.errors import ShapeError
from atled.ops.create import place
from atled.ops.index import scatter
from atled.ops.repeat import pad
from atled.ops.select import take
from atled.ops.shape import (
    broadcast_arrays,
    broadcast_to,
    concat,
    expand_dims,
    flip,
    moveaxis,
    narrow,
    reshape,
    split,
    transpose,
)

# -- questions about dtypes and shapes, see `atled/dtypes.py` and `core/kinds.py`

for _function in (
    dtypes.finfo,
    dtypes.iinfo,
    dtypes.isdtype,
    dtypes.can_cast,
    dtypes.result_type,
):
    public(method=False)(_function)


@public(method=False)
def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """Return the shape that arrays of the given shapes broadcast to.

    Raises:
        ShapeError: they do not; both shapes and the axis are named.
    """
    sizes = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    return kinds.broadcast_shapes(*sizes, name="broadcast_shapes") if sizes else ()


@public(method=False, samples=(Sample(((3, 1), (4,))),), reference="numpy.broadcast_arrays")
def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Return the Tensors broadcast to their common shape (PyTorch's name)."""
    return tuple(broadcast_arrays(*tensors))


@public(method=False, samples=(Sample(((2, 3), ())),), reference="reference.fill")
def fill(x: Any, value: Any) -> Tensor:
    """Return one value, a number or a 0-d Tensor, everywhere, in the shape and dtype of x."""
    x = as_tensor(x)
    return broadcast_to(as_tensor(value, dtype=x.dtype), x.shape)


# -- at least so many axes, joining


def _each(tensors: tuple[Any, ...], one: Any) -> Any:
    if len(tensors) == 1:
        return one(as_tensor(tensors[0]))
    return tuple([one(as_tensor(t)) for t in tensors])


@public(samples=(Sample(((),)), Sample(((3, 2),))))
def atleast_1d(*tensors: Any) -> Any:
    """Return 0-d Tensors as vectors of one element, others as they are; a tuple for several."""
    return _each(tensors, lambda t: t if t.ndim else reshape(t, 1))


@public(samples=(Sample(((),)), Sample(((3,),)), Sample(((3, 2),))))
def atleast_2d(*tensors: Any) -> Any:
    """Return Tensors with new leading axes, up to two in all; a tuple for several."""
    return _each(tensors, lambda t: t if t.ndim > 1 else reshape(t, (1, -1)))


@public(samples=(Sample(((),)), Sample(((3,),)), Sample(((3, 2),))))
def atleast_3d(*tensors: Any) -> Any:
    """Return Tensors with three axes: (n,) becomes (1, n, 1), (m, n) becomes (m, n, 1)."""

    def wide(t: Tensor) -> Tensor:
        return t if t.ndim > 2 else expand_dims(atleast_2d(t), -1)

    return _each(tensors, wide)


@public(
    method=False, samples=(Sample(((2, 3), (), (2,), (3, 1))),), reference="reference.block_diag"
)
def block_diag(*tensors: Any) -> Tensor:
    """Return a matrix with the given matrices, vectors (as rows) and numbers down its diagonal."""
    blocks = [atleast_2d(t) for t in tensors]
    if any(b.ndim != 2 for b in blocks):
        raise ShapeError("block_diag: matrices, vectors and numbers only")
    width, before, rows = sum(b.shape[1] for b in blocks), 0, []
    for b in blocks:
        after = width - before - b.shape[1]
        rows.append(pad(b, [(0, 0), (before, after)]))
        before += b.shape[1]
    return concat(rows, 0)


@public(
    method=False,
    samples=(
        Sample(((2,), (3,))),
        Sample(((2, 1), (2, 3))),
    ),
    reference="reference.hstack",
)
def hstack(arrays: Any) -> Tensor:
    """Join side by side: along the second axis, or the first of vectors."""
    parts = [atleast_1d(x) for x in arrays]
    return concat(parts, 0 if parts[0].ndim == 1 else 1)


@public("row_stack", method=False, samples=(Sample(((3,), (2, 3))),), reference="reference.vstack")
def vstack(arrays: Any) -> Tensor:
    """Join one above the other: along the first axis, vectors as rows."""
    return concat([atleast_2d(x) for x in arrays], 0)


@public(method=False, samples=(Sample(((3,), (3,))),), reference="reference.dstack")
def dstack(arrays: Any) -> Tensor:
    """Join behind one another: along the third axis."""
    return concat([atleast_3d(x) for x in arrays], 2)


@public(method=False, samples=(Sample(((3,), (3, 2))),), reference="reference.column_stack")
def column_stack(arrays: Any) -> Tensor:
    """Join matrices side by side, vectors as columns."""
    parts = [as_tensor(x) for x in arrays]
    return concat([t if t.ndim > 1 else reshape(t, (-1, 1)) for t in parts], 1)


# -- cutting


@public(
    samples=(
        Sample(((5, 2),), {"indices_or_sections": 3}),
        Sample(((2, 5),), {"indices_or_sections": (1, 1, 4), "axis": 1}),
    ),
    reference="numpy.array_split",
)
@spelled
def tensor_split(x: Any, indices_or_sections: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """Cut along an axis into so many parts of nearly equal length, or before the given places.

    Raises:
        ShapeError: less than one part.
    """
    x = as_tensor(x)
    (axis,) = normalize_axes(axis, x.ndim, "tensor_split")
    n, given = x.shape[axis], indices_or_sections
    given = given.tolist() if hasattr(given, "tolist") else given
    if isinstance(given, int):
        if given < 1:
            raise ShapeError(f"tensor_split: at least one part; found {given}")
        size, more = divmod(n, given)
        cuts = [i * size + min(i, more) for i in range(1, given)]
    else:
        cuts = [range(n)[:i].stop for i in given]  # negative and too large, as in a slice
    ends = [0, *cuts, n]
    if cuts == sorted(cuts):
        return split(x, [b - a for a, b in pairwise(ends)], axis)
    return tuple([narrow(x, axis, a, max(b - a, 0)) for a, b in pairwise(ends)])


@public(samples=(Sample(((2, 4),), {"indices_or_sections": 2}),))
def hsplit(x: Any, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Cut along the second axis, or the first of a vector; see `tensor_split`."""
    x = as_tensor(x)
    return _equal_split(x, indices_or_sections, 0 if x.ndim == 1 else 1, "hsplit")


@public(samples=(Sample(((4, 2),), {"indices_or_sections": (1, 3)}),))
def vsplit(x: Any, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Cut along the first axis of at least two; see `tensor_split`."""
    return _equal_split(as_tensor(x), indices_or_sections, 0, "vsplit", 2)


@public(samples=(Sample(((2, 1, 4),), {"indices_or_sections": 2}),))
def dsplit(x: Any, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Cut along the third axis; see `tensor_split`."""
    return _equal_split(as_tensor(x), indices_or_sections, 2, "dsplit", 3)


def _equal_split(x: Tensor, given: Any, axis: int, name: str, ndim: int = 1) -> tuple[Tensor, ...]:
    if x.ndim < ndim:
        raise ShapeError(f"{name}: at least {ndim} axes are needed; found {x.shape}")
    if isinstance(given, int) and (given < 1 or x.shape[axis] % given):
        raise ShapeError(f"{name}: axis {axis} of shape {x.shape} has no {given} equal parts")
    return tensor_split(x, given, axis)


# -- turning


@public(samples=(Sample(((2, 3),)),))
def fliplr(x: Any) -> Tensor:
    """Reverse the second axis."""
    return flip(x, 1)


@public(samples=(Sample(((2, 3),)),))
def flipud(x: Any) -> Tensor:
    """Reverse the first axis."""
    return flip(x, 0)


@public(samples=tuple(Sample(((2, 3),), {"k": k}) for k in (-1, 0, 1, 2)))
@spelled
def rot90(x: Any, k: int = 1, axes: Any = (0, 1)) -> Tensor:
    """Turn by k quarters in the plane of two axes, from the first to the second."""
    x = as_tensor(x)
    first, second = normalize_axes(tuple(axes), x.ndim, "rot90")
    k %= 4
    if k == 0:
        return x
    if k == 2:
        return flip(x, (first, second))
    if k == 1:
        return transpose(flip(x, second), first, second)
    return flip(transpose(x, first, second), second)


# -- diagonals and windows


@public(
    samples=(Sample(((2, 3),)), Sample(((2, 3),), {"offset": -1, "dim1": 0, "dim2": 2})),
    reference="reference.diag_embed",
)
def diag_embed(x: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Return matrices over axes dim1 and dim2 with the rows of x on the given diagonal."""
    x = as_tensor(x)
    first, second = normalize_axes((dim1, dim2), x.ndim + 1, "diag_embed")
    n = x.shape[-1] + abs(offset)
    line = wrap(x.backend.arange(x.shape[-1], device=x.device))
    shape = (n, n, *x.shape[:-1])
    at = (line + max(-offset, 0), line + max(offset, 0))
    wide = apply(scatter, moveaxis(x, -1, 0), *at, shape=shape)
    return moveaxis(wide, (0, 1), (first, second))


@public(method=False)
def tril_indices(
    rows: int, columns: int | None = None, offset: int = 0, device: str | None = None
) -> Tensor:
    """Return the places of a lower triangle, row by row: int64 of shape (2, count)."""
    return _triangle(rows, columns, lambda i, j: j - i <= offset, device)


@public(method=False)
def triu_indices(
    rows: int, columns: int | None = None, offset: int = 0, device: str | None = None
) -> Tensor:
    """Return the places of an upper triangle, row by row: int64 of shape (2, count)."""
    return _triangle(rows, columns, lambda i, j: j - i >= offset, device)


def _triangle(rows: int, columns: int | None, inside: Any, device: str | None) -> Tensor:
    columns = rows if columns is None else columns
    xp, wanted, where = place(dtypes.int64, device)
    found = [(i, j) for i in range(rows) for j in range(columns) if inside(i, j)]
    flat = [i for i, _ in found] + [j for _, j in found]
    made = xp.asarray(flat, dtype=wanted, device=where)
    return reshape(wrap(made), (2, len(found)))


@public(
    samples=(
        Sample(((7,),), {"axis": 0, "size": 3, "step": 2}),
        Sample(((4, 5, 2),), {"axis": 1, "size": 2, "step": 1}),
    ),
    reference="reference.unfold",
)
@spelled
def unfold(x: Any, axis: int, size: int, step: int = 1) -> Tensor:
    """Return the windows of a length along an axis, `step` apart, as a new last axis.

    This is PyTorch's Tensor.unfold: an axis of n becomes (n - size) // step + 1 windows.

    Raises:
        ShapeError: the window is longer than the axis, or step < 1.
    """
    x = as_tensor(x)
    (axis,) = normalize_axes(axis, x.ndim, "unfold")
    n = x.shape[axis]
    if not 0 <= size <= n or step < 1:
        raise ShapeError(f"unfold: windows of {size}, {step} apart, on {n} elements")
    starts = range(0, n - size + 1, step)
    rows = wrap(x.backend.asarray([s + i for s in starts for i in range(size)],
                                  dtype=dtypes.int64, device=x.device))  # fmt: skip
    windows = take(x, reshape(rows, (len(starts), size)), axis)
    return moveaxis(windows, axis + 1, -1)
