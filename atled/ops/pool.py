"""Maxima of windows: which place of a window wins, and what lies there.

`pool_index` says which, `pool_take` takes the elements there, `pool_spread` puts values back:
the last two are each other's transposes, so that the maximum's derivative is exact at any order.
The first of the largest wins, row by row, and NaN wins over all. Padding counts as -inf.
"""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

from atled.core.apply import apply
from atled.core.kinds import constant, linear
from atled.core.op import Absent, Sample, Spec
from atled.core.tensor import Tensor
from atled.dtypes import int64

STATIC = {"kernel": (2, 2), "stride": (2, 1), "padding": (0, 1), "dilation": (1, 1), "out": (2, 4)}
PLACES = [[[[1, 1, 0, 2], [3, 2, 0, 2]]]]


def _outer(
    shape: Any, padding: Any, kernel: Any, stride: Any, dilation: Any, out: Any
) -> list[int]:
    """Return the spatial sizes with everything that a window sees around them."""
    rows = zip(shape[-len(out) :], padding, kernel, stride, dilation, out, strict=True)
    return [max(n + p, s * (m - 1) + d * (k - 1) + 1) for n, p, k, s, d, m in rows]


def _padded(xp: Any, x: Any, fill: float, **static: Any) -> Any:
    """Return x with `fill` around it, wherever a window sees it."""
    wide, n = _outer(x.shape, **static), len(static["out"])
    lead, spatial = tuple(x.shape[:-n]), x.shape[-n:]
    if list(spatial) == wide:
        return x
    index = tuple([(0, m, 1) for m in lead] + [
        (p, p + m, 1) for p, m in zip(static["padding"], spatial, strict=True)
    ])  # fmt: skip
    placed = xp.place(x, index=index, shape=(*lead, *wide))
    if not fill:
        return placed
    ones = xp.place(xp.ones_like(x), index=index, shape=(*lead, *wide))
    return xp.where(ones == 1, placed, fill)


def _slices(lead: Any, kernel: Any, stride: Any, dilation: Any, out: Any) -> Iterator[Any]:
    """Yield for each place of a window, row by row, the slice that all windows see there."""
    whole = tuple([(0, m, 1) for m in lead])
    for place in product(*[range(k) for k in kernel]):
        rows = zip(place, stride, dilation, out, strict=True)
        yield whole + tuple([(i * d, i * d + s * (m - 1) + 1, s) for i, s, d, m in rows])


def _parts(xp: Any, x: Any, **static: Any) -> Iterator[Any]:
    lead = x.shape[: -len(static["out"])]
    options = {k: v for k, v in static.items() if k != "padding"}
    for index in _slices(lead, **options):
        yield xp.slice(x, index=index)


def _index(xp: Any, x: Any, **static: Any) -> Any:
    best: Any = None
    where: Any = None
    for t, part in enumerate(_parts(xp, _padded(xp, x, -math.inf, **static), **static)):
        if best is None:
            best, where = part, xp.zeros(tuple(part.shape), dtype=int64, device=xp.device_of(x))
            continue
        wins = (part > best) | (part != part)
        best, where = xp.where(wins, part, best), xp.where(wins, t, where)
    return where


def _take(xp: Any, x: Any, index: Any, **static: Any) -> Any:
    total: Any = None
    for t, part in enumerate(_parts(xp, _padded(xp, x, 0.0, **static), **static)):
        total = part if total is None else xp.where(index == t, part, total)
    return total


def _spread(xp: Any, g: Any, index: Any, *, spatial: Any, **static: Any) -> Any:
    n = len(static["out"])
    lead = tuple(g.shape[:-n])
    wide = _outer((*lead, *spatial), **static)
    options = {k: v for k, v in static.items() if k != "padding"}
    total: Any = None
    for t, place in enumerate(_slices(lead, **options)):
        part = xp.place(xp.where(index == t, g, 0), index=place, shape=(*lead, *wide))
        total = part if total is None else total + part
    inside = tuple([(0, m, 1) for m in lead] + [
        (p, p + m, 1) for p, m in zip(static["padding"], spatial, strict=True)
    ])  # fmt: skip
    return xp.slice(total, index=inside)


def _out_spec(x: Spec, index: Spec | None = None, **static: Any) -> Spec:
    out = static["out"]
    return Spec((*x.shape[: -len(out)], *out), int64 if index is None else x.dtype)


pool_index = constant(
    "pool_index",
    Absent("it is a number of a place, which does not change, or jumps"),
    forward=_index,
    batch="merged",
    infer=_out_spec,
    samples=(Sample(((1, 1, 4, 3),), STATIC),),
    reference="reference.pool_index",
    doc="Which place of its window is the largest, numbered row by row from 0.",
)
pool_take = linear(
    "pool_take",
    inputs=("x", "index"),
    forward=_take,
    batch="merged",
    infer=_out_spec,
    transpose=lambda xp, g, index, x_shape, kernel, stride, padding, dilation, out: xp.pool_spread(
        g, index, spatial=tuple(x_shape[-len(out) :]), kernel=kernel, stride=stride,
        padding=padding, dilation=dilation, out=out,
    ),
    samples=(Sample(((1, 1, 4, 3), PLACES), STATIC),),
    reference="reference.pool_take",
    passes="chooses",
    doc="The element at a place of each window.",
)  # fmt: skip
pool_spread = linear(
    "pool_spread",
    inputs=("g_", "index"),
    forward=_spread,
    batch="merged",
    infer=lambda g_, index, *, spatial, **static: Spec(
        (*g_.shape[: -len(spatial)], *spatial), g_.dtype
    ),
    transpose=lambda xp, g, index, kernel, stride, padding, dilation, out: xp.pool_take(
        g, index, kernel=kernel, stride=stride, padding=padding, dilation=dilation, out=out
    ),
    samples=(Sample(((1, 1, 2, 4), PLACES), {**STATIC, "spatial": (4, 3)}),),
    reference="reference.pool_spread",
    passes="chooses",
    doc="Values added up at a place of each window; the transpose of pool_take.",
)


def max_pool(x: Tensor, **static: Any) -> Tensor:
    """Return the largest of each window over the last axes of x; see `pool_index`."""
    return apply(pool_take, x, apply(pool_index, x.detach(), **static), **static)
