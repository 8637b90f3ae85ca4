"""Embedding: a learned table of vectors."""

from typing import Any

from atled import functions as at
from atled.core.apply import replace
from atled.core.tensor import Tensor, wrap
from atled.nn import functional as F
from atled.nn import init
from atled.nn.linear import parameter
from atled.nn.module import Module

__all__ = ["Embedding"]


class Embedding(Module):
    """Look up learned vectors by number.

    Args:
        num_embeddings, embedding_dim: rows and columns of the table.
        padding_idx: a row that is zero and gets no gradient.

    Attributes:
        weight: the table, drawn from N(0, 1).

    Example:
        >>> import atled as at
        >>> at.nn.Embedding(10, 3)(at.tensor([[1, 2], [4, 5]])).shape
        (2, 2, 3)
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None,
                 device: str | None = None, dtype: Any = None) -> None:  # fmt: skip
        super().__init__()
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"Embedding: padding_idx {padding_idx} is not one of "
                             f"{num_embeddings} rows")  # fmt: skip
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = parameter(num_embeddings, embedding_dim, dtype=dtype, device=device)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew; the padding row is zero."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            rows = wrap(self.weight.backend.arange(self.num_embeddings, device=self.weight.device))
            padded = at.expand_dims(rows == self.padding_idx, -1)
            replace(self.weight, at.where(padded, 0.0, self.weight.detach()))

    def forward(self, input: Any) -> Tensor:
        return F.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        extra = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{extra}"
