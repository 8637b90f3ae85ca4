"""Losses of a prediction against a target, element by element.

Shapes must be equal: an (n, 1) prediction against an (n,) target would broadcast to (n, n) and
train on nonsense, so it is refused. `reduction` is "mean", "sum" or "none" everywhere.
Losses over classes are in `classify.py`.
"""

import math

from atled import functions as at
from atled.config import modes
from atled.core.tensor import Tensor
from atled.errors import ShapeError, located
from atled.nn.functional.distance import cosine_similarity, pairwise_distance

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cosine_embedding_loss",
    "gaussian_nll_loss", "huber_loss", "kl_div", "l1_loss", "margin_ranking_loss", "mse_loss",
    "poisson_nll_loss", "reduced", "smooth_l1_loss", "triplet_margin_loss",
]  # fmt: skip


def reduced(values: Tensor, reduction: str, name: str) -> Tensor:
    """Return the mean or the sum of all values, or the values themselves."""
    if reduction == "mean":
        return at.mean(values)
    if reduction == "sum":
        return at.sum(values)
    if reduction == "none":
        return values
    raise ValueError(f"{name}: reduction is 'mean', 'sum' or 'none'; found {reduction!r}")


def check_same_shape(a: Tensor, b: Tensor, name: str, words: tuple[str, str] = ("input", "target")
                     ) -> None:  # fmt: skip
    """Refuse operands of different shapes, and say how to make them equal."""
    if a.shape == b.shape:
        return
    if a.size == b.size:
        remedy = f"write {words[1]}.reshape({a.shape}) or {words[0]}.reshape({b.shape})"
    else:
        remedy = "they must be equal: nothing is broadcast in a loss"
    raise ShapeError(
        f"{name}: the {words[0]} has shape {a.shape}, the {words[1]} {b.shape}; {remedy}"
    )  # fmt: skip


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean",
             weight: Tensor | None = None) -> Tensor:  # fmt: skip
    """Squared error (x - y)².

    Args:
        input, target: of one shape.
        reduction: "mean", "sum" or "none".
        weight: a factor for each element; the mean is divided by its sum.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> import atled as at
        >>> at.nn.functional.mse_loss(at.tensor([1.0, 2.0]), at.tensor([1.0, 4.0]))
        tensor(2.)
    """
    check_same_shape(input, target, "mse_loss")
    return _weighted(at.square(input - target), weight, reduction, "mse_loss")


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean",
            weight: Tensor | None = None) -> Tensor:  # fmt: skip
    """Absolute error |x - y|; arguments as for `mse_loss`."""
    check_same_shape(input, target, "l1_loss")
    return _weighted(at.abs(input - target), weight, reduction, "l1_loss")


def _weighted(values: Tensor, weight: Tensor | None, reduction: str, name: str) -> Tensor:
    if weight is None:
        return reduced(values, reduction, name)
    check_same_shape(values, weight, name, ("input", "weight"))
    if reduction == "mean":
        return at.sum(values * weight) / at.sum(weight)
    return reduced(values * weight, reduction, name)


def smooth_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean",
                   beta: float = 1.0) -> Tensor:  # fmt: skip
    """d² / 2β where d = |x - y| < β, d - β/2 elsewhere (Girshick 2015, arXiv:1504.08083)."""
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative; found {beta!r}")
    if beta == 0:
        return l1_loss(input, target, reduction)
    check_same_shape(input, target, "smooth_l1_loss")
    d = at.abs(input - target)
    values = at.where(d < beta, at.square(d) * (0.5 / beta), d - 0.5 * beta)
    return reduced(values, reduction, "smooth_l1_loss")


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean",
               delta: float = 1.0) -> Tensor:  # fmt: skip
    """d² / 2 where d = |x - y| ≤ δ, δ (d - δ/2) elsewhere (Huber 1964)."""
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be above 0; found {delta!r}")
    check_same_shape(input, target, "huber_loss")
    d = at.abs(input - target)
    values = at.where(d <= delta, 0.5 * at.square(d), delta * (d - 0.5 * delta))
    return reduced(values, reduction, "huber_loss")


def binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None,
                         reduction: str = "mean") -> Tensor:  # fmt: skip
    """-(y log p + (1 - y) log(1 - p)) for probabilities p; logarithms are at least -100.

    Args:
        input: probabilities; for logits use `binary_cross_entropy_with_logits`, which is exact.
        target: y, of the same shape, in [0, 1].
        weight: a factor for each element (it broadcasts).
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: a probability is not in [0, 1].
    """
    check_same_shape(input, target, "binary_cross_entropy")
    _check_probabilities(input)
    there, away = _bounded_log(input), _bounded_log(1 - input)
    values = -(target * there + (1 - target) * away)
    return reduced(values if weight is None else values * weight, reduction, "binary_cross_entropy")


def _bounded_log(p: Tensor) -> Tensor:
    """Return log p, but -100 where it is less, with PyTorch's slope of 10¹² there."""
    positive = p > math.exp(-100)
    steep = 1e12 * (p - p.detach()) - 100.0
    return at.where(positive, at.log(at.where(positive, p, 1.0)), steep)


def _check_probabilities(p: Tensor) -> None:
    if modes.tracing is not None:
        modes.tracing.check(
            at.logical_and(p >= 0, p <= 1),
            lambda: ValueError(
                "binary_cross_entropy: probabilities lie in [0, 1]; found others: for logits use "
                "binary_cross_entropy_with_logits"
            ),
        )
    elif p.size:
        xp, value = p.backend, p._value
        low, high = xp.extent(value)
        if low < 0 or high > 1:
            raise ValueError(located(
                f"binary_cross_entropy: probabilities lie in [0, 1]; found {low:g} to {high:g}: "
                "for logits use binary_cross_entropy_with_logits"
            ))  # fmt: skip


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Binary cross-entropy of sigmoid(x), without overflow: (1 - y) x + log(1 + e⁻ˣ).

    Args:
        input: logits x.
        target: y, of the same shape, in [0, 1].
        weight: a factor for each element (it broadcasts).
        reduction: "mean", "sum" or "none".
        pos_weight: a factor for the positive part (it broadcasts).
    """
    name = "binary_cross_entropy_with_logits"
    check_same_shape(input, target, name)
    rest = at.softplus(-input)
    if pos_weight is not None:
        rest = rest * ((pos_weight - 1) * target + 1)
    values = (1 - target) * input + rest
    return reduced(values if weight is None else values * weight, reduction, name)


def kl_div(input: Tensor, target: Tensor, reduction: str = "mean",
           log_target: bool = False) -> Tensor:  # fmt: skip
    """Kullback-Leibler divergence, element by element: y (log y - x).

    Args:
        input: log-probabilities x.
        target: probabilities y, or their logarithms with `log_target`.
        reduction: "batchmean" (the sum over the first axis's length: the divergence proper),
            "mean", "sum" or "none".
    """
    check_same_shape(input, target, "kl_div")
    if log_target:
        values = at.exp(target) * (target - input)
    else:
        values = at.xlogy(target, target) - target * input
    if reduction == "batchmean":
        return at.sum(values) / input.shape[0]
    return reduced(values, reduction, "kl_div")


def cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0,
                          reduction: str = "mean") -> Tensor:  # fmt: skip
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1.

    Args:
        input1, input2: (n, d) or (d,).
        target: (n,) or (): 1 or -1.
    """
    check_same_shape(input1, input2, "cosine_embedding_loss", ("input1", "input2"))
    cos = cosine_similarity(input1, input2, dim=-1)
    check_same_shape(cos, target, "cosine_embedding_loss", ("similarity", "target"))
    values = at.where(target > 0, 1 - cos, at.relu(cos - margin))
    return reduced(values, reduction, "cosine_embedding_loss")


def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0,
                        reduction: str = "mean") -> Tensor:  # fmt: skip
    """max(0, -y (x₁ - x₂) + margin): y = 1 asks for x₁ above x₂, -1 for the reverse."""
    check_same_shape(input1, input2, "margin_ranking_loss", ("input1", "input2"))
    check_same_shape(input1, target, "margin_ranking_loss", ("input1", "target"))
    values = at.relu(margin - target * (input1 - input2))
    return reduced(values, reduction, "margin_ranking_loss")


def triplet_margin_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0,
                        p: float = 2.0, eps: float = 1e-6, swap: bool = False,
                        reduction: str = "mean") -> Tensor:  # fmt: skip
    """max(0, |a - p| - |a - n| + margin) over the last axis.

    Args:
        swap: use the distance of positive and negative where it is smaller than |a - n|.
    """
    check_same_shape(anchor, positive, "triplet_margin_loss", ("anchor", "positive"))
    check_same_shape(anchor, negative, "triplet_margin_loss", ("anchor", "negative"))
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = at.minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduced(at.relu(near - far + margin), reduction, "triplet_margin_loss")


def gaussian_nll_loss(input: Tensor, target: Tensor, var: Tensor, full: bool = False,
                      eps: float = 1e-6, reduction: str = "mean") -> Tensor:  # fmt: skip
    """½ (log σ² + (x - y)² / σ²), σ² at least ε.

    Args:
        var: σ², of the input's shape, or with a last axis of 1 or none.
        full: add the constant ½ log 2π.
    """
    check_same_shape(input, target, "gaussian_nll_loss")
    if var.shape == input.shape[:-1] and var.shape != input.shape:
        var = at.expand_dims(var, -1)
    if var.shape not in (input.shape, (*input.shape[:-1], 1)):
        check_same_shape(input, var, "gaussian_nll_loss", ("input", "var"))
    var = var + (at.clip(var, eps) - var).detach()  # the bound does not stop the gradient
    values = 0.5 * (at.log(var) + at.square(input - target) / var)
    values = values + 0.5 * math.log(2 * math.pi) if full else values
    return reduced(values, reduction, "gaussian_nll_loss")


def poisson_nll_loss(input: Tensor, target: Tensor, log_input: bool = True, full: bool = False,
                     eps: float = 1e-8, reduction: str = "mean") -> Tensor:  # fmt: skip
    """eˣ - y x, or x - y log(x + ε) without `log_input`.

    Args:
        full: add Stirling's approximation of log y! where y > 1.
    """
    check_same_shape(input, target, "poisson_nll_loss")
    if log_input:
        values = at.exp(input) - target * input
    else:
        values = input - target * at.log(input + eps)
    if full:
        large = target > 1
        y = at.where(large, target, 1.0)
        stirling = y * at.log(y) - y + 0.5 * at.log(2 * math.pi * y)
        values = values + at.where(large, stirling, 0.0)
    return reduced(values, reduction, "poisson_nll_loss")
