"""Convolutional layers over one, two and three axes, and their transposes."""

import math
from typing import Any

from atled.core.tensor import Tensor
from atled.nn import functional as F
from atled.nn import init
from atled.nn.functional.window import each_axis
from atled.nn.linear import parameter
from atled.nn.module import Module

__all__ = [
    "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
]  # fmt: skip


class _Kernel(Module):
    """What all of them share: options read, weight and bias made and drawn.

    Attributes:
        weight: (out, in / groups, *kernel), transposed layers (in, out / groups, *kernel), drawn
            from U(-k, k), k = 1 / √(fan in).
        bias: (out,), from the same.
    """

    n: int  # the number of spatial axes
    transposed = False

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any,
                 padding: Any, dilation: Any, groups: int, bias: bool, padding_mode: str,
                 device: str | None, dtype: Any) -> None:  # fmt: skip
        super().__init__()
        name = type(self).__name__
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"{name}: channels {in_channels} and {out_channels} must be "
                             f"multiples of groups={groups}")  # fmt: skip
        modes = ("zeros",) if self.transposed else ("zeros", "reflect", "replicate", "circular")
        if padding_mode not in modes:
            raise ValueError(f"{name}: padding_mode is one of {modes}; found {padding_mode!r}")
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f"{name}: padding is a number, 'same' or 'valid'; found {padding!r}")
        n = self.n
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = each_axis(kernel_size, n, "kernel_size")
        self.stride, self.dilation = (
            each_axis(stride, n, "stride"),
            each_axis(dilation, n, "dilation"),
        )
        self.padding = padding if isinstance(padding, str) else each_axis(padding, n, "padding")
        self.padding_mode = padding_mode
        outer, inner = (
            (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        )
        self.weight = parameter(outer, inner // groups, *self.kernel_size, dtype=dtype,
                                device=device)  # fmt: skip
        made = parameter(out_channels, dtype=dtype, device=device) if bias else None
        self.register_parameter("bias", made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init.fans(self.weight)
            bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}", f"kernel_size={self.kernel_size}",
                 f"stride={self.stride}"]  # fmt: skip
        ones, zeros = (1,) * self.n, (0,) * self.n
        if self.padding != zeros:
            parts.append(f"padding={self.padding!r}")
        if self.dilation != ones:
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode!r}")
        return ", ".join(parts)


class _Conv(_Kernel):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
                 padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True,
                 padding_mode: str = "zeros", device: str | None = None,
                 dtype: Any = None) -> None:  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                         bias, padding_mode, device, dtype)  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        convolve = (F.conv1d, F.conv2d, F.conv3d)[self.n - 1]
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._widths(), mode=self.padding_mode), 0
        return convolve(input, self.weight, self.bias, self.stride, padding, self.dilation,
                        self.groups)  # fmt: skip

    def _widths(self) -> list[int]:
        """Return the padding in the order of `F.pad`: the last axis first."""
        if self.padding == "valid":
            return [0] * (2 * self.n)
        if self.padding == "same":
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            pairs = [(total // 2, total - total // 2) for total in totals]
        else:
            pairs = [(p, p) for p in each_axis(self.padding, self.n, "padding")]
        return [width for pair in reversed(pairs) for width in pair]


class Conv1d(_Conv):
    """Slide learned kernels along (N, C, L).

    Args:
        in_channels, out_channels: C before and after.
        kernel_size, stride, dilation: numbers.
        padding: a number, "same" or "valid".
        groups: into how many independent parts the channels are split.
        bias: whether a bias is added.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
    """

    n = 1


class Conv2d(_Conv):
    """Slide learned kernels over images (N, C, H, W).

    Args: as for `Conv1d`; kernel_size, stride, padding and dilation are numbers or pairs.

    Example:
        >>> import atled as at
        >>> at.nn.Conv2d(1, 8, 3, padding="same")(at.ones(2, 1, 8, 8)).shape
        (2, 8, 8, 8)
    """

    n = 2


class Conv3d(_Conv):
    """Slide learned kernels through volumes (N, C, D, H, W); arguments as for `Conv1d`."""

    n = 3


class _Transposed(_Kernel):
    transposed = True

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
                 padding: Any = 0, output_padding: Any = 0, groups: int = 1, bias: bool = True,
                 dilation: Any = 1, padding_mode: str = "zeros", device: str | None = None,
                 dtype: Any = None) -> None:  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                         bias, padding_mode, device, dtype)  # fmt: skip
        self.output_padding = each_axis(output_padding, self.n, "output_padding")

    def forward(self, input: Tensor) -> Tensor:
        spread = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self.n - 1]
        return spread(input, self.weight, self.bias, self.stride, self.padding,
                      self.output_padding, self.groups, self.dilation)  # fmt: skip

    def extra_repr(self) -> str:
        extra = f", output_padding={self.output_padding}" if any(self.output_padding) else ""
        return super().extra_repr() + extra


class ConvTranspose1d(_Transposed):
    """Spread each element of (N, C, L) by learned kernels: the transpose of `Conv1d`.

    Args:
        output_padding: elements added at the end, where several lengths would be possible.
        in_channels, …: as for `Conv1d`.
    """

    n = 1


class ConvTranspose2d(_Transposed):
    """Spread each pixel of (N, C, H, W) by learned kernels; see `ConvTranspose1d`."""

    n = 2


class ConvTranspose3d(_Transposed):
    """Spread each voxel of (N, C, D, H, W) by learned kernels; see `ConvTranspose1d`."""

    n = 3
