"""Reductions and scans: many elements in, one out, or one out for each prefix.

Ties of `max` and `min` share the gradient evenly (PyTorch's `amax`).
"""

import math
from typing import Any

from atled.core.apply import apply, as_tensor
from atled.core.kinds import (
    STEP,
    constant,
    linear,
    normalize_axes,
    opaque,
    reduced_shape,
    reduction,
)
from atled.core.op import Op, Sample, Spec
from atled.core.surface import FUNCTIONS, public, spelled
from atled.core.tensor import Tensor
from atled.dtypes import float32, int64
from atled.errors import ShapeError

AXES = (
    Sample(((2, 3, 4),), {"axis": None, "keepdims": False}),
    Sample(((2, 3, 4),), {"axis": (1,), "keepdims": False}),
    Sample(((2, 3, 4),), {"axis": (0, 2), "keepdims": True}),
    Sample(((),), {"axis": None, "keepdims": False}),
)


def _spread(xp: Any, y: Any, shape: Any, axis: Any, keepdims: bool) -> Any:
    """Broadcast a reduction's result, or its cotangent, back over the axes it lost."""
    if not keepdims:
        y = xp.reshape(y, shape=reduced_shape(shape, axis, True))
    return xp.broadcast_to(y, shape=shape)


def _in_float32(xp: Any, x: Any, compute: Any) -> Any:
    """Return compute(x), of float16 and bfloat16 in float32: a count may be beyond their range."""
    dtype = xp.dtype_of(x)
    if dtype.itemsize > 2:
        return compute(x)
    return xp.astype(compute(xp.astype(x, dtype=float32)), dtype=dtype)


# How a support passes where each result depends on all elements, and each cotangent on all results.
_ALL = (
    _spread,
    lambda xp, s, shape, axis, keepdims: xp.sum(s, axis=axis, keepdims=keepdims),
)
sum_ = reduction(
    "sum",
    result="sum",
    samples=AXES,
    vjp=lambda xp, g, x_shape, axis, keepdims: _spread(xp, g, x_shape, axis, keepdims),
    passes="moves",
    doc="Sum over axes; integers and booleans add up in int64.",
)
mean_ = reduction(
    "mean",
    operands="float",
    door=False,
    samples=AXES,
    forward=lambda xp, x, *, axis, keepdims: _in_float32(
        xp, x, lambda w: xp.sum(w, axis=axis, keepdims=keepdims) / _length(x.shape, axis)
    ),
    vjp=lambda xp, g, x_shape, axis, keepdims: _spread(
        xp, _in_float32(xp, g, lambda w: w / _length(x_shape, axis)), x_shape, axis, keepdims
    ),
    passes="moves",
    doc="Average over axes: Σx / n; integers give the default floating dtype.",
)


def _extreme(name: str, alias: str, doc: str) -> Op:
    """Register max or min: both give the gradient to the elements that equal the result."""
    return reduction(
        name,
        samples=AXES,
        passes="cuts",
        singular=True,
        keeps_line=False,
        aliases=(alias,),
        vjp=lambda xp, g, x, y, axis, keepdims: (
            _spread(xp, g, x.shape, axis, keepdims) * _share(xp, x, y, axis, keepdims)
        ),
        jvp=lambda xp, t, x, y, axis, keepdims: xp.sum(
            t * _share(xp, x, y, axis, keepdims), axis=axis, keepdims=keepdims
        ),
        doc=doc,
    )


max_ = _extreme(
    "max", "amax", "Largest element over axes; ties share the gradient; NaN propagates."
)
min_ = _extreme(
    "min", "amin", "Smallest element over axes; ties share the gradient; NaN propagates."
)
prod = reduction(
    "prod",
    result="sum",
    samples=AXES,
    vjp=lambda xp, g, x, axis, keepdims: (
        _spread(xp, g, x.shape, axis, keepdims) * _others(xp, x, axis)
    ),
    jvp=lambda xp, t, x, axis, keepdims: xp.sum(
        t * _others(xp, x, axis), axis=axis, keepdims=keepdims
    ),
    passes=_ALL,
    doc="Product over axes, with exact derivatives at zeros.",
)
all_ = reduction(
    "all",
    vjp=STEP,
    result="bool",
    operands="any",
    samples=AXES,
    doc="Whether all elements are nonzero.",
)
any_ = reduction(
    "any",
    vjp=STEP,
    result="bool",
    operands="any",
    samples=AXES,
    doc="Whether any element is nonzero.",
)


def _length(shape: Any, axis: Any) -> int:
    """Return the number of elements that a reduction over normalised axes takes in."""
    return math.prod(shape if axis is None else [shape[a] for a in axis])


def _share(xp: Any, x: Any, y: Any, axis: Any, keepdims: bool) -> Any:
    """Return 1/k at each of the k places where x attains its maximum y, 0 elsewhere."""
    hit = xp.where(x == _spread(xp, y, x.shape, axis, keepdims), xp.ones_like(x), 0)
    return hit / xp.sum(hit, axis=axis, keepdims=True)


def _others(xp: Any, x: Any, axis: Any) -> Any:
    """Return for each element the product of all others over the axes, without dividing."""
    shape = tuple(x.shape)
    axes = tuple(range(len(shape))) if axis is None else axis
    kept = tuple(i for i in range(len(shape)) if i not in axes)
    order = kept + tuple(axes)
    lead = tuple(shape[i] for i in kept)
    n = math.prod(shape[i] for i in axes)
    rows = xp.reshape(xp.permute_dims(x, axes=order), shape=(*lead, n))
    last = len(lead)
    before = _exclusive_product(xp, rows, last, n, False)
    after = _exclusive_product(xp, rows, last, n, True)
    both = xp.reshape(before * after, shape=tuple(shape[i] for i in order))
    inverse = tuple(order.index(i) for i in range(len(shape)))
    return xp.permute_dims(both, axes=inverse)


def _exclusive_product(xp: Any, rows: Any, axis: int, n: int, backward: bool) -> Any:
    """Return along the last axis the product of all that comes before (or after) each."""
    if n == 0:
        return rows
    whole = tuple((0, m, 1) for m in rows.shape[:axis])
    edge = (n - 1, None, -1) if backward else (0, n, 1)
    rows = xp.slice(rows, index=(*whole, edge)) if backward else rows
    one = xp.ones_like(xp.slice(rows, index=(*whole, (0, 1, 1))))
    shifted = xp.concat(one, xp.slice(rows, index=(*whole, (0, n - 1, 1))), axis=axis)
    product = xp.cumulative_prod(shifted, axis=axis)
    return xp.slice(product, index=(*whole, (n - 1, None, -1))) if backward else product


# -- scans


def _same_shape(x: Spec, *, axis: int) -> Spec:
    return Spec(x.shape, x.dtype if x.dtype.is_floating_point else int64)


SCANS = (
    Sample(((3, 4),), {"axis": 0}),
    Sample(((3, 4),), {"axis": 1}),
    Sample(((1,),), {"axis": 0}),
)
cumsum = linear(
    "cumulative_sum",
    operands="same",
    batch="axis",
    infer=_same_shape,
    samples=SCANS,
    transpose=lambda xp, g, axis: _reversed(
        xp, xp.cumulative_sum(_reversed(xp, g, axis), axis=axis), axis
    ),
    reference="numpy.cumsum",
    passes="moves",
    doc="Running sum along an axis.",
)
cumprod = opaque(
    "cumulative_prod",
    operands="same",
    batch="axis",
    infer=_same_shape,
    samples=SCANS,
    vjps=[lambda xp, g, x, axis: _cumprod_pull(xp, g, x, axis)],
    jvps=[lambda xp, t, x, axis: _cumprod_push(xp, t, x, axis)],
    reference="numpy.cumprod",
    doc="Running product along an axis, exact derivatives at zeros.",
)


def _along(ndim: int, axis: int, part: Any) -> Any:
    return tuple(part if i == axis else (0, None, 1) for i in range(ndim))


def _reversed(xp: Any, x: Any, axis: int) -> Any:
    return xp.slice(x, index=_along(len(x.shape), axis, (None, None, -1)))


def _cumprod_pull(xp: Any, g: Any, x: Any, axis: int) -> Any:
    """x̄ₖ = pₖ₋₁ · sₖ with pₖ₋₁ the product before k and sₖ = gₖ + xₖ₊₁ sₖ₊₁: no division."""
    n = x.shape[axis]
    parts, before = _columns(xp, x, axis), _columns(xp, _before(xp, x, axis), axis)
    gs = _columns(xp, g, axis)
    out: list[Any] = []
    tail = None
    for k in range(n - 1, -1, -1):
        tail = gs[k] if tail is None else gs[k] + parts[k + 1] * tail
        out.append(before[k] * tail)
    return xp.concat(*out[::-1], axis=axis) if out else g


def _cumprod_push(xp: Any, t: Any, x: Any, axis: int) -> Any:
    """ẏₖ = ẏₖ₋₁ xₖ + pₖ₋₁ ẋₖ."""
    parts, before = _columns(xp, x, axis), _columns(xp, _before(xp, x, axis), axis)
    out: list[Any] = []
    for k, tangent in enumerate(_columns(xp, t, axis)):
        out.append(before[k] * tangent if not out else out[-1] * parts[k] + before[k] * tangent)
    return xp.concat(*out, axis=axis) if out else t


def _before(xp: Any, x: Any, axis: int) -> Any:
    """Return the product of all elements before each along the axis."""
    n = x.shape[axis]
    if n == 0:
        return x
    one = xp.ones_like(xp.slice(x, index=_along(len(x.shape), axis, (0, 1, 1))))
    rest = xp.slice(x, index=_along(len(x.shape), axis, (0, n - 1, 1)))
    return xp.cumulative_prod(xp.concat(one, rest, axis=axis), axis=axis)


def _columns(xp: Any, x: Any, axis: int) -> list[Any]:
    return [
        xp.slice(x, index=_along(len(x.shape), axis, (k, k + 1, 1))) for k in range(x.shape[axis])
    ]


# -- softmax and its kin

SOFTMAX = (Sample(((3, 4),), {"axis": (1,)}), Sample(((2, 3, 4),), {"axis": (1,)}))


def _softmax(xp: Any, x: Any, *, axis: Any) -> Any:
    if 0 in x.shape:
        return x
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return e / xp.sum(e, axis=axis, keepdims=True)


def _softmax_map(xp: Any, g: Any, y: Any, axis: Any) -> Any:
    """Apply the derivative of softmax, diag(y) - y yᵀ."""
    return y * (g - xp.sum(g * y, axis=axis, keepdims=True))


def _log_softmax(xp: Any, x: Any, *, axis: Any) -> Any:
    if 0 in x.shape:
        return x
    shifted = x - xp.max(x, axis=axis, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))


def _logsumexp(xp: Any, x: Any, *, axis: Any, keepdims: bool) -> Any:
    if 0 in x.shape:
        return xp.log(xp.sum(x, axis=axis, keepdims=keepdims))
    top = xp.max(x, axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, 0)
    total = xp.log(xp.sum(xp.exp(x - top), axis=axis, keepdims=True)) + top
    return total if keepdims else xp.reshape(total, shape=reduced_shape(x.shape, axis, False))


def _over_axis(xp: Any, s: Any, shape: Any, axis: Any) -> Any:
    """Spread a support over the axis in which all elements depend on each other."""
    return xp.broadcast_to(xp.sum(s, axis=axis, keepdims=True), shape=shape)


softmax_ = opaque(
    "softmax",
    forward=_softmax,
    batch="axis",
    infer=lambda x, *, axis: x,
    samples=SOFTMAX,
    vjps=[lambda xp, g, y, axis: _softmax_map(xp, g, y, axis)],
    jvps=[lambda xp, t, y, axis: _softmax_map(xp, t, y, axis)],
    singular=True,
    passes=(_over_axis, _over_axis),
    reference="scipy.special.softmax",
    doc="eˣ / Σ eˣ over an axis, without overflow.",
)
log_softmax_ = opaque(
    "log_softmax",
    forward=_log_softmax,
    batch="axis",
    infer=lambda x, *, axis: x,
    samples=SOFTMAX,
    vjps=[lambda xp, g, y, axis: g - xp.sum(g, axis=axis, keepdims=True) * xp.exp(y)],
    jvps=[lambda xp, t, y, axis: t - xp.sum(t * xp.exp(y), axis=axis, keepdims=True)],
    singular=True,
    passes=(_over_axis, _over_axis),
    reference="scipy.special.log_softmax",
    doc="x - log Σ eˣ over an axis, without overflow.",
)
logsumexp = reduction(
    "logsumexp",
    operands="float",
    forward=_logsumexp,
    samples=AXES,
    vjp=lambda xp, g, x, y, axis, keepdims: (
        _spread(xp, g, x.shape, axis, keepdims)
        * xp.exp(x - _spread(xp, y, x.shape, axis, keepdims))
    ),
    jvp=lambda xp, t, x, y, axis, keepdims: xp.sum(
        t * xp.exp(x - _spread(xp, y, x.shape, axis, keepdims)), axis=axis, keepdims=keepdims
    ),
    singular=True,
    passes=_ALL,
    reference="scipy.special.logsumexp",
    doc="log Σ eˣ over axes, without overflow.",
)


@public(
    samples=(
        Sample(((3, 4),), {"axis": -1}),
        Sample(((3, 4),), {"axis": 0}),
    ),
    reference="scipy.special.softmax",
)
@spelled
def softmax(x: Any, axis: int = -1) -> Tensor:
    """Normalise exponentials to a sum of one: eˣ / Σ eˣ over `axis`."""
    x = as_tensor(x)
    return apply(softmax_, x, axis=normalize_axes(axis, x.ndim, "softmax"))


@public(samples=(Sample(((3, 4),), {"axis": 0}),), reference="scipy.special.log_softmax")
@spelled
def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """Return log(softmax(x)) over `axis`, computed as x - logsumexp(x)."""
    x = as_tensor(x)
    return apply(log_softmax_, x, axis=normalize_axes(axis, x.ndim, "log_softmax"))


@public("cumsum", samples=(Sample(((3, 4),), {"axis": -1}),))
@spelled
def cumulative_sum(x: Any, axis: int | None = None) -> Tensor:
    """Add up along an axis; the axis may be left out for one-dimensional x."""
    return _scan(cumsum, x, axis)


@public("cumprod", samples=(Sample(((3, 4),), {"axis": -1}),))
@spelled
def cumulative_prod(x: Any, axis: int | None = None) -> Tensor:
    """Multiply up along an axis; the axis may be left out for one-dimensional x."""
    return _scan(cumprod, x, axis)


def _scan(op: Any, x: Any, axis: int | None) -> Tensor:
    x = as_tensor(x)
    if axis is None and x.ndim != 1:
        raise ShapeError(f"{op.name}: axis is needed for shape {x.shape}")
    (axis,) = normalize_axes(0 if axis is None else axis, x.ndim, op.name)
    return apply(op, x, axis=axis)


# -- argmax and argmin


def _arg_spec(x: Spec, *, axis: Any, keepdims: bool) -> Spec:
    return Spec(reduced_shape(x.shape, axis, keepdims), int64)


ARGS = (
    Sample(((3, 4),), {"axis": None, "keepdims": False}),
    Sample(((3, 4),), {"axis": 1, "keepdims": False}),
)
argmax_ = constant(
    "argmax", infer=_arg_spec, batch="chosen", samples=ARGS, doc="Place of the largest element."
)
argmin_ = constant(
    "argmin", infer=_arg_spec, batch="chosen", samples=ARGS, doc="Place of the smallest element."
)


@public()
@spelled
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return the index of the first largest element, int64; of the flattened x without axis."""
    return _arg(argmax_, x, axis, keepdims)


@public()
@spelled
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return the index of the first smallest element, int64; of the flattened x without axis."""
    return _arg(argmin_, x, axis, keepdims)


def _arg(op: Any, x: Any, axis: int | None, keepdims: bool) -> Tensor:
    x = as_tensor(x)
    if axis is not None:
        (axis,) = normalize_axes(axis, x.ndim, op.name)
    return apply(op, x, axis=axis, keepdims=keepdims)


# -- composites


@public(
    samples=(
        Sample(((3, 4),)),
        Sample(((3, 4),), {"axis": -1, "keepdims": True}),
    )
)
@spelled
def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Average over axes: Σx / n; integers give the default floating dtype."""
    x = as_tensor(x)
    axes = None if axis is None else normalize_axes(axis, x.ndim, "mean")
    return apply(mean_, x, axis=axes, keepdims=keepdims)


@public()
@spelled
def count_nonzero(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Count the elements that are not zero, int64."""
    return FUNCTIONS["sum"](FUNCTIONS["not_equal"](x, 0), axis=axis, keepdims=keepdims)


@public(
    samples=(Sample(((3, 4),)), Sample(((3, 4),), {"axis": 1})), reference="reference.logcumsumexp"
)
@spelled
def logcumsumexp(x: Any, axis: int = -1) -> Tensor:
    """log of the running sum of eˣ along an axis, without overflow, whatever the range.

    In log₂ n steps, each of twice the reach (Hillis and Steele 1986).
    """
    x = as_tensor(x)
    (axis,) = normalize_axes(axis, x.ndim, "logcumsumexp")
    narrow, n, step = FUNCTIONS["narrow"], x.shape[axis], 1
    while step < n:
        later, earlier = narrow(x, axis, step, n - step), narrow(x, axis, 0, n - step)
        both = FUNCTIONS["logaddexp"](earlier, later)
        x = FUNCTIONS["concat"]([narrow(x, axis, 0, step), both], axis)
        step *= 2
    return x
