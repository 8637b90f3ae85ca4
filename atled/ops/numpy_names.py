"""Adapters for NumPy's functions whose meaning is NumPy's own; see `core/interop.py`.

Each takes NumPy's parameters by NumPy's names (those that it understands) and is written with the
public functions. A parameter that is not here is refused by name.
"""

import math
from typing import Any

from atled.core.apply import as_tensor
from atled.core.interop import InteropError, install_numpy, numpy_name
from atled.core.kinds import normalize_axes
from atled.core.surface import FUNCTIONS
from atled.core.tensor import Tensor, wrap
from atled.errors import ShapeError, located
from atled.ops.composite import beside, floating
from atled.ops.select import where
from atled.ops.shape import concat, expand_dims, reshape, transpose
from atled.ops.sort import sort as ordered

ROW_MAJOR = "C"


def flat_unless(x: Any, axis: Any, default: int = 0) -> tuple[Tensor, int]:
    """Return x and the axis; x flattened where the axis is None."""
    x = as_tensor(x)
    return (reshape(x, -1), default) if axis is None else (x, axis)


def _one_axis(x: Any, axis: Any) -> tuple[Tensor, int | None]:
    """Join several axes into the last one, for functions that work along one."""
    x = as_tensor(x)
    if axis is None or isinstance(axis, int):
        return x, axis
    axes = normalize_axes(axis, x.ndim, "axis")
    rest = [i for i in range(x.ndim) if i not in axes]
    moved = FUNCTIONS["permute_dims"](x, (*rest, *axes))
    return reshape(moved, (*moved.shape[: len(rest)], -1)), -1


# -- ufuncs


@numpy_name("cbrt", ufunc=True)
def cbrt(x: Any) -> Any:
    x = floating(x)
    safe = where(x == 0, 1.0, x)
    root = FUNCTIONS["sign"](x) * FUNCTIONS["pow"](FUNCTIONS["abs"](safe), 1 / 3)
    return where(x == 0, 0.0, root)


@numpy_name("divmod", ufunc=True)
def divmod_(a: Any, b: Any) -> Any:
    return FUNCTIONS["floor_divide"](a, b), FUNCTIONS["remainder"](a, b)


@numpy_name("modf", ufunc=True)
def modf(x: Any) -> Any:
    return FUNCTIONS["frac"](x), FUNCTIONS["trunc"](x)


@numpy_name("matvec", ufunc=True)
def matvec(a: Any, b: Any) -> Any:
    y = FUNCTIONS["matmul"](a, expand_dims(as_tensor(b), -1))
    return FUNCTIONS["squeeze"](y, -1)


@numpy_name("vecmat", ufunc=True)
def vecmat(a: Any, b: Any) -> Any:
    y = FUNCTIONS["matmul"](expand_dims(as_tensor(a), -2), b)
    return FUNCTIONS["squeeze"](y, -2)


@numpy_name("power", ufunc=True)
def power(a: Any, b: Any) -> Any:
    return FUNCTIONS["pow"](a, b)


# -- reductions, scans, order


@numpy_name("cumsum", "cumulative_sum")
def cumsum(a: Any = None, axis: Any = None, x: Any = None, include_initial: bool = False) -> Any:
    return _scan("cumulative_sum", a, axis, x, include_initial, 0)


@numpy_name("cumprod", "cumulative_prod")
def cumprod(a: Any = None, axis: Any = None, x: Any = None, include_initial: bool = False) -> Any:
    return _scan("cumulative_prod", a, axis, x, include_initial, 1)


def _scan(name: str, a: Any, axis: Any, x: Any, include_initial: bool, first: int) -> Any:
    t = as_tensor(a if x is None else x)
    if x is not None and axis is None and t.ndim > 1:
        raise ShapeError(f"np.{name}: axis is needed for shape {t.shape}")
    t, axis = flat_unless(t, axis)
    y = FUNCTIONS[name](t, axis=axis)
    if not include_initial:
        return y
    shape = [1 if i == axis % t.ndim else n for i, n in enumerate(t.shape)]
    start = wrap(t.backend.full(tuple(shape), first, dtype=y.dtype, device=t.device))
    return concat([start, y], axis)


@numpy_name("nancumsum")
def nancumsum(a: Any, axis: Any = None) -> Any:
    return cumsum(_filled(a, 0), axis)


@numpy_name("nancumprod")
def nancumprod(a: Any, axis: Any = None) -> Any:
    return cumprod(_filled(a, 1), axis)


@numpy_name("nanprod")
def nanprod(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return FUNCTIONS["prod"](_filled(a, 1), axis=axis, keepdims=keepdims)


@numpy_name("nanmax")
def nanmax(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return FUNCTIONS["max"](_filled(a, -math.inf), axis=axis, keepdims=keepdims)


@numpy_name("nanmin")
def nanmin(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return FUNCTIONS["min"](_filled(a, math.inf), axis=axis, keepdims=keepdims)


@numpy_name("nanvar")
def nanvar(a: Any, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Any:
    x = floating(a)
    there = FUNCTIONS["astype"](x == x, x.dtype)
    count = FUNCTIONS["sum"](there, axis=axis, keepdims=keepdims) - ddof
    inside = where(x == x, x, 0.0)  # replaced before and after: no NaN reaches a derivative
    gap = where(x == x, inside - FUNCTIONS["nanmean"](x, axis=axis, keepdims=True), 0.0)
    return FUNCTIONS["sum"](gap * gap, axis=axis, keepdims=keepdims) / count


@numpy_name("nanstd")
def nanstd(a: Any, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Any:
    v = nanvar(a, axis, ddof, keepdims)
    return where(v == 0, 0.0, FUNCTIONS["sqrt"](where(v == 0, 1.0, v)))


def _filled(a: Any, value: float) -> Tensor:
    x = as_tensor(a)
    return where(FUNCTIONS["isnan"](x), value, x) if x.dtype.is_floating_point else x


@numpy_name("ptp")
def ptp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    low, high = FUNCTIONS["aminmax"](a, axis=axis, keepdims=keepdims)
    return high - low


@numpy_name("average")
def average(
    a: Any, axis: Any = None, weights: Any = None, returned: bool = False, keepdims: bool = False
) -> Any:
    x, total = floating(a), FUNCTIONS["sum"]
    w = FUNCTIONS["ones_like"](x) if weights is None else floating(weights)
    if w.shape != x.shape:
        (at,) = normalize_axes(axis, x.ndim, "average")
        w = reshape(w, [-1 if i == at else 1 for i in range(x.ndim)])
        w = FUNCTIONS["broadcast_to"](w, x.shape)
    count = total(w, axis=axis, keepdims=keepdims)
    y = total(x * w, axis=axis, keepdims=keepdims) / count
    return (y, count) if returned else y


@numpy_name("median")
def median(a: Any, axis: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    return quantile(a, 0.5, axis, overwrite_input, "linear", keepdims)


@numpy_name("quantile")
def quantile(
    a: Any,
    q: Any,
    axis: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
) -> Any:
    if keepdims and axis is not None and not isinstance(axis, int):
        raise InteropError(located("np.quantile of several axes has no keepdims= in atled"))
    x, along = _one_axis(a, axis)
    if method not in ("linear", "lower", "higher", "nearest", "midpoint"):
        raise InteropError(located(f"np.quantile has no method={method!r} in atled"))
    return FUNCTIONS["quantile"](x, q, along, keepdims, method)


@numpy_name("percentile")
def percentile(
    a: Any,
    q: Any,
    axis: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
) -> Any:
    percents = q.tolist() if isinstance(q, Tensor) else q
    if isinstance(q, Tensor) and q.requires_grad:
        raise InteropError(located("np.percentile has no derivative by q in atled; detach() it"))
    return quantile(a, _hundredths(percents), axis, overwrite_input, method, keepdims)


def _hundredths(x: Any) -> Any:
    return [_hundredths(v) for v in x] if isinstance(x, (list, tuple)) else x / 100


@numpy_name("sort")
def sort(a: Any, axis: Any = -1, kind: Any = None, stable: Any = None) -> Any:
    return ordered(*flat_unless(a, axis))


@numpy_name("argsort")
def argsort(a: Any, axis: Any = -1, kind: Any = None, stable: Any = None) -> Any:
    return FUNCTIONS["argsort"](*flat_unless(a, axis))


@numpy_name("unique")
def unique(
    ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False
) -> Any:
    found = FUNCTIONS["unique_all"](ar)
    wanted = (True, return_index, return_inverse, return_counts)
    parts = tuple([part for part, want in zip(found, wanted, strict=True) if want])
    return parts if len(parts) > 1 else parts[0]


@numpy_name("cov")
def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
) -> Any:
    correction = float(not bias) if ddof is None else ddof
    return FUNCTIONS["cov"](_variables(m, y, rowvar), correction, fweights, aweights)


@numpy_name("corrcoef")
def corrcoef(x: Any, y: Any = None, rowvar: bool = True) -> Any:
    return FUNCTIONS["corrcoef"](_variables(x, y, rowvar))


def _variables(x: Any, y: Any, rowvar: bool) -> Tensor:
    parts = [as_tensor(p) for p in (x, y) if p is not None]
    parts = [p if rowvar or p.ndim < 2 else transpose(p) for p in parts]
    return parts[0] if len(parts) == 1 else FUNCTIONS["vstack"](parts)


# -- elementwise and by condition


@numpy_name("angle")
def angle(z: Any, deg: bool = False) -> Any:
    y = FUNCTIONS["angle"](z)
    return y * (180 / math.pi) if deg else y


@numpy_name("where")
def where_(condition: Any, x: Any = None, y: Any = None) -> Any:
    c = as_tensor(condition) != 0
    if x is None and y is None:
        return FUNCTIONS["nonzero"](c)
    return where(c, *[v if isinstance(v, (int, float)) else as_tensor(v) for v in (x, y)])


@numpy_name("select")
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    y = default
    for condition, choice in list(zip(condlist, choicelist, strict=True))[::-1]:
        y = where(condition, choice, y)
    return y


@numpy_name("choose")
def choose(a: Any, choices: Any) -> Any:
    picked = as_tensor(a)
    y = as_tensor(choices[0])
    for i, choice in enumerate(choices[1:], 1):
        y = where(picked == i, choice, y)
    return FUNCTIONS["broadcast_arrays"](y, picked)[0]


@numpy_name("take")
def take(a: Any, indices: Any, axis: Any = None) -> Any:
    return FUNCTIONS["take"](a, as_tensor(indices), axis=axis)


@numpy_name("compress")
def compress(condition: Any, a: Any, axis: Any = None) -> Any:
    x, axis = flat_unless(a, axis)
    (places,) = FUNCTIONS["nonzero"](as_tensor(condition))
    return FUNCTIONS["take"](x, places, axis=axis)


@numpy_name("extract")
def extract(condition: Any, arr: Any) -> Any:
    return compress(reshape(as_tensor(condition), -1), arr)


@numpy_name("interp")
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Any:
    x, knots, values = beside(x, xp, fp)
    n = knots.size
    above = FUNCTIONS["clip"](FUNCTIONS["searchsorted"](knots, x.detach(), "right"), 1, n - 1)
    x0, x1 = knots[above - 1], knots[above]
    y0, y1 = values[above - 1], values[above]
    y = y0 + (x - x0) * (y1 - y0) / (x1 - x0)
    y = where(x < knots[0], values[0] if left is None else left, y)
    return where(x > knots[-1], values[-1] if right is None else right, y)


install_numpy()
