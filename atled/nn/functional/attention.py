"""Attention of queries over keys and values."""

import math

from atled import functions as at
from atled.core.tensor import Tensor, wrap
from atled.dtypes import bool_
from atled.errors import ShapeError
from atled.nn.functional.dropout import dropout

__all__ = ["attention_weights", "scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
    dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
) -> Tensor:  # fmt: skip
    """softmax(Q Kᵀ / √E + mask) V (Vaswani et al. 2017, arXiv:1706.03762).

    Args:
        query: (..., L, E).
        key: (..., S, E).
        value: (..., S, V).
        attn_mask: broadcasts to (..., L, S): booleans, True where a query may look, or numbers
            that are added to the scores. A query that may look nowhere gives zeros.
        dropout_p: the probability with which weights are dropped; give 0 when not training.
        is_causal: let query i look at keys 0 … i only.
        scale: in place of 1 / √E.

    Returns:
        (..., L, V).

    Raises:
        ShapeError: the last axes do not fit.
    """
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ShapeError(
            f"scaled_dot_product_attention: query {query.shape}, key {key.shape} and value "
            f"{value.shape} do not fit: (..., L, E), (..., S, E) and (..., S, V) are needed"
        )  # fmt: skip
    if is_causal and attn_mask is not None:
        raise ValueError("attention: give attn_mask or is_causal=True, not both")
    weights = attention_weights(query, key, attn_mask, is_causal, scale)
    return at.matmul(dropout(weights, dropout_p), value)


def attention_weights(query: Tensor, key: Tensor, attn_mask: Tensor | None, is_causal: bool,
                      scale: float | None = None) -> Tensor:  # fmt: skip
    """Return softmax(Q Kᵀ / √E + mask), (..., L, S)."""
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = at.matmul(query * scale, key.mT)
    if is_causal:
        scores = at.where(_lower(scores), scores, -math.inf)
    if attn_mask is None:
        return at.softmax(scores, -1)
    if attn_mask.dtype is not bool_:
        return at.softmax(scores + attn_mask, -1)
    some = at.any(attn_mask, axis=-1, keepdims=True)
    masked = at.where(attn_mask, scores, -math.inf)
    weights = at.softmax(at.where(some, masked, 0.0), -1)
    return at.where(some, weights, 0.0)


def _lower(scores: Tensor) -> Tensor:
    xp, (m, n) = scores.backend, scores.shape[-2:]
    rows = xp.reshape(xp.arange(m, device=scores.device), shape=(m, 1))
    return wrap(xp.reshape(xp.arange(n, device=scores.device), shape=(1, n)) <= rows)
