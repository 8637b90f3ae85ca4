"""Multi-head attention."""

from typing import Any

from atled import functions as at
from atled.core.tensor import Tensor
from atled.dtypes import bool_
from atled.errors import ShapeError
from atled.nn import functional as F
from atled.nn import init
from atled.nn.functional.attention import attention_weights
from atled.nn.linear import Linear, parameter
from atled.nn.module import Module

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Attention in several learned subspaces (Vaswani et al. 2017, arXiv:1706.03762).

    Args:
        embed_dim: E, the length of all vectors; a multiple of num_heads.
        num_heads: the number of subspaces.
        dropout: the probability with which weights are dropped while training.
        bias: whether the projections have biases.
        batch_first: inputs are (N, L, E); by default, as in PyTorch, (L, N, E).

    Attributes:
        in_proj_weight, in_proj_bias: of queries, keys and values, one below the other (3 E, E).
        out_proj: a Linear.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True,
                 batch_first: bool = False, device: str | None = None,
                 dtype: Any = None) -> None:  # fmt: skip
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"MultiheadAttention: embed_dim {embed_dim} is not a multiple of "
                             f"num_heads {num_heads}")  # fmt: skip
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.batch_first = batch_first
        self.in_proj_weight = parameter(3 * embed_dim, embed_dim, dtype=dtype, device=device)
        made = parameter(3 * embed_dim, dtype=dtype, device=device) if bias else None
        self.register_parameter("in_proj_bias", made)
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype=dtype, device=device)
        init.xavier_uniform_(self.in_proj_weight)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor,
                key_padding_mask: Tensor | None = None, need_weights: bool = True,
                attn_mask: Tensor | None = None, average_attn_weights: bool = True,
                is_causal: bool = False) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Return the attended values, and the weights.

        Args:
            query, key, value: (N, L, E), (N, S, E), (N, S, E) with `batch_first`, or without N.
            key_padding_mask: (N, S): True, or -inf, where a key is padding.
            need_weights: return the weights too, (N, L, S); None otherwise.
            attn_mask: (L, S) or (N · heads, L, S): True where a query may *not* look (PyTorch's
                convention here), or numbers added to the scores.
            average_attn_weights: False for the weights of each head, (N, heads, L, S).
            is_causal: let query i look at keys 0 … i only.
        """
        alone = query.ndim == 2
        if alone:
            query, key, value = (at.expand_dims(x, 0) for x in (query, key, value))
            if key_padding_mask is not None:
                key_padding_mask = at.expand_dims(key_padding_mask, 0)
        elif not self.batch_first:
            query, key, value = (at.transpose(x, 0, 1) for x in (query, key, value))
        self._check(query, key, value)
        q, k, v = self._projected(query, key, value)
        mask = self._mask(attn_mask, key_padding_mask, q, k)
        weights = attention_weights(q, k, mask, is_causal)
        dropped = F.dropout(weights, self.dropout, self.training)
        heads = at.permute_dims(at.matmul(dropped, v), (0, 2, 1, 3))
        out = self.out_proj(at.reshape(heads, query.shape))
        shown = at.mean(weights, axis=1) if average_attn_weights else weights
        if alone:
            out, shown = at.squeeze(out, 0), at.squeeze(shown, 0)
        elif not self.batch_first:
            out = at.transpose(out, 0, 1)
        return out, shown if need_weights else None

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        shapes = (query.shape, key.shape, value.shape)
        fits = key.shape == value.shape and query.shape[0] == key.shape[0]
        if not fits or any(len(s) != 3 or s[2] != self.embed_dim for s in shapes):
            raise ShapeError(
                f"MultiheadAttention: query, key and value must be (N, L, {self.embed_dim}), "
                f"(N, S, {self.embed_dim}) twice; found (batch first) {shapes}"
            )  # fmt: skip

    def _projected(self, *inputs: Tensor) -> list[Tensor]:
        """Return queries, keys and values as (N, heads, length, E / heads)."""
        e, out = self.embed_dim, []
        for i, x in enumerate(inputs):
            rows = slice(i * e, (i + 1) * e)
            bias = None if self.in_proj_bias is None else self.in_proj_bias[rows]
            y = F.linear(x, self.in_proj_weight[rows], bias)
            split = at.reshape(y, (*x.shape[:2], self.num_heads, e // self.num_heads))
            out.append(at.permute_dims(split, (0, 2, 1, 3)))
        return out

    def _mask(self, attn_mask: Tensor | None, padding: Tensor | None, q: Tensor, k: Tensor
              ) -> Tensor | None:  # fmt: skip
        """Return both masks as one that is added to scores (N, heads, L, S)."""
        n, _, length, keys = *q.shape[:3], k.shape[2]
        total = None
        if attn_mask is not None:
            total = _forbidding(attn_mask, q)
            if total.ndim == 3:
                total = at.reshape(total, (n, self.num_heads, length, keys))
        if padding is not None:
            added = at.reshape(_forbidding(padding, q), (n, 1, 1, keys))
            total = added if total is None else total + added
        return total


def _forbidding(mask: Tensor, like: Tensor) -> Tensor:
    """Return a mask that is added to scores: -inf where a boolean one is True."""
    if mask.dtype is not bool_:
        return mask
    zeros = at.zeros_like(at.astype(mask, like.dtype))
    return at.where(mask, -float("inf"), zeros)
