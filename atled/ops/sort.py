"""Sorting and searching. Sorting is a gather by `argsort`, so its gradient is exact."""

import math
from typing import Any, NamedTuple

from atled.core.apply import apply, as_tensor
from atled.core.batching import fronted
from atled.core.kinds import constant, normalize_axes
from atled.core.op import Sample, Spec
from atled.core.surface import FUNCTIONS, public, spelled, values_only
from atled.core.tensor import Tensor, wrap
from atled.dtypes import int64
from atled.errors import ShapeError
from atled.ops.index import gather
from atled.ops.select import take_along_axis
from atled.ops.shape import narrow, reshape


def _search_batch(xp: Any, n: int, mapped: Any, x1: Any, x2: Any, *, side: str) -> Any:
    """Search one row for all examples at once; a row each by halving, all places in step.

    NaN sorts last, as in the search of one row.
    """
    if not mapped[0]:
        return xp.searchsorted(x1, x2, side=side)
    x1, x2 = fronted(xp, n, mapped, (x1, x2))
    count, shape, device = x1.shape[1], (n, math.prod(x2.shape[1:])), xp.device_of(x1)
    sought = xp.reshape(x2, shape=shape)
    places = xp.zeros(shape, dtype=int64, device=device)
    numbers = xp.reshape(xp.arange(0, n, dtype=int64, device=device), shape=(n, 1))
    numbers = xp.broadcast_to(numbers, shape=shape)
    step = 1 << count.bit_length() >> 1
    while step:  # a place moves on where all that it passes belongs before it
        last = places + (step - 1)
        met = xp.gather_nd(x1, numbers, xp.where(last < count, last, 0))
        before = (
            (met < sought) | ((sought != sought) & (met == met))
            if side == "left"
            else (met <= sought) | (sought != sought)
        )
        places = xp.where((last < count) & before, places + step, places)
        step //= 2
    return xp.reshape(places, shape=tuple(x2.shape))


argsort_ = constant(
    "argsort",
    infer=lambda x, *, axis, descending: Spec(x.shape, int64),
    batch="axis",
    samples=(
        Sample(((3, 4),), {"axis": 1, "descending": False}),
        Sample(((3, 4),), {"axis": 0, "descending": True}),
    ),
    reference="reference.argsort",
    doc="The order that sorts along an axis, stable.",
)
searchsorted_ = constant(
    "searchsorted",
    inputs=("x1", "x2"),
    infer=lambda x1, x2, *, side: Spec(x2.shape, int64),
    batch=_search_batch,
    samples=(Sample(([-1.0, 0.0, 1.0], (2, 3)), {"side": "left"}),),
    doc="Where to insert to keep order.",
)


class Sorted(NamedTuple):
    """What `sort`-like functions of two results return."""

    values: Tensor
    indices: Tensor


@public()
@spelled
def argsort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Return the indices that sort x along an axis, int64; equal elements keep their order."""
    x = as_tensor(x)
    if x.ndim == 0:
        return wrap(x.backend.zeros((), dtype=int64, device=x.device))
    (axis,) = normalize_axes(axis, x.ndim, "argsort")
    return apply(argsort_, x, axis=axis, descending=descending)


@public(
    samples=(Sample(((3, 4),)), Sample(((3, 4),), {"axis": 0, "descending": True})),
    reference="reference.sort",
)
@values_only
def sort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Return x sorted along an axis (the values only, as in the Array API; see `argsort`)."""
    x = as_tensor(x)
    if x.ndim == 0:
        return x
    return take_along_axis(x, argsort(x, axis, descending), axis)


@public(
    samples=(
        Sample(((3, 4),), {"k": 2}),
        Sample(((3, 4),), {"k": 2, "axis": 0, "largest": False}),
    ),
    reference="reference.topk",
)
@spelled
def topk(x: Any, k: int, axis: int = -1, largest: bool = True) -> Sorted:
    """Return the k largest (or smallest) elements along an axis, in order, and their indices."""
    x = as_tensor(x)
    (axis,) = normalize_axes(axis, x.ndim, "topk")
    if not 0 <= k <= x.shape[axis]:
        raise ShapeError(f"topk: k = {k} of axis {axis} of shape {x.shape}")
    order = narrow(argsort(x, axis, largest), axis, 0, k)
    return Sorted(take_along_axis(x, order, axis), order)


@public(samples=(Sample(((3, 4),), {"k": 2}),), reference="reference.kthvalue")
@spelled
def kthvalue(x: Any, k: int, axis: int = -1, keepdims: bool = False) -> Sorted:
    """Return the k-th smallest element along an axis (k from 1), and its index."""
    x = as_tensor(x)
    (axis,) = normalize_axes(axis, x.ndim, "kthvalue")
    at = narrow(argsort(x, axis), axis, k - 1, 1)
    value = take_along_axis(x, at, axis)
    squeeze = FUNCTIONS["squeeze"]
    return Sorted(value, at) if keepdims else Sorted(squeeze(value, axis), squeeze(at, axis))


@public(samples=(Sample(((3, 5),)), Sample(((3, 4),), {"axis": 1})), reference="reference.median")
@values_only
def median(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return the middle element, or the mean of the two middle ones (NumPy's definition)."""
    x = as_tensor(x)
    flat = x if axis is not None else reshape(x, -1)
    (at,) = normalize_axes(0 if axis is None else axis, flat.ndim, "median")
    n = flat.shape[at]
    ordered = sort(flat, at)
    low, high = (n - 1) // 2, n // 2
    y = (narrow(ordered, at, low, 1) + narrow(ordered, at, high, 1)) * 0.5
    gone = FUNCTIONS["any"](FUNCTIONS["not_equal"](flat, flat), axis=at, keepdims=True)
    y = FUNCTIONS["where"](gone, math.nan, y)  # NaN sorts last, and must not hide there
    if axis is None:
        return reshape(y, (1,) * x.ndim if keepdims else ())
    return y if keepdims else FUNCTIONS["squeeze"](y, at)


@public()
def searchsorted(x1: Any, x2: Any, side: str = "left") -> Tensor:
    """Return where each element of x2 belongs in the sorted one-dimensional x1, int64."""
    x1 = as_tensor(x1)
    if x1.ndim != 1:
        raise ShapeError(f"searchsorted: x1 must be one-dimensional; found {x1.shape}")
    return apply(searchsorted_, x1, _in_dtype(x2, x1), side=side)


def _in_dtype(x: Any, like: Tensor) -> Tensor:
    """Return x as a Tensor; numbers and lists in the dtype of another, so that they compare."""
    bare = isinstance(x, (int, float, list, tuple)) and like.dtype.is_floating_point
    return as_tensor(x, dtype=like.dtype if bare else None)


# -- sets


@public("unique")
def unique_values(x: Any) -> Tensor:
    """Return the distinct elements, sorted."""
    return unique_counts(x).values


@public()
def unique_counts(x: Any) -> "Counts":
    """Return the distinct elements, sorted, and how often each occurs."""
    flat = reshape(as_tensor(x), -1)
    if not flat.size:
        return Counts(flat, FUNCTIONS["astype"](flat, int64))
    ordered = sort(flat)
    xp, v = ordered.backend, ordered._value
    n = ordered.size
    head = xp.slice(v, index=((0, n - 1, 1),))
    tail = xp.slice(v, index=((1, n, 1),))
    starts = xp.concat(xp.ones_like(xp.slice(v, index=((0, 1, 1),)) == 0), tail != head, axis=0)
    (places,) = xp.nonzero(starts)
    ends = wrap(xp.concat(places, xp.full((1,), n, dtype=int64, device=flat.device), axis=0))
    return Counts(apply(gather, ordered, wrap(places)), ends[1:] - ends[:-1])


class Counts(NamedTuple):
    """The distinct values and how often each occurs."""

    values: Tensor
    counts: Tensor


@public()
def isin(x: Any, test_elements: Any) -> Tensor:
    """Return for each element of x whether it is among the test elements."""
    x = as_tensor(x)
    known = _in_dtype(test_elements, x)
    if known.backend.level:  # how many are distinct is not known
        pairs = FUNCTIONS["equal"](FUNCTIONS["expand_dims"](x, -1), reshape(known, -1))
        return FUNCTIONS["any"](pairs, axis=-1)
    known = unique_values(known)
    if not known.size:
        return FUNCTIONS["not_equal"](x, x)
    at = FUNCTIONS["clip"](searchsorted(known, x), 0, known.size - 1)
    return FUNCTIONS["equal"](FUNCTIONS["take"](known, at), x)


@public(samples=(Sample(([0, 2, 2], (3,)), {"minlength": 5}),))
def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    """Count (or add the weights of) each non-negative integer in one-dimensional x.

    In `vmap` and `compile` the length of the result is `minlength`, and must be given.
    """
    x = as_tensor(x)
    n = _bins(x, minlength)
    v = as_tensor(weights) if weights is not None else FUNCTIONS["ones_like"](x)
    zeros = wrap(x.backend.zeros((n,), dtype=v.dtype, device=x.device))
    return FUNCTIONS["index_add"](zeros, 0, x, v)


def _bins(x: Tensor, minlength: int) -> int:
    """Return how many bins the integers in x need, at least `minlength`."""
    xp = x.backend
    if not x.size or (minlength and xp.level):  # not known in a batch, nor in a trace:
        return minlength  # a larger integer is then an error
    return max(minlength, int(xp.tolist(xp.max(x._value, axis=None))) + 1)
