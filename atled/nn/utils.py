"""Gradient clipping, and parameters as one vector, by PyTorch's names."""

import math
from collections.abc import Iterable
from typing import Any

from atled import functions as at
from atled.config import modes
from atled.core.apply import replace
from atled.core.tensor import Tensor, wrap
from atled.errors import ShapeError

__all__ = [
    "clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "vector_to_parameters",
]  # fmt: skip


def _with_gradients(parameters: Any) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p for p in listed if p.grad is not None]


def clip_grad_norm_(parameters: Iterable[Tensor] | Tensor, max_norm: float, norm_type: float = 2.0,
                    error_if_nonfinite: bool = False) -> Tensor:  # fmt: skip
    """Scale all gradients together so that their norm is at most `max_norm`.

    Args:
        parameters: those whose `.grad` is scaled.
        norm_type: p of the p-norm over all elements; inf for the largest one.
        error_if_nonfinite: refuse a norm that is inf or nan, and change nothing.

    Returns:
        The norm before.
    """
    found = _with_gradients(parameters)
    if not found:
        return at.zeros(())
    norms = [at.norm(at.reshape(p.grad.detach(), -1), norm_type) for p in found]  # type: ignore
    total = at.norm(at.stack(norms), norm_type)
    if error_if_nonfinite and modes.tracing is not None:
        modes.tracing.check(
            at.isfinite(total),
            lambda: ValueError(
                "clip_grad_norm_: the norm of the gradients is not finite; nothing was scaled"
            ),
        )
    elif error_if_nonfinite and not math.isfinite(total.item()):
        raise ValueError(
            f"clip_grad_norm_: the norm of the gradients is {total.item()}; nothing was scaled"
        )
    factor = at.clip(max_norm / (total + 1e-6), None, 1.0)
    for p in found:
        p.grad = wrap(at.multiply(p.grad.detach(), factor)._value)  # type: ignore[union-attr]
    return total


def clip_grad_value_(parameters: Iterable[Tensor] | Tensor, clip_value: float) -> None:
    """Limit every element of the gradients to [-clip_value, clip_value]."""
    for p in _with_gradients(parameters):
        p.grad = at.clip(p.grad.detach(), -clip_value, clip_value)  # type: ignore[union-attr]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return all parameters one after another, as one vector; gradients flow through."""
    return at.concat([at.reshape(p, -1) for p in parameters])


def vector_to_parameters(vector: Tensor, parameters: Iterable[Tensor]) -> None:
    """Give parameters the values of a vector made by `parameters_to_vector`.

    Raises:
        ShapeError: it does not have as many elements as they have. Nothing has changed then.
    """
    listed = list(parameters)
    wanted = sum(p.size for p in listed)
    if vector.shape != (wanted,):
        raise ShapeError(
            f"vector_to_parameters: the parameters have {wanted} elements, the vector has shape "
            f"{vector.shape}"
        )  # fmt: skip
    plain, start = vector.detach(), 0
    for p in listed:
        replace(p, at.reshape(plain[start : start + p.size], p.shape))
        start += p.size
