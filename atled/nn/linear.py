"""Layers that multiply by a weight, and those that only rearrange."""

import math
from collections.abc import Sequence
from typing import Any

from atled import functions as at
from atled.core.tensor import Tensor
from atled.nn import functional as F
from atled.nn import init
from atled.nn.module import Module
from atled.nn.parameter import Parameter

__all__ = ["Bilinear", "Flatten", "Identity", "Linear", "Unflatten"]


def parameter(*shape: int, dtype: Any = None, device: str | None = None) -> Parameter:
    """Return a Parameter of a shape, zero until it is initialised."""
    return Parameter(at.zeros(shape, dtype=dtype, device=device))


class Linear(Module):
    """Multiply by a learned weight and add a learned bias: x Wᵀ + b.

    Args:
        in_features, out_features: the lengths of the last axis before and after.
        bias: whether there is a b.
        dtype, device: of the parameters.

    Attributes:
        weight: W, (out_features, in_features), from U(-k, k) with k = 1 / √in_features.
        bias: b, (out_features,), from the same.

    Example:
        >>> import atled as at
        >>> at.nn.Linear(20, 30)(at.ones(128, 20)).shape
        (128, 30)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True,
                 device: str | None = None, dtype: Any = None) -> None:  # fmt: skip
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = parameter(out_features, in_features, dtype=dtype, device=device)
        made = parameter(out_features, dtype=dtype, device=device) if bias else None
        self.register_parameter("bias", made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (f"in_features={self.in_features}, out_features={self.out_features}, "
                f"bias={self.bias is not None}")  # fmt: skip


class Bilinear(Module):
    """Apply a learned bilinear form for each output: x₁ᵀ A x₂ + b.

    Args:
        in1_features, in2_features, out_features: the lengths of the last axes.
        bias: whether there is a b.
    """

    def __init__(self, in1_features: int, in2_features: int, out_features: int, bias: bool = True,
                 device: str | None = None, dtype: Any = None) -> None:  # fmt: skip
        super().__init__()
        self.in1_features, self.in2_features = in1_features, in2_features
        self.out_features = out_features
        self.weight = parameter(out_features, in1_features, in2_features, dtype=dtype,
                                device=device)  # fmt: skip
        made = parameter(out_features, dtype=dtype, device=device) if bias else None
        self.register_parameter("bias", made)
        bound = 1 / math.sqrt(in1_features)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
                f"out_features={self.out_features}, bias={self.bias is not None}")  # fmt: skip


class Identity(Module):
    """Return the input; any arguments are taken and forgotten."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Flatten(Module):
    """Join the axes from start_dim to end_dim into one; by default all but the first."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return at.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Split one axis into several of the given lengths."""

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        return at.unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
