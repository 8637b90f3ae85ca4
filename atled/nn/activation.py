"""Activations as layers. `functional/activation.py` has the formulas."""

from collections.abc import Callable
from typing import Any

from atled import functions as at
from atled.core.tensor import Tensor
from atled.nn import functional as F
from atled.nn.module import Module
from atled.nn.parameter import Parameter

__all__ = [
    "CELU", "ELU", "GELU", "GLU", "SELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh",
    "LeakyReLU", "LogSigmoid", "LogSoftmax", "Mish", "PReLU", "ReLU", "ReLU6", "SiLU", "Sigmoid",
    "Softmax", "Softmin", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink", "Threshold",
]  # fmt: skip


class _Activation(Module):
    """A layer that calls one function with the options it was made with.

    `inplace` is accepted for PyTorch's sake: a Tensor is a value, so there is nothing to gain.
    """

    function: Callable[..., Tensor]

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.options: dict[str, Any] = {}

    def forward(self, input: Tensor) -> Tensor:
        return type(self).function(input, **self.options)

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in self.options.items())


class ReLU(_Activation):
    """max(x, 0)."""

    function = staticmethod(F.relu)


class ReLU6(_Activation):
    """x between 0 and 6, the bounds beyond."""

    function = staticmethod(F.relu6)


class SELU(_Activation):
    """1.0507 · elu(x, α = 1.6733)."""

    function = staticmethod(F.selu)


class SiLU(_Activation):
    """x · sigmoid(x)."""

    function = staticmethod(F.silu)


class Mish(_Activation):
    """x tanh(log(1 + eˣ))."""

    function = staticmethod(F.mish)


class Sigmoid(_Activation):
    """1 / (1 + e⁻ˣ)."""

    function = staticmethod(F.sigmoid)


class LogSigmoid(_Activation):
    """log(1 / (1 + e⁻ˣ))."""

    function = staticmethod(F.logsigmoid)


class Tanh(_Activation):
    """tanh x."""

    function = staticmethod(F.tanh)


class Tanhshrink(_Activation):
    """x - tanh x."""

    function = staticmethod(F.tanhshrink)


class Softsign(_Activation):
    """x / (1 + |x|)."""

    function = staticmethod(F.softsign)


class Hardsigmoid(_Activation):
    """relu6(x + 3) / 6."""

    function = staticmethod(F.hardsigmoid)


class Hardswish(_Activation):
    """x relu6(x + 3) / 6."""

    function = staticmethod(F.hardswish)


class LeakyReLU(_Activation):
    """x where x > 0, negative_slope · x elsewhere."""

    function = staticmethod(F.leaky_relu)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.options = {"negative_slope": negative_slope}


class ELU(_Activation):
    """x where x > 0, α (eˣ - 1) elsewhere."""

    function = staticmethod(F.elu)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.options = {"alpha": alpha}


class CELU(_Activation):
    """x where x > 0, α (e^(x/α) - 1) elsewhere."""

    function = staticmethod(F.celu)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.options = {"alpha": alpha}


class GELU(_Activation):
    """x Φ(x), Φ the normal distribution's, or its approximation by tanh."""

    function = staticmethod(F.gelu)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.options = {"approximate": approximate}


class Softplus(_Activation):
    """log(1 + e^(βx)) / β; x itself where βx is above the threshold."""

    function = staticmethod(F.softplus)

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.options = {"beta": beta, "threshold": threshold}


class Hardtanh(_Activation):
    """x between the bounds, the bounds beyond."""

    function = staticmethod(F.hardtanh)

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.options = {"min_val": min_val, "max_val": max_val}


class Hardshrink(_Activation):
    """x where |x| > λ, 0 elsewhere."""

    function = staticmethod(F.hardshrink)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.options = {"lambd": lambd}


class Softshrink(_Activation):
    """x moved toward 0 by λ, and no further."""

    function = staticmethod(F.softshrink)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.options = {"lambd": lambd}


class Threshold(_Activation):
    """x where x > threshold, `value` elsewhere."""

    function = staticmethod(F.threshold)

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.options = {"threshold": threshold, "value": value}


class _AlongAxis(_Activation):
    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.options = {"dim": dim}


class Softmax(_AlongAxis):
    """eˣ / Σ eˣ over an axis, by default the last."""

    function = staticmethod(F.softmax)


class Softmin(_AlongAxis):
    """softmax(-x) over an axis, by default the last."""

    function = staticmethod(F.softmin)


class LogSoftmax(_AlongAxis):
    """x - log Σ eˣ over an axis, by default the last."""

    function = staticmethod(F.log_softmax)


class GLU(_AlongAxis):
    """a · sigmoid(b), a and b the halves along an axis, by default the last."""

    function = staticmethod(F.glu)


class PReLU(Module):
    """x where x > 0, w · x elsewhere, with learned slopes w.

    Args:
        num_parameters: 1, or the number of channels (axis 1).
        init: the slopes before training.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: str | None = None,
                 dtype: Any = None) -> None:  # fmt: skip
        super().__init__()
        self.num_parameters = num_parameters
        self.weight = Parameter(at.full((num_parameters,), float(init), dtype=dtype, device=device))

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"
