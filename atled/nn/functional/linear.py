"""Products with a weight: linear, bilinear, embedding."""

from typing import Any

from atled import functions as at
from atled.config import modes
from atled.core.apply import apply
from atled.core.tensor import Tensor
from atled.errors import DTypeError, IndexingError, ShapeError
from atled.ops.fused import linear as linear_

__all__ = ["bilinear", "embedding", "linear", "one_hot"]

one_hot = at.one_hot


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply by a weight from the right: x Wᵀ + b.

    Args:
        input: x, (..., in).
        weight: W, (out, in), or (in,).
        bias: b, (out,).

    Returns:
        (..., out).

    Raises:
        ShapeError: x does not end in `in` elements.
    """
    if input.shape[-1:] != weight.shape[-1:]:
        raise ShapeError(
            f"linear: the input has shape {input.shape}; the weight {weight.shape} takes inputs "
            f"of shape (..., {weight.shape[-1]})"
        )  # fmt: skip
    if weight.ndim == 2 and input.ndim > 1 and bias is not None:
        return apply(linear_, input, weight, bias)
    y = at.matmul(input, at.matrix_transpose(weight) if weight.ndim > 1 else weight)
    return y if bias is None else y + bias


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply a bilinear form for each output: yₖ = x₁ᵀ Aₖ x₂ + bₖ.

    Args:
        input1, input2: (..., in1) and (..., in2).
        weight: A, (out, in1, in2).
        bias: b, (out,).
    """
    if (input1.shape[-1], input2.shape[-1]) != weight.shape[1:] or (
        input1.shape[:-1] != input2.shape[:-1]
    ):
        raise ShapeError(
            f"bilinear: inputs {input1.shape} and {input2.shape} do not fit the weight "
            f"{weight.shape}, which is (out, in1, in2)"
        )  # fmt: skip
    rows = at.reshape(input1, (-1, 1, 1, input1.shape[-1]))
    columns = at.reshape(input2, (-1, 1, input2.shape[-1], 1))
    y = at.matmul(at.matmul(rows, weight), columns)
    y = at.reshape(y, (*input1.shape[:-1], weight.shape[0]))
    return y if bias is None else y + bias


def embedding(input: Any, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Look up rows of a table.

    Args:
        input: integers of any shape.
        weight: the table, (rows, features).
        padding_idx: a row that gets no gradient.

    Returns:
        (*input.shape, features).

    Raises:
        DTypeError: the input is not of an integer dtype.
        IndexingError: an index is negative or beyond the table.
    """
    places = at.as_tensor(input)
    if places.dtype.kind not in ("int", "uint"):
        raise DTypeError(
            f"embedding: indices must be integers; found {places.dtype.name}"
        )  # fmt: skip
    if modes.tracing is not None:
        modes.tracing.check(places >= 0, lambda: IndexingError("embedding: an index is negative"))
    elif places.size and (low := places.backend.extent(places._value)[0]) < 0:
        raise IndexingError(f"embedding: index {low} is negative")
    rows = at.take(weight, places, axis=0)
    if padding_idx is None:
        return rows
    padded = at.expand_dims(places == padding_idx % weight.shape[0], -1)
    return at.where(padded, rows.detach(), rows)
