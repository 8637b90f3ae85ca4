"""Convolutions and their transposes over one, two or three axes; patches; padding.

Shapes: input (N, C, *spatial) or (C, *spatial), weight (O, C / groups, *kernel).
"""

from collections.abc import Sequence
from typing import Any

from atled import functions as at
from atled.core.tensor import Tensor
from atled.errors import ShapeError
from atled.nn.functional.window import each_axis, out_size, slices

__all__ = [
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "pad",
    "unfold",
]  # fmt: skip


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """Pad the last axes, in PyTorch's order: (left, right, top, bottom, …), the last axis first.

    Args:
        mode: "constant", "reflect", "replicate" or "circular".
        value: what a constant padding is filled with.
    """
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise ShapeError(
            f"pad: two numbers for each padded axis, at most {2 * input.ndim} for an input of "
            f"shape {input.shape}; found {tuple(pad)}"
        )  # fmt: skip
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    widths = [(0, 0)] * (input.ndim - len(pairs)) + pairs[::-1]
    return at.pad(input, widths, mode=mode, value=value)


def _conv(input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any,
          dilation: Any, groups: int, n: int) -> Tensor:  # fmt: skip
    x, alone = _batched(input, n, f"conv{n}d")
    stride, dilation = each_axis(stride, n, "stride"), each_axis(dilation, n, "dilation")
    if isinstance(padding, str):
        x, padding = _padded_by_name(x, padding, weight.shape[2:], stride, dilation)
    padding = each_axis(padding, n, "padding")
    y = at.conv(x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return _finished(y, bias, n, alone)


def _padded_by_name(x: Tensor, padding: str, kernel: Any, stride: Any, dilation: Any
                    ) -> tuple[Tensor, Any]:  # fmt: skip
    if padding == "valid":
        return x, 0
    if padding != "same":
        raise ValueError(f"conv: padding is a number, 'same' or 'valid'; found {padding!r}")
    if any(s != 1 for s in stride):
        raise ValueError(f"conv: padding='same' needs a stride of 1; found {stride}")
    totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if all(total % 2 == 0 for total in totals):
        return x, tuple([total // 2 for total in totals])
    widths = [(0, 0), (0, 0), *[(total // 2, total - total // 2) for total in totals]]
    return at.pad(x, widths), 0


def _batched(x: Tensor, n: int, name: str) -> tuple[Tensor, bool]:
    if x.ndim not in (n + 1, n + 2):
        raise ShapeError(
            f"{name}: an input of {n + 2} axes (N, C, ...) or {n + 1} (C, ...) is needed; found "
            f"shape {x.shape}"
        )  # fmt: skip
    return (at.expand_dims(x, 0), True) if x.ndim == n + 1 else (x, False)


def _finished(y: Tensor, bias: Tensor | None, n: int, alone: bool) -> Tensor:
    if bias is not None:
        y = y + at.reshape(bias, (-1, *[1] * n))
    return at.squeeze(y, 0) if alone else y


def conv1d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
           padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Tensor:  # fmt: skip
    """Slide a kernel along one axis.

    Args:
        input: (N, C, L) or (C, L).
        weight: (O, C / groups, k).
        bias: (O,).
        stride, dilation: numbers or tuples of one.
        padding: a number, "same" (stride 1 only) or "valid".
        groups: into how many independent parts the channels are split.
    """
    return _conv(input, weight, bias, stride, padding, dilation, groups, 1)


def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
           padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Tensor:  # fmt: skip
    """Slide a kernel over an image (N, C, H, W); see `conv1d`.

    Example:
        >>> import atled as at
        >>> at.nn.functional.conv2d(at.ones(1, 1, 3, 3), at.ones(1, 1, 2, 2)).tolist()
        [[[[4.0, 4.0], [4.0, 4.0]]]]
    """
    return _conv(input, weight, bias, stride, padding, dilation, groups, 2)


def conv3d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
           padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Tensor:  # fmt: skip
    """Slide a kernel through a volume (N, C, D, H, W); see `conv1d`."""
    return _conv(input, weight, bias, stride, padding, dilation, groups, 3)


def _transposed(input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any,
                output_padding: Any, groups: int, dilation: Any, n: int) -> Tensor:  # fmt: skip
    x, alone = _batched(input, n, f"conv_transpose{n}d")
    if x.shape[1] != weight.shape[0] or x.shape[1] % groups:
        raise ShapeError(
            f"conv_transpose{n}d: input {input.shape} has {x.shape[1]} channels; weight "
            f"{weight.shape} takes {weight.shape[0]} in {groups} group(s)"
        )  # fmt: skip
    y = at.conv_transpose(
        x, weight, stride=each_axis(stride, n, "stride"), padding=each_axis(padding, n, "padding"),
        output_padding=each_axis(output_padding, n, "output_padding"),
        dilation=each_axis(dilation, n, "dilation"), groups=groups,
    )  # fmt: skip
    return _finished(y, bias, n, alone)


def conv_transpose1d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
                     padding: Any = 0, output_padding: Any = 0, groups: int = 1,
                     dilation: Any = 1) -> Tensor:  # fmt: skip
    """Spread each element of (N, C, L) by a kernel (C, O / groups, k): the transpose of `conv1d`.

    Args:
        output_padding: elements added at the end, where several lengths would be possible.
    """
    return _transposed(input, weight, bias, stride, padding, output_padding, groups, dilation, 1)


def conv_transpose2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
                     padding: Any = 0, output_padding: Any = 0, groups: int = 1,
                     dilation: Any = 1) -> Tensor:  # fmt: skip
    """Spread each pixel of (N, C, H, W) by a kernel; see `conv_transpose1d`."""
    return _transposed(input, weight, bias, stride, padding, output_padding, groups, dilation, 2)


def conv_transpose3d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
                     padding: Any = 0, output_padding: Any = 0, groups: int = 1,
                     dilation: Any = 1) -> Tensor:  # fmt: skip
    """Spread each voxel of (N, C, D, H, W) by a kernel; see `conv_transpose1d`."""
    return _transposed(input, weight, bias, stride, padding, output_padding, groups, dilation, 3)


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
           stride: Any = 1) -> Tensor:  # fmt: skip
    """Take an image (N, C, H, W) apart into patches (N, C · kernel, number of patches)."""
    kernel, stride, padding, dilation = (
        each_axis(value, 2, name)
        for value, name in ((kernel_size, "kernel_size"), (stride, "stride"),
                            (padding, "padding"), (dilation, "dilation"))
    )  # fmt: skip
    x, alone = _batched(input, 2, "unfold")
    if any(padding):
        x = at.pad(x, [(0, 0), (0, 0), *[(p, p) for p in padding]])
    out = [
        out_size(n, k, s, d, 0, False)
        for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)
    ]
    rows = at.stack(slices(x, -2, kernel[0], stride[0], dilation[0], out[0]), axis=2)
    parts = at.stack(slices(rows, -1, kernel[1], stride[1], dilation[1], out[1]), axis=3)
    columns = at.reshape(parts, (*x.shape[:1], x.shape[1] * kernel[0] * kernel[1], out[0] * out[1]))
    return at.squeeze(columns, 0) if alone else columns
