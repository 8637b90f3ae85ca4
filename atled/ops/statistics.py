"""Statistics and scans that are written with others: quantiles, running extremes, integrals."""

import math
from typing import Any, NamedTuple

from atled.core.apply import as_tensor
from atled.core.kinds import normalize_axes
from atled.core.op import SCALARS, Sample
from atled.core.surface import FUNCTIONS, public, spelled
from atled.core.tensor import Tensor, wrap
from atled.dtypes import int64
from atled.errors import GradError, ShapeError
from atled.ops.composite import floating, lerp
from atled.ops.reduce import mean
from atled.ops.select import take, take_along_axis, where
from atled.ops.shape import broadcast_to, concat, moveaxis, narrow, reshape
from atled.ops.sort import Sorted, sort
from atled.ops.variance import norm, std

ROW = (Sample(((3, 5),)), Sample(((3, 4),), {"axis": 0}))


class MinMax(NamedTuple):
    """The smallest and the largest element."""

    min: Tensor
    max: Tensor


@public(samples=ROW, reference="reference.aminmax")
@spelled
def aminmax(x: Any, axis: Any = None, keepdims: bool = False) -> MinMax:
    """Return (min, max) over axes; ties share the gradient."""
    low, high = FUNCTIONS["min"], FUNCTIONS["max"]
    return MinMax(low(x, axis=axis, keepdims=keepdims), high(x, axis=axis, keepdims=keepdims))


@public(samples=ROW)
@spelled
def nansum(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Add up over axes what is not NaN."""
    x = as_tensor(x)
    return FUNCTIONS["sum"](where(FUNCTIONS["isnan"](x), 0, x), axis=axis, keepdims=keepdims)


@public(samples=(*ROW, Sample(([[1.0, math.nan], [2.0, 4.0]],), {"axis": 1})))
@spelled
def nanmean(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Average over axes what is not NaN; NaN where nothing is."""
    x = floating(x)
    there = FUNCTIONS["astype"](FUNCTIONS["logical_not"](FUNCTIONS["isnan"](x)), x.dtype)
    count = FUNCTIONS["sum"](there, axis=axis, keepdims=keepdims)
    return nansum(x, axis=axis, keepdims=keepdims) / count


@public(samples=(Sample(((3, 4),)), Sample(((3, 4),), {"axis": 1, "correction": 1})),
        reference="reference.std_mean")  # fmt: skip
@spelled
def std_mean(
    x: Any, axis: Any = None, correction: float = 0.0, keepdims: bool = False
) -> tuple[Tensor, Tensor]:
    """Return (standard deviation, mean) over axes; see `std`."""
    return (
        std(x, axis=axis, correction=correction, keepdims=keepdims),
        mean(x, axis=axis, keepdims=keepdims),
    )


@public(samples=(Sample(((3, 4), (4,))), Sample(((3, 4), (3, 4)), {"p": 3})),
        reference="reference.dist")  # fmt: skip
def dist(a: Any, b: Any, p: float = 2) -> Tensor:
    """Distance of two arrays: the p-norm of a - b."""
    return norm(as_tensor(a) - b, p)


@public(
    samples=(
        Sample(((3, 5),), {"q": 0.3}),
        Sample(((3, 4),), {"q": [0.0, 0.25, 1.0], "axis": 1}),
        Sample(((3, 4),), {"q": 0.7, "axis": 0, "keepdims": True}),
        Sample(((6,),), {"q": 0.3, "interpolation": "midpoint"}),
    ),
    reference="reference.quantile",
)
@spelled
def quantile(
    x: Any, q: Any, axis: int | None = None, keepdims: bool = False, interpolation: str = "linear"
) -> Tensor:
    """Return the q-quantiles along an axis (of the flattened x without one); NaN propagates.

    Args:
        q: a number in [0, 1], or a list or vector of them, whose axis comes first in the result.
        interpolation: between the two neighbours: linear, lower, higher, nearest or midpoint.

    Raises:
        ShapeError: the axis is empty. ValueError: q is outside, or no such interpolation.
        GradError: q requires a gradient: quantiles are differentiated by x only.
    """
    x = floating(x)
    if isinstance(q, Tensor) and q.requires_grad:
        raise GradError("quantile: no derivative by q; detach() it")
    q = q.tolist() if hasattr(q, "tolist") else q  # Python's floats: fractions of a count
    qs, lead = ([q], ()) if isinstance(q, (int, float)) else (list(q), (len(q),))
    flat = reshape(x, -1) if axis is None else x
    (at,) = normalize_axes(0 if axis is None else axis, flat.ndim, "quantile")
    rest = flat.shape[:at] + flat.shape[at + 1 :]
    y = _quantile_rows(moveaxis(sort(flat, at), at, 0), qs, interpolation)
    gone = FUNCTIONS["any"](FUNCTIONS["isnan"](flat.detach()), axis=at)
    y = where(gone, math.nan, y)
    if keepdims:
        rest = tuple([1 if axis is None or i == at else n for i, n in enumerate(x.shape)])
    return reshape(y, (*lead, *rest))


def _quantile_rows(rows: Tensor, qs: list[float], interpolation: str) -> Tensor:
    """Return for each q the row between two rows, which are sorted along the first axis."""
    n = rows.shape[0]
    if n == 0:
        raise ShapeError("quantile: of no elements")
    if any(not 0 <= q <= 1 for q in qs):
        raise ValueError(f"quantile: q must lie in [0, 1]; found {qs}")
    places = [q * (n - 1) for q in qs]
    low, high = [math.floor(p) for p in places], [math.ceil(p) for p in places]
    weights = [p - i for p, i in zip(places, low, strict=True)]
    if interpolation == "midpoint":
        weights = [0.5] * len(qs)
    elif interpolation != "linear":
        nearest = {"lower": low, "higher": high, "nearest": [round(p) for p in places]}
        if interpolation not in nearest:
            raise ValueError(f"quantile: no interpolation is called {interpolation!r}")
        return take(rows, nearest[interpolation], 0)
    below, above = take(rows, low, 0), take(rows, high, 0)
    w = wrap(rows.backend.asarray(weights, dtype=rows.dtype, device=rows.device))
    w = reshape(w, (len(qs), *[1] * (rows.ndim - 1)))
    return lerp(below, above, broadcast_to(w, below.shape))


# -- scans


@public(samples=ROW, reference="reference.cummax")
@spelled
def cummax(x: Any, axis: int = -1) -> Sorted:
    """Return (values, indices): the largest element so far along an axis, the last on ties."""
    return _running(x, axis, lambda later, earlier: later >= earlier)


@public(samples=ROW, reference="reference.cummin")
@spelled
def cummin(x: Any, axis: int = -1) -> Sorted:
    """Return (values, indices): the smallest element so far along an axis, the last on ties."""
    return _running(x, axis, lambda later, earlier: later <= earlier)


def _running(x: Any, axis: int, wins: Any) -> Sorted:
    """Find the winner of each prefix in log₂ n steps, each of twice the reach (Hillis, Steele)."""
    x = as_tensor(x)
    if x.ndim == 0:
        return Sorted(x, FUNCTIONS["zeros_like"](x, dtype=int64))
    (axis,) = normalize_axes(axis, x.ndim, "cummax")
    n, best = x.shape[axis], x.detach()
    line = wrap(x.backend.arange(n, device=x.device))
    at = broadcast_to(reshape(line, [n if i == axis else 1 for i in range(x.ndim)]), x.shape)
    step = 1
    while step < n:
        earlier, later = narrow(best, axis, 0, n - step), narrow(best, axis, step, n - step)
        keep = wins(later, earlier) | (later != later)  # a NaN wins over everything
        best = concat([narrow(best, axis, 0, step), where(keep, later, earlier)], axis)
        chosen = where(keep, narrow(at, axis, step, n - step), narrow(at, axis, 0, n - step))
        at = concat([narrow(at, axis, 0, step), chosen], axis)
        step *= 2
    return Sorted(take_along_axis(x, at, axis), at)


@public(samples=(*ROW, Sample(((4,),), {"n": 2})))
@spelled
def diff(x: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    """Return the n-th differences along an axis, after joining `prepend` and `append` to it."""
    x = as_tensor(x)
    (axis,) = normalize_axes(axis, x.ndim, "diff")
    ends = [None if e is None else _edge(e, x, axis) for e in (prepend, append)]
    x = concat([part for part in (ends[0], x, ends[1]) if part is not None], axis)
    change = FUNCTIONS["not_equal" if x.dtype.kind == "bool" else "subtract"]
    for _ in range(n):
        m = max(x.shape[axis] - 1, 0)
        x = change(narrow(x, axis, x.shape[axis] - m, m), narrow(x, axis, 0, m))
    return x


def _edge(e: Any, x: Tensor, axis: int) -> Tensor:
    e = as_tensor(e, dtype=x.dtype if type(e) in SCALARS else None)
    return e if e.ndim else broadcast_to(e, [1 if i == axis else n for i, n in enumerate(x.shape)])


@public(samples=(*ROW, Sample(((3, 4), (4,))), Sample(((3, 4),), {"dx": 0.5})))
@spelled
def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Tensor:
    """Integrate along an axis by the trapezoidal rule, over points x or steps of dx."""
    return FUNCTIONS["sum"](_trapezoids(y, x, dx, axis), axis=axis)


@public(samples=(*ROW, Sample(((3, 4), (4,)))), reference="reference.cumulative_trapezoid")
@spelled
def cumulative_trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Tensor:
    """Return the running integral along an axis by the trapezoidal rule; see `trapezoid`."""
    return FUNCTIONS["cumulative_sum"](_trapezoids(y, x, dx, axis), axis=axis)


def _trapezoids(y: Any, x: Any, dx: float, axis: int) -> Tensor:
    y = floating(y)
    (axis,) = normalize_axes(axis, y.ndim, "trapezoid")
    m = max(y.shape[axis] - 1, 0)
    middle = (narrow(y, axis, 0, m) + narrow(y, axis, y.shape[axis] - m, m)) * 0.5
    if x is None:
        return middle * dx
    x = as_tensor(x)
    if x.ndim == 1:
        steps = reshape(diff(x), [-1 if i == axis else 1 for i in range(y.ndim)])
    else:
        steps = diff(x, axis=axis)
    return middle * steps


# -- counting and correlating


@public()
@spelled
def mode(x: Any, axis: int = -1, keepdims: bool = False) -> Sorted:
    """Return the commonest element along an axis, the smallest on ties, and its last index.

    Compares every pair along the axis: n² places of memory for each row.
    """
    x = as_tensor(x)
    (axis,) = normalize_axes(axis, x.ndim, "mode")
    n, rows = x.shape[axis], moveaxis(x.detach(), axis, -1)
    same = FUNCTIONS["expand_dims"](rows, -1) == FUNCTIONS["expand_dims"](rows, -2)
    count = FUNCTIONS["sum"](same, axis=-1)
    most = count == FUNCTIONS["max"](count, axis=-1, keepdims=True)
    line = wrap(x.backend.arange(n, device=x.device))
    order = FUNCTIONS["argsort"](FUNCTIONS["argsort"](rows, -1), -1)  # the rank of each element
    first = FUNCTIONS["argmin"](where(most, order, n), axis=-1, keepdims=True)
    value = take_along_axis(rows, first, -1)
    last = FUNCTIONS["max"](where(rows == value, line, -1), axis=-1, keepdims=True)
    at = moveaxis(last, -1, axis)
    found = Sorted(take_along_axis(x, at, axis), at)
    squeeze = FUNCTIONS["squeeze"]
    return found if keepdims else Sorted(*[squeeze(part, axis) for part in found])


@public(
    samples=(Sample(((20,),), {"bins": 5, "min": -1.0, "max": 1.0}),), reference="reference.histc"
)
def histc(x: Any, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Count in equal bins from min to max (of x itself if both are 0), of which the last is closed.

    Raises:
        ValueError: min > max, or a bound is not finite.
    """
    x = floating(x).detach().reshape(-1)
    if min == max == 0 and x.size:
        min, max = float(FUNCTIONS["min"](x)), float(FUNCTIONS["max"](x))
    if min == max:
        min, max = min - 1, max + 1
    if not -math.inf < min < max < math.inf:
        raise ValueError(f"histc: bounds must be finite and min below max; found {min} and {max}")
    inside = (x >= min) & (x <= max)
    place = FUNCTIONS["floor"]((FUNCTIONS["where"](inside, x, min) - min) * (bins / (max - min)))
    place = FUNCTIONS["astype"](FUNCTIONS["clip"](place, 0, bins - 1), int64)
    counts = FUNCTIONS["bincount"](place, FUNCTIONS["astype"](inside, int64), minlength=bins)
    return FUNCTIONS["astype"](counts, x.dtype)


@public(
    samples=(
        Sample(((3, 5),)),
        Sample(((3, 5),), {"correction": 0}),
        Sample(((3, 4),), {"fweights": [1, 2, 1, 3]}),
        Sample(((3, 4),), {"aweights": [0.5, 1.0, 2.0, 0.1]}),
    ),
    reference="reference.cov",
)
def cov(x: Any, correction: float = 1, fweights: Any = None, aweights: Any = None) -> Tensor:
    """Return the covariances of the rows of x, variables, over its columns, observations.

    Args:
        correction: what is taken off the count of observations.
        fweights, aweights: how often each observation counts; its weight.

    Raises:
        ShapeError: x has more than two axes, or the weights do not fit.
    """
    x = floating(x)
    if x.ndim > 2:
        raise ShapeError(f"cov: a matrix or vector is needed; found shape {x.shape}")
    rows = reshape(x, (1, -1)) if x.ndim < 2 else x
    n = rows.shape[1]
    f, a = (None if w is None else as_tensor(w, dtype=x.dtype)
            for w in (fweights, aweights))  # fmt: skip
    weights = f if a is None else a if f is None else f * a
    if weights is not None and weights.shape != (n,):
        raise ShapeError(f"cov: {n} weights are needed; found shape {weights.shape}")
    w = FUNCTIONS["full_like"](rows[0], 1.0) if weights is None else weights
    total = FUNCTIONS["sum"](w)
    centred = rows - reshape(FUNCTIONS["sum"](rows * w, axis=1) / total, (-1, 1))
    spread = (
        total - correction if a is None else total - correction * FUNCTIONS["sum"](w * a) / total
    )
    y = FUNCTIONS["matmul"](centred * w, FUNCTIONS["transpose"](centred)) / spread
    return reshape(y, ()) if x.ndim < 2 else y


@public(samples=(Sample(((3, 5),)),))
def corrcoef(x: Any) -> Tensor:
    """Return the correlation coefficients of the rows of x, variables, over its columns."""
    c = cov(x)
    if c.ndim == 0:
        return c / c
    size = FUNCTIONS["sqrt"](FUNCTIONS["diagonal"](c))
    return FUNCTIONS["clip"](c / reshape(size, (-1, 1)) / size, -1.0, 1.0)
