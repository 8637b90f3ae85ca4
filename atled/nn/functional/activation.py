"""Activations, element by element or over one axis. Kinks have PyTorch's slopes."""

from typing import Any

from atled import functions as at
from atled.core.tensor import Tensor
from atled.errors import ShapeError

__all__ = [
    "celu", "elu", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh",
    "leaky_relu", "log_softmax", "logsigmoid", "mish", "prelu", "relu", "relu6", "selu", "sigmoid",
    "silu", "softmax", "softmin", "softplus", "softshrink", "softsign", "tanh", "tanhshrink",
    "threshold",
]  # fmt: skip

relu, silu, sigmoid, tanh, gelu = at.relu, at.silu, at.sigmoid, at.tanh, at.gelu
logsigmoid = at.logsigmoid

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, negative_slope · x elsewhere."""
    return at.where(input > 0, input, negative_slope * input)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, w · x elsewhere, with w learned: one for all, or one a channel (axis 1)."""
    if weight.size > 1:
        channels = input.shape[1] if input.ndim > 1 else None
        if channels != weight.size:
            raise ShapeError(
                f"prelu: {weight.size} slopes for an input of shape {input.shape}, which has "
                f"{channels} channels; give one slope, or one for each channel"
            )  # fmt: skip
        weight = at.reshape(weight, (-1, *[1] * (input.ndim - 2)))
    return at.where(input > 0, input, weight * input)


def elu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > 0, α (eˣ - 1) elsewhere (Clevert et al. 2015, arXiv:1511.07289)."""
    positive = input > 0
    return at.where(positive, input, alpha * at.expm1(at.where(positive, 0.0, input)))


def celu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > 0, α (e^(x/α) - 1) elsewhere (Barron 2017, arXiv:1704.07483)."""
    positive = input > 0
    return at.where(positive, input, alpha * at.expm1(at.where(positive, 0.0, input / alpha)))


def selu(input: Tensor) -> Tensor:
    """1.0507 · elu(x, α = 1.6733): keeps mean 0 and variance 1 (Klambauer et al. 2017)."""
    return SELU_SCALE * elu(input, SELU_ALPHA)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(βx)) / β; x itself where βx is above the threshold."""
    return at.where(input * beta > threshold, input, at.softplus(input, beta))


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return input / (1 + at.abs(input))


def mish(input: Tensor) -> Tensor:
    """x tanh(log(1 + eˣ)) (Misra 2019, arXiv:1908.08681)."""
    return input * at.tanh(at.softplus(input))


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh x."""
    return input - at.tanh(input)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x between the bounds, the bounds beyond; slope 0 on them."""
    return at.where(input <= min_val, min_val, at.where(input >= max_val, max_val, input))


def relu6(input: Tensor) -> Tensor:
    """x between 0 and 6, the bounds beyond."""
    return hardtanh(input, 0.0, 6.0)


def hardsigmoid(input: Tensor) -> Tensor:
    """relu6(x + 3) / 6."""
    return relu6(input + 3) / 6


def hardswish(input: Tensor) -> Tensor:
    """x relu6(x + 3) / 6 (Howard et al. 2019, arXiv:1905.02244)."""
    return input * hardsigmoid(input)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| > λ, 0 elsewhere."""
    return at.where(at.abs(input) > lambd, input, 0.0)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved toward 0 by λ, and no further."""
    return at.where(input > lambd, input - lambd, at.where(input < -lambd, input + lambd, 0.0))


def threshold(input: Tensor, threshold: float, value: float) -> Tensor:
    """x where x > threshold, `value` elsewhere."""
    return at.where(input > threshold, input, value)


def softmax(input: Tensor, dim: int = -1, dtype: Any = None) -> Tensor:
    """eˣ / Σ eˣ over an axis."""
    return at.softmax(input if dtype is None else at.astype(input, dtype), dim)


def log_softmax(input: Tensor, dim: int = -1, dtype: Any = None) -> Tensor:
    """x - log Σ eˣ over an axis."""
    return at.log_softmax(input if dtype is None else at.astype(input, dtype), dim)


def softmin(input: Tensor, dim: int = -1, dtype: Any = None) -> Tensor:
    """softmax(-x) over an axis."""
    return softmax(-input, dim, dtype)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a · sigmoid(b), a and b the halves along an axis (Dauphin et al. 2017, arXiv:1612.08083)."""
    n = input.shape[dim]
    if n % 2:
        raise ShapeError(
            f"glu halves axis {dim} of shape {input.shape}; its length {n} is odd"
        )  # fmt: skip
    a, b = at.split(input, n // 2, axis=dim)
    return a * at.sigmoid(b)
