"""Distances and similarities of vectors."""

from atled import functions as at
from atled.core.tensor import Tensor

__all__ = ["cosine_similarity", "pairwise_distance"]


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x₁·x₂ / (|x₁| |x₂|) along an axis, each norm at least ε."""
    lengths = [at.clip(at.norm(x, 2, axis=dim), eps) for x in (x1, x2)]
    return at.sum(x1 * x2, axis=dim) / (lengths[0] * lengths[1])


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6,
                      keepdim: bool = False) -> Tensor:  # fmt: skip
    """The p-norm of x₁ - x₂ + ε along the last axis."""
    return at.norm(x1 - x2 + eps, p, axis=-1, keepdims=keepdim)
