"""Composites with a record of their own, for measured speed: a layer and a loss.

A 64-64-10 classifier's step (batch 32, NumPy) spends its time in calls, not in arithmetic: as
compositions `linear` takes three nodes and the loss five, here one each.
"""

import math
from typing import Any

from atled.core.batching import fronted
from atled.core.kinds import opaque
from atled.core.op import Sample, Spec
from atled.errors import ShapeError


def _turned(xp: Any, w: Any) -> Any:
    return xp.permute_dims(w, axes=(1, 0))


def _rows(xp: Any, x: Any) -> Any:
    """Return x (..., n) as a matrix of rows."""
    if len(x.shape) == 2:
        return x
    return xp.reshape(x, shape=(math.prod(x.shape[:-1]), x.shape[-1]))


def _shaped(xp: Any, rows: Any, like: Any) -> Any:
    """Return a matrix of rows with the leading axes of `like`."""
    if len(like) == 2:
        return rows
    return xp.reshape(rows, shape=(*like[:-1], rows.shape[-1]))


def _linear_spec(x: Spec, w: Spec, b: Spec) -> Spec:
    if len(w.shape) != 2 or len(x.shape) < 2 or x.shape[-1] != w.shape[1]:
        raise ShapeError(
            f"linear: input {x.shape} does not fit weight {w.shape}: its last axis must be "
            f"{w.shape[-1]} long"
        )
    if b.shape != w.shape[:1]:
        raise ShapeError(f"linear: bias {b.shape} does not fit weight {w.shape}")
    return Spec((*x.shape[:-1], w.shape[0]), x.dtype)


def _linear_batch(xp: Any, n: int, mapped: Any, x: Any, w: Any, b: Any) -> Any:
    """Run a layer for a batch; weights that differ between examples as a stack of products."""
    if mapped == [True, False, False]:
        return xp.linear(x, w, b)
    x, w, b = fronted(xp, n, mapped, (x, w, b))
    rows = xp.reshape(x, shape=(n, math.prod(x.shape[1:-1]), x.shape[-1]))
    y = xp.matmul(rows, xp.permute_dims(w, axes=(0, 2, 1))) + xp.reshape(
        b, shape=(n, 1, b.shape[1])
    )
    return xp.reshape(y, shape=(*x.shape[:-1], w.shape[1]))


linear = opaque(
    "linear",
    inputs=("x", "w", "b"),
    batch=_linear_batch,
    forward=lambda xp, x, w, b: _shaped(xp, xp.matmul(_rows(xp, x), _turned(xp, w)) + b, x.shape),
    infer=_linear_spec,
    vjps=[
        lambda xp, g, w: _shaped(xp, xp.matmul(_rows(xp, g), w), g.shape),
        lambda xp, g, x: xp.matmul(_turned(xp, _rows(xp, g)), _rows(xp, x)),
        lambda xp, g: xp.sum(_rows(xp, g), axis=(0,), keepdims=False),
    ],
    jvps=[
        lambda xp, t, w: _shaped(xp, xp.matmul(_rows(xp, t), _turned(xp, w)), t.shape),
        lambda xp, t, x: _shaped(xp, xp.matmul(_rows(xp, x), _turned(xp, t)), x.shape),
        lambda xp, t, y_shape: xp.broadcast_to(t, shape=tuple(y_shape)),
    ],
    samples=(Sample(((5, 3), (4, 3), (4,))), Sample(((2, 3, 4), (2, 4), (2,)))),
    reference="reference.linear",
    doc="x wᵀ + b over the last axis of x.",
)


def _pick(xp: Any, x: Any, onehot: Any) -> Any:
    chosen = xp.where(onehot, x, 0)  # of more axes than x where only the classes are batched
    return xp.sum(chosen, axis=(len(chosen.shape) - 1,), keepdims=False)


def _error(xp: Any, x: Any, onehot: Any) -> Any:
    """softmax(x) - onehot: the derivative of the loss."""
    p = xp.softmax(x, axis=(len(x.shape) - 1,))
    return xp.where(onehot, p - 1, p)


cross_entropy = opaque(
    "softmax_cross_entropy",
    inputs=("x", "onehot"),
    batch="ranks",
    operands="any",
    forward=lambda xp, x, onehot: -_pick(xp, xp.log_softmax(x, axis=(len(x.shape) - 1,)), onehot),
    infer=lambda x, onehot: Spec(x.shape[:-1], x.dtype),
    vjps=[
        lambda xp, g, x, onehot: xp.reshape(g, shape=(*g.shape, 1)) * _error(xp, x, onehot),
        None,
    ],
    jvps=[
        lambda xp, t, x, onehot: xp.sum(
            t * _error(xp, x, onehot), axis=(len(x.shape) - 1,), keepdims=False
        ),
        None,
    ],
    samples=(
        Sample(((2, 3), [[True, False, False], [False, False, True]])),
        Sample(((4,), [False, True, False, False])),
    ),
    reference="reference.softmax_cross_entropy",
    doc="-log softmax(x) of the class marked in a boolean one-hot array, over the last axis.",
)
