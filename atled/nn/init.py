"""Initialisation: give a Tensor new random values, by PyTorch's names and formulas.

Every function gives its Tensor a new value, unrecorded, and returns it. Random numbers come
from `generator`, by default from the one that `manual_seed` begins.
"""

import math
from typing import Any

from atled import functions as at
from atled.core.apply import replace
from atled.core.tensor import Tensor, wrap
from atled.errors import ShapeError

__all__ = [
    "calculate_gain", "constant_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_",
    "ones_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
]  # fmt: skip

_GAINS = {"tanh": 5 / 3, "relu": math.sqrt(2.0), "selu": 3 / 4}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return by how much a layer before this nonlinearity should be scaled.

    Args:
        nonlinearity: "linear", "conv1d"…, "sigmoid", "tanh", "relu", "leaky_relu", "selu".
        param: the negative slope of "leaky_relu" (0.01).
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    known = ("linear", "sigmoid", *(f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)))
    if nonlinearity in known:
        return 1.0
    if nonlinearity not in _GAINS:
        raise ValueError(f"calculate_gain knows no nonlinearity {nonlinearity!r}")
    return _GAINS[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """Return how many inputs and outputs each element of a weight (out, in, *kernel) connects."""
    if tensor.ndim < 2:
        raise ShapeError(
            f"fan in and fan out need a weight of two axes or more; found shape {tensor.shape}"
        )  # fmt: skip
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _set(tensor: Tensor, value: Tensor) -> Tensor:
    return replace(tensor, value.detach())


def _unit(tensor: Tensor, generator: Any) -> Tensor:
    return at.rand_like(wrap(tensor._value), generator=generator)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Draw from the uniform distribution on [a, b)."""
    return _set(tensor, _unit(tensor, generator) * (b - a) + a)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Draw from the normal distribution."""
    plain = wrap(tensor._value)
    drawn = at.randn_like(plain, generator=generator)
    return _set(tensor, drawn.to(plain) * std + mean)


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0,
                  b: float = 2.0, generator: Any = None) -> Tensor:  # fmt: skip
    """Draw from the normal distribution, cut off outside [a, b], by its inverse."""
    low, high = (math.erf((bound - mean) / std / math.sqrt(2)) for bound in (a, b))
    u = _unit(tensor, generator) * (high - low) + low
    return _set(tensor, at.clip(at.erfinv(u) * (std * math.sqrt(2)) + mean, a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Set every element to one value."""
    return _set(tensor, at.full_like(wrap(tensor._value), val))


def zeros_(tensor: Tensor) -> Tensor:
    """Set every element to 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Set every element to 1."""
    return constant_(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """Set a matrix to the identity."""
    if tensor.ndim != 2:
        raise ShapeError(f"eye_ needs a matrix; found shape {tensor.shape}")
    return _set(tensor, at.eye(tensor.shape[0], tensor.shape[1]).to(wrap(tensor._value)))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Draw from U(-a, a), a = gain √(6 / (fan in + fan out)) (Glorot and Bengio 2010)."""
    bound = gain * math.sqrt(6.0 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Draw from N(0, σ²), σ = gain √(2 / (fan in + fan out)) (Glorot and Bengio 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans(tensor))), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"kaiming: mode is 'fan_in' or 'fan_out'; found {mode!r}")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan) if fan else 0.0


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Draw from U(-b, b), b = gain √(3 / fan) (He et al. 2015, arXiv:1502.01852).

    Args:
        a: the negative slope of "leaky_relu".
        mode: "fan_in" keeps the size of activations, "fan_out" that of gradients.
        nonlinearity: what follows the layer.
    """
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Draw from N(0, σ²), σ = gain / √fan; arguments as for `kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)
