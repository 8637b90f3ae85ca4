"""Losses over classes: cross-entropy and the negative log-likelihood below it.

Shapes: input (C,), (N, C) or (N, C, d₁, …), the classes on axis 1 (axis 0 of (C,)); target of the
input's shape without that axis, or, for `cross_entropy`, probabilities of the input's shape.
"""

from typing import Any

from atled import functions as at
from atled.config import modes
from atled.core.apply import apply
from atled.core.tensor import Tensor, wrap
from atled.errors import DTypeError, IndexingError, ShapeError
from atled.nn.functional.loss import reduced
from atled.ops.fused import cross_entropy as cross_entropy_
from atled.ops.index import gather

__all__ = ["cross_entropy", "nll_loss"]


def cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None,
                  ignore_index: int = -100, reduction: str = "mean",
                  label_smoothing: float = 0.0) -> Tensor:  # fmt: skip
    """-log softmax(x) at the target's class.

    Args:
        input: logits x, see the head of this file.
        target: classes, of an integer dtype; or probabilities, of the input's shape and dtype.
        weight: (C,), a factor for each class; the mean is divided by the sum of the factors.
        ignore_index: a class that is passed over.
        reduction: "mean", "sum" or "none".
        label_smoothing: ε: the target is mixed with the uniform distribution,
            (1 - ε) y + ε / C (Szegedy et al. 2015, arXiv:1512.00567).

    Raises:
        ShapeError, DTypeError: the target does not fit the input.
        IndexingError: a class is not in [0, C).

    Example:
        >>> import atled as at
        >>> at.nn.functional.cross_entropy(at.zeros(2, 10), at.tensor([3, 7]))
        tensor(2.3026)
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(
            f"cross_entropy: label_smoothing must lie in [0, 1]; found {label_smoothing!r}"
        )
    axis = _class_axis(input, "cross_entropy")
    if weight is None and not label_smoothing and not target.dtype.is_floating_point:
        values, kept = _plain(input, target, ignore_index, axis)
        if values is not None and kept is not None:
            factors = at.astype(kept, values.dtype)
            values = at.where(kept, values, 0.0)
            return _class_mean(values, factors, reduction, "cross_entropy")
        if values is not None:
            return reduced(values, reduction, "cross_entropy")
    logp = at.log_softmax(input, axis)
    if target.dtype.is_floating_point and target.shape == input.shape:
        return _soft(logp, target, weight, reduction, label_smoothing, axis)
    picked, factors, kept = _picked(logp, target, weight, ignore_index, axis, "cross_entropy")
    if label_smoothing:
        classes = input.shape[axis]
        spread = logp if weight is None else logp * _along(weight, axis, logp.ndim)
        spread = at.sum(spread, axis=axis) * (label_smoothing / classes)
        spread = spread if kept is None else at.where(kept, spread, 0.0)
        values = (label_smoothing - 1) * picked - at.reshape(spread, picked.shape)
    else:
        values = -picked
    return _class_mean(values, factors, reduction, "cross_entropy")


def _plain(
    x: Tensor, target: Tensor, ignore_index: int, axis: int
) -> tuple[Tensor | None, Tensor | None]:
    """Return the loss of each row as one operation, or None where some rows are ignored.

    And, in a compiled function, which may find any of them ignored, where they are not.
    """
    _check_classes(x, target, axis, "cross_entropy")
    classes = x.shape[axis]
    kept = _kept(target, ignore_index, classes, "cross_entropy")
    if kept is not None and modes.tracing is None:
        return None, None
    xp = target.backend
    line = xp.arange(classes, device=target.device)
    onehot = xp.reshape(target._value, shape=(*target.shape, 1)) == line
    front = x if axis == x.ndim - 1 else at.moveaxis(x, axis, -1)
    return apply(cross_entropy_, front, wrap(onehot)), kept


def nll_loss(input: Tensor, target: Tensor, weight: Tensor | None = None,
             ignore_index: int = -100, reduction: str = "mean") -> Tensor:  # fmt: skip
    """-x at the target's class, for log-probabilities x; arguments as for `cross_entropy`."""
    axis = _class_axis(input, "nll_loss")
    picked, factors, _ = _picked(input, target, weight, ignore_index, axis, "nll_loss")
    return _class_mean(-picked, factors, reduction, "nll_loss")


def _class_axis(x: Tensor, name: str) -> int:
    if x.ndim == 0:
        raise ShapeError(f"{name}: the input needs an axis of classes; found a scalar")
    return min(x.ndim - 1, 1)


def _along(weight: Tensor, axis: int, ndim: int) -> Tensor:
    return at.reshape(weight, [-1 if i == axis else 1 for i in range(ndim)])


def _class_mean(values: Tensor, factors: Any, reduction: str, name: str) -> Tensor:
    if reduction == "mean" and factors is not None:
        return at.sum(values) / at.sum(factors)
    return reduced(values, reduction, name)


def _soft(logp: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float,
          axis: int) -> Tensor:  # fmt: skip
    """Return the cross-entropy against probabilities."""
    classes = logp.shape[axis]
    if smoothing:
        target = target * (1 - smoothing) + smoothing / classes
    terms = logp * target
    if weight is not None:
        terms = terms * _along(weight, axis, logp.ndim)
    return reduced(-at.sum(terms, axis=axis), reduction, "cross_entropy")


def _picked(x: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, axis: int,
            name: str) -> tuple[Tensor, Any, Any]:  # fmt: skip
    """Return x at each target's class, times the class's factor and 0 where ignored.

    Returns:
        The values; their factors, or None if all are 1; where they count, or None if all do.
    """
    _check_classes(x, target, axis, name)
    classes = x.shape[axis]
    kept = _kept(target, ignore_index, classes, name)
    safe = target.detach() if kept is None else at.where(kept, target, 0)
    front = x if axis == x.ndim - 1 else at.moveaxis(x, axis, -1)
    rows = at.reshape(front, (-1, classes))
    line = wrap(x.backend.arange(rows.shape[0], device=x.device))
    picked = at.reshape(apply(gather, rows, line, at.reshape(safe, -1)), target.shape)
    factors = None
    if weight is not None:
        if weight.shape != (classes,):
            raise ShapeError(
                f"{name}: one weight for each of {classes} classes is needed; found shape "
                f"{weight.shape}"
            )  # fmt: skip
        factors = at.reshape(apply(gather, weight, at.reshape(safe, -1)), target.shape)
        picked = picked * factors
    if kept is not None:
        picked = at.where(kept, picked, 0.0)
        factors = at.where(kept, 1.0 if factors is None else factors, at.zeros_like(picked))
    return picked, factors, kept


def _check_classes(x: Tensor, target: Tensor, axis: int, name: str) -> None:
    wanted = x.shape[:axis] + x.shape[axis + 1 :]
    if target.shape != wanted:
        remedy = ""
        if target.shape == (*wanted, 1) or target.shape == (*wanted[:1], 1, *wanted[1:]):
            remedy = f"; write target.reshape({wanted})"
        elif target.shape == x.shape:
            remedy = "; probabilities must be of a floating dtype, for one-hot rows write "
            remedy += f"target.argmax({axis})"
        raise ShapeError(
            f"{name}: an input of shape {x.shape} needs classes of shape {wanted}; the target "
            f"has shape {target.shape}{remedy}"
        )  # fmt: skip
    if target.dtype.kind not in ("int", "uint"):
        raise DTypeError(
            f"{name}: classes must be of an integer dtype; the target is {target.dtype.name}: "
            "write target.astype('int64')"
        )  # fmt: skip


def _kept(target: Tensor, ignore_index: int, classes: int, name: str) -> Tensor | None:
    """Return where the target is not ignored, None for everywhere; refuse foreign classes."""
    if not target.size:
        return None
    xp, value = target.backend, target._value
    if modes.tracing is not None:
        counted = at.not_equal(target, ignore_index)
        known = at.logical_and(target >= 0, target < classes)
        modes.tracing.check(
            at.logical_or(known, at.logical_not(counted)),
            lambda: IndexingError(f"{name}: a class is not in [0, {classes})"),
        )
        return counted
    low, high = xp.extent(value)
    if not low <= ignore_index <= high:
        kept = None
    else:
        kept = wrap(value != ignore_index)
        counted = xp.where(kept._value, value, 0)
        low, high = xp.extent(counted)
    if low < 0 or high >= classes:
        raise IndexingError(
            f"{name}: class {low if low < 0 else high} is not in [0, {classes}), the input's "
            f"{classes} classes"
        )  # fmt: skip
    return kept
