"""A copy with some places written: by mask, by flat place, by slice, by diagonal, by reduction.

All of it comes down to `scatter_nd_set` and `scatter_nd_add`, whose gradients are exact.
"""

import math
from typing import Any

from atled.config import modes
from atled.core.apply import apply, as_tensor
from atled.core.kinds import normalize_axes
from atled.core.op import Sample
from atled.core.surface import FUNCTIONS, public, spelled
from atled.core.tensor import Tensor, wrap
from atled.dtypes import iinfo, int64
from atled.errors import ShapeError
from atled.ops.index import (
    as_indices,
    assigned,
    beside,
    fitting,
    getitem,
    is_everywhere,
    scatter_set_,
    written,
)
from atled.ops.select import gather_along
from atled.ops.shape import broadcast_to, moveaxis, narrow, reshape

MASK = [[True, False, True], [False, True, True]]


@public(samples=(Sample(((2, 3), MASK, (5,))),), reference="reference.masked_scatter")
def masked_scatter(x: Any, mask: Any, source: Any) -> Tensor:
    """Return x with the elements of source, in order, at the places where the mask is true.

    Raises:
        ShapeError: source has fewer elements than the mask has places.
    """
    x, mask = FUNCTIONS["broadcast_arrays"](as_tensor(x), as_tensor(mask))
    source = as_tensor(source)
    flat = reshape(fitting(source, x, source.shape, "masked_scatter"), -1)
    if modes.tracing is not None or mask.backend.level or x.backend.level or flat.backend.level:
        return _taken_in_order(x, mask, flat)
    (places,) = FUNCTIONS["nonzero"](reshape(mask, -1))
    n = places.size
    if flat.size < n:
        raise ShapeError(_TOO_FEW.format(n, flat.size))
    written = apply(scatter_set_, reshape(x, -1), narrow(flat, 0, 0, n), places)
    return reshape(written, x.shape)


_TOO_FEW = "masked_scatter: {} places, but {} elements"


def _taken_in_order(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """Return `masked_scatter` where the number of places is not known yet."""
    number = FUNCTIONS["cumulative_sum"](reshape(mask, -1), axis=0) - 1
    fits = number < source.size
    error = ShapeError(_TOO_FEW.format("more", source.size))
    if modes.tracing is not None:
        modes.tracing.check(fits, lambda: error)
    elif not is_everywhere(fits):
        raise error
    if not source.size:
        return x
    at = FUNCTIONS["clip"](number, 0, source.size - 1)
    return FUNCTIONS["where"](mask, reshape(FUNCTIONS["take"](source, at), x.shape), x)


@public(
    samples=(
        Sample(((2, 3), [4, 0], (2,))),
        Sample(((2, 3), [4, 0, 4], (3,)), {"accumulate": True}),
    ),
    reference="reference.put",
)
def put(x: Any, index: Any, source: Any, accumulate: bool = False) -> Tensor:
    """Return x with source written, or added, at places of the flattened x; the last one stays.

    Raises:
        IndexingError: a place is out of range. ShapeError: source does not fit the places.
    """
    x = as_tensor(x)
    flat, places = reshape(x, -1), reshape(as_indices(index, x.size, "put"), -1)
    return reshape(
        written(flat, reshape(beside(source, x), -1), [places], "put", accumulate), x.shape
    )


@public(samples=(Sample(((2, 3),), {"axis": 1, "index": -1}),), reference="reference.select")
@spelled
def select(x: Any, axis: int, index: int) -> Tensor:
    """Return the part of x at one index along an axis, without that axis.

    Raises:
        IndexingError: the index is out of range.
    """
    return getitem(as_tensor(x), _at(x, axis, index, "select"))


@public(
    samples=(Sample(((2, 3), (2,)), {"axis": 1, "index": -1}),),
    reference="reference.select_scatter",
)
@spelled
def select_scatter(x: Any, src: Any, axis: int, index: int) -> Tensor:
    """Return x with src written at one index along an axis."""
    return _replaced(x, src, _at(x, axis, index, "select_scatter"), "select_scatter")


@public(
    samples=(Sample(((5, 3), (2, 3)), {"axis": 0, "start": 1, "end": 5, "step": 2}),),
    reference="reference.slice_scatter",
)
@spelled
def slice_scatter(
    x: Any, src: Any, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """Return x with src written at a slice along an axis."""
    part = _at(x, axis, slice(start, end, step), "slice_scatter")
    return _replaced(x, src, part, "slice_scatter")


def _replaced(x: Any, src: Any, part: Any, name: str) -> Tensor:
    x = as_tensor(x)
    return assigned(x, part, fitting(src, x, getitem(x, part).shape, name))


def _at(x: Any, axis: int, index: Any, name: str) -> tuple[Any, ...]:
    (axis,) = normalize_axes(axis, as_tensor(x).ndim, name)
    return (*[slice(None)] * axis, index)


@public(
    samples=(
        Sample(((3, 4), (3,))),
        Sample(((3, 4, 3), (4, 2)), {"offset": -1, "dim1": 0, "dim2": 2}),
    ),
    reference="reference.diagonal_scatter",
)
def diagonal_scatter(x: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return x with src written on a diagonal over two axes; src has the shape of `diagonal`.

    Raises:
        ShapeError: src has another shape.
    """
    x, v = as_tensor(x), as_tensor(src)
    first, second = normalize_axes((dim1, dim2), x.ndim, "diagonal_scatter")
    front = moveaxis(x, (first, second), (0, 1))
    m, n = front.shape[:2]
    length = max(min(m + min(offset, 0), n - max(offset, 0)), 0)
    if v.shape != (*front.shape[2:], length):
        wanted = (*front.shape[2:], length)
        raise ShapeError(f"diagonal_scatter: src must be {wanted}; found {v.shape}")
    line = wrap(x.backend.arange(length, device=x.device))
    at = (line + max(-offset, 0), line + max(offset, 0))
    v = fitting(v, x, v.shape, "diagonal_scatter")
    return moveaxis(apply(scatter_set_, front, moveaxis(v, -1, 0), *at), (0, 1), (first, second))


# -- scatter_reduce

_NEUTRAL = {"sum": 0, "mean": 0, "prod": 1, "amax": -math.inf, "amin": math.inf}


@public(
    samples=(
        *[
            Sample(((3, 4), [[1, 1, 2], [0, 0, 0]], (2, 3)), {"dim": 1, "reduce": r})
            for r in ("sum", "prod", "mean", "amax", "amin")
        ],
        Sample(((3, 4), [[1, 1, 2]], (1, 3)), {"dim": 1, "reduce": "prod", "include_self": False}),
    ),
    reference="reference.scatter_reduce",
)
def scatter_reduce(
    x: Any, dim: int, index: Any, src: Any, reduce: str, include_self: bool = True
) -> Tensor:
    """Return x with the elements of src that meet at one place along `dim` reduced (PyTorch's).

    The elements of each place are laid in a row of a table, whose other places hold what does
    not count, and the rows are reduced: exact derivatives, ties shared, zeros in a product too.

    Args:
        index: where each element of src goes along dim, as in `scatter`.
        reduce: "sum", "prod", "mean", "amax" or "amin".
        include_self: whether what x holds at the place takes part.

    Raises:
        ValueError: no such reduction. IndexingError: a place is out of range.
    """
    x = as_tensor(x)
    v = as_tensor(src)
    v = fitting(v, x, v.shape, "scatter_reduce")
    if reduce not in _NEUTRAL:
        raise ValueError(
            f"scatter_reduce: reduce is one of {', '.join(_NEUTRAL)}; found {reduce!r}"
        )
    (dim,) = normalize_axes(dim, x.ndim, "scatter_reduce")
    along = as_indices(index, x.shape[dim], "scatter_reduce")
    if not along.size:
        return x
    v = getitem(v, tuple([slice(0, n) for n in along.shape]))
    to = _flat_places(x, dim, along)
    if modes.tracing is not None or to.backend.level:
        return _reduced_in_full(x, dim, to, v, reduce, include_self)
    v, places = reshape(v, -1), FUNCTIONS["unique_values"](to)
    flat, row = reshape(x, -1), FUNCTIONS["searchsorted"](places, to)
    table = _table(v, row, places.size, _neutral(reduce, x))
    if include_self:
        table = FUNCTIONS["concat"]([reshape(getitem(flat, places), (-1, 1)), table], axis=1)
    y = FUNCTIONS["sum" if reduce == "mean" else reduce](table, axis=1)
    if reduce == "mean":
        count = FUNCTIONS["bincount"](row, minlength=places.size) + int(include_self)
        divide = FUNCTIONS["divide" if x.dtype.is_floating_point else "floor_divide"]
        y = divide(y, FUNCTIONS["astype"](count, x.dtype))
    y = FUNCTIONS["astype"](y, x.dtype)
    return reshape(apply(scatter_set_, flat, y, places), x.shape)


def _reduced_in_full(
    x: Tensor, dim: int, to: Tensor, v: Tensor, reduce: str, include_self: bool
) -> Tensor:
    """Return `scatter_reduce` where the places are not known yet: a row for every element of x.

    An element of src has the column of its position along dim: no two of a row share one.
    """
    flat, width = reshape(x, -1), v.shape[dim]
    shape = [1] * v.ndim
    shape[dim] = width
    column = broadcast_to(reshape(FUNCTIONS["arange"](width, device=x.device), shape), v.shape)
    column, v = reshape(column, -1), reshape(v, -1)
    blank = FUNCTIONS["full"]((x.size, width), _neutral(reduce, x), dtype=x.dtype, device=x.device)
    table = apply(scatter_set_, blank, v, to, column)
    count = FUNCTIONS["zeros"]((x.size,), dtype=int64, device=x.device)
    count = FUNCTIONS["index_add"](count, 0, to, FUNCTIONS["ones_like"](to))
    if include_self:
        table, count = FUNCTIONS["concat"]([reshape(flat, (-1, 1)), table], axis=1), count + 1
    y = FUNCTIONS["sum" if reduce == "mean" else reduce](table, axis=1)
    if reduce == "mean":
        divide = FUNCTIONS["divide" if x.dtype.is_floating_point else "floor_divide"]
        y = divide(y, FUNCTIONS["astype"](FUNCTIONS["maximum"](count, 1), x.dtype))
    y = FUNCTIONS["astype"](y, x.dtype)
    return reshape(FUNCTIONS["where"](count > 0, y, flat), x.shape)


def _flat_places(x: Tensor, dim: int, along: Tensor) -> Tensor:
    """Return where in the flattened x the places `along` dim lie."""
    line = reshape(wrap(x.backend.arange(x.size, device=x.device)), x.shape)
    return reshape(gather_along(line, dim, along), -1)


def _neutral(reduce: str, x: Tensor) -> float:
    """Return what does not change the reduction of a row of x's dtype."""
    if reduce in ("amax", "amin") and not x.dtype.is_floating_point:
        limits = iinfo(x.dtype)
        return limits.min if reduce == "amax" else limits.max
    return _NEUTRAL[reduce]


def _table(v: Tensor, row: Tensor, rows: int, fill: float) -> Tensor:
    """Lay each element of v at the first free place of its row."""
    k, xp = v.size, v.backend
    order = FUNCTIONS["argsort"](row)
    ordered = getitem(row, order)
    line = wrap(xp.arange(k, dtype=int64, device=v.device))
    nth = line - FUNCTIONS["searchsorted"](ordered, ordered)
    rank = apply(scatter_set_, FUNCTIONS["zeros_like"](nth), nth, order)
    width = int(FUNCTIONS["max"](nth)) + 1
    blank = wrap(xp.full((rows, width), fill, dtype=v.dtype, device=v.device))
    return apply(scatter_set_, blank, v, row, rank)
