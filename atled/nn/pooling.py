"""Pooling layers: the largest or the mean of each window. `functional/pooling.py` computes."""

from typing import Any

from atled.core.tensor import Tensor
from atled.nn import functional as F
from atled.nn.module import Module

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d",
    "AvgPool1d", "AvgPool2d", "MaxPool1d", "MaxPool2d",
]  # fmt: skip


class _MaxPool(Module):
    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
                 ceil_mode: bool = False) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def options(self) -> tuple[Any, ...]:
        """Return the arguments of the function, in its order."""
        return self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode

    def extra_repr(self) -> str:
        return (f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
                f"dilation={self.dilation}, ceil_mode={self.ceil_mode}")  # fmt: skip


class MaxPool1d(_MaxPool):
    """Return the largest of each window of (N, C, L); arguments as for `F.max_pool1d`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.max_pool1d(input, *self.options())


class MaxPool2d(_MaxPool):
    """Return the largest of each window of (N, C, H, W); arguments as for `F.max_pool2d`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.max_pool2d(input, *self.options())


class _AvgPool(Module):
    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0,
                 ceil_mode: bool = False, count_include_pad: bool = True) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad = count_include_pad

    def options(self) -> tuple[Any, ...]:
        """Return the arguments of the function, in its order."""
        return (self.kernel_size, self.stride, self.padding, self.ceil_mode,
                self.count_include_pad)  # fmt: skip

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """Return the mean of each window of (N, C, L); arguments as for `F.avg_pool1d`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, *self.options())


class AvgPool2d(_AvgPool):
    """Return the mean of each window of (N, C, H, W); arguments as for `F.avg_pool2d`."""

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0,
                 ceil_mode: bool = False, count_include_pad: bool = True,
                 divisor_override: int | None = None) -> None:  # fmt: skip
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.divisor_override = divisor_override

    def options(self) -> tuple[Any, ...]:
        return *super().options(), self.divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool2d(input, *self.options())


class _Adaptive(Module):
    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """Return the means of `output_size` windows that cover the last axis evenly."""

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_Adaptive):
    """Return the means of windows that cover an image evenly."""

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveMaxPool1d(_Adaptive):
    """Return the maxima of `output_size` windows that cover the last axis evenly."""

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_max_pool1d(input, self.output_size)


class AdaptiveMaxPool2d(_Adaptive):
    """Return the maxima of windows that cover an image evenly."""

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_max_pool2d(input, self.output_size)
