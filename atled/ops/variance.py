"""Sums of squares: variance, standard deviation, vector norms.

Half precision is widened to float32 first: its squares and its counts overflow.
"""

import math
from typing import Any

from atled.core.apply import apply, as_tensor
from atled.core.kinds import normalize_axes
from atled.core.op import Sample
from atled.core.surface import FUNCTIONS, public, spelled
from atled.core.tensor import Tensor
from atled.dtypes import float32
from atled.ops.elementwise import absolute, divide, sqrt, square, subtract
from atled.ops.reduce import count_nonzero, mean, sum_


def _count(x: Tensor, axis: Any) -> int:
    axes = normalize_axes(axis, x.ndim, "mean")
    return math.prod(x.shape[a] for a in axes)


VARS = (
    Sample(((3, 4),)),
    Sample(((3, 4),), {"axis": 1, "correction": 1}),
    Sample(((2, 3, 4),), {"axis": (0, 2), "keepdims": True}),
)


@public(samples=VARS, reference="reference.var")
@spelled
def var(x: Any, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """Variance over axes: Σ(x - mean)² / (n - correction), correction 0 as in the Array API."""
    x = as_tensor(x)
    if _is_half(x):
        wide = var(_wide(x), axis=axis, correction=correction, keepdims=keepdims)
        return FUNCTIONS["astype"](wide, x.dtype)
    axes = None if axis is None else normalize_axes(axis, x.ndim, "var")
    centred = apply(subtract, x, mean(x, axis=axis, keepdims=True))
    total = apply(sum_, apply(square, centred), axis=axes, keepdims=keepdims)
    freedom = max(_count(x, axis) - correction, 0)
    return divide(total, float(freedom))


@public(samples=VARS, reference="reference.std")
@spelled
def std(x: Any, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """Standard deviation over axes: √var; its derivative for a constant is 0."""
    x = as_tensor(x)
    v = _safe_sqrt(var(_wide(x), axis=axis, correction=correction, keepdims=keepdims))
    return FUNCTIONS["astype"](v, x.dtype) if _is_half(x) else v


def _is_half(x: Tensor) -> bool:
    return x.dtype.is_floating_point and x.dtype.itemsize == 2


def _wide(x: Tensor) -> Tensor:
    """Return float16 and bfloat16, whose squares and sums overflow, in float32."""
    return FUNCTIONS["astype"](x, float32) if _is_half(x) else x


def _safe_sqrt(v: Tensor) -> Tensor:
    """Square root with derivative 0 at 0 (the double-where idiom)."""
    where = FUNCTIONS["where"]
    zero = FUNCTIONS["equal"](v, 0)
    return where(zero, 0.0, apply(sqrt, where(zero, 1.0, v)))


@public(samples=(Sample(((3, 4),)),), reference="reference.var_mean")
@spelled
def var_mean(
    x: Any, axis: Any = None, correction: float = 0.0, keepdims: bool = False
) -> tuple[Tensor, Tensor]:
    """Return (variance, mean) over axes."""
    return (
        var(x, axis=axis, correction=correction, keepdims=keepdims),
        mean(x, axis=axis, keepdims=keepdims),
    )


@public(
    "vector_norm",
    samples=(
        Sample(((3, 4),)),
        Sample(((3, 4),), {"axis": 1}),
        Sample(((3, 4),), {"ord": 1}),
        Sample(((3, 4),), {"ord": 3}),
        Sample(((3, 4),), {"ord": math.inf}),
    ),
    reference="reference.norm",
)
@spelled
def norm(x: Any, ord: float = 2, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Vector norm (Σ|x|ᵒ)^(1/o) over axes; ord may be inf, -inf or 0; derivative 0 at 0."""
    x = as_tensor(x)
    if _is_half(x):
        return FUNCTIONS["astype"](norm(_wide(x), ord, axis, keepdims), x.dtype)
    size = apply(absolute, x)
    if ord == math.inf:
        return FUNCTIONS["max"](size, axis=axis, keepdims=keepdims)
    if ord == -math.inf:
        return FUNCTIONS["min"](size, axis=axis, keepdims=keepdims)
    total = FUNCTIONS["sum"]
    if ord == 0:
        return FUNCTIONS["astype"](count_nonzero(x, axis=axis, keepdims=keepdims), x.dtype)
    if ord == 1:
        return total(size, axis=axis, keepdims=keepdims)
    if ord == 2:
        return _safe_sqrt(total(apply(square, x), axis=axis, keepdims=keepdims))
    summed = total(FUNCTIONS["pow"](size, ord), axis=axis, keepdims=keepdims)
    where, zero = FUNCTIONS["where"], FUNCTIONS["equal"](summed, 0)
    return where(zero, 0.0, FUNCTIONS["pow"](where(zero, 1.0, summed), 1.0 / ord))
