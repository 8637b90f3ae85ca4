"""Pooling: the largest or the mean of each window.

A maximum's gradient goes to one element of its window, the first of the largest ones.
"""

import functools
import math
from typing import Any

from atled import functions as at
from atled.core.tensor import Tensor, wrap
from atled.errors import ShapeError
from atled.nn.functional.window import each_axis, out_size, slices
from atled.ops.pool import max_pool

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "avg_pool1d", "avg_pool2d", "max_pool1d", "max_pool2d",
]  # fmt: skip


class _Windows:
    """The windows of one call: options read, input checked and padded."""

    def __init__(self, x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any,
                 ceil_mode: bool, n: int, name: str) -> None:  # fmt: skip
        if x.ndim not in (n + 1, n + 2):
            raise ShapeError(
                f"{name}: an input of {n + 2} axes (N, C, ...) or {n + 1} (C, ...) is needed; "
                f"found shape {x.shape}"
            )  # fmt: skip
        self.n, self.spatial = n, x.shape[-n:]
        self.kernel = each_axis(kernel, n, "kernel_size")
        self.stride = self.kernel if stride is None else each_axis(stride, n, "stride")
        self.padding = each_axis(padding, n, "padding")
        self.dilation = each_axis(dilation, n, "dilation")
        if any(p > k // 2 for p, k in zip(self.padding, self.kernel, strict=True)):
            raise ShapeError(
                f"{name}: padding may be half of the window at most; found padding "
                f"{self.padding} for windows of {self.kernel}"
            )  # fmt: skip
        self.out = tuple([
            out_size(*row, ceil_mode)
            for row in zip(self.spatial, self.kernel, self.stride, self.dilation, self.padding,
                           strict=True)
        ])  # fmt: skip

    def widths(self) -> list[tuple[int, int]]:
        """Return what is padded before and after each spatial axis."""
        ends = [
            max(s * (m - 1) + d * (k - 1) + 1 - length - p, 0)
            for s, m, d, k, length, p in zip(self.stride, self.out, self.dilation, self.kernel,
                                             self.spatial, self.padding, strict=True)
        ]  # fmt: skip
        return list(zip(self.padding, ends, strict=True))

    def padded(self, x: Tensor, fill: float) -> Tensor:
        """Return x with everything around it that a window may see."""
        widths = self.widths()
        if not any(a or b for a, b in widths):
            return x
        return at.pad(x, [(0, 0)] * (x.ndim - self.n) + widths, value=fill)

    def tiles(self) -> bool:
        """Say whether the windows cover the input exactly, side by side."""
        return self.stride == self.kernel and self.spatial == tuple(
            [k * m for k, m in zip(self.kernel, self.out, strict=True)]
        )


def _first_largest(parts: list[Tensor]) -> Tensor:
    """Return the largest of several Tensors, place by place; the first wins a tie, NaN wins all."""
    best = parts[0]
    for part in parts[1:]:
        given = part.detach()
        best = at.where((given > best.detach()) | at.isnan(given), part, best)
    return best


def _max_pool(x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
              n: int) -> Tensor:  # fmt: skip
    windows = _Windows(x, kernel, stride, padding, dilation, ceil_mode, n, f"max_pool{n}d")
    return max_pool(x, kernel=windows.kernel, stride=windows.stride, padding=windows.padding,
                    dilation=windows.dilation, out=windows.out)  # fmt: skip


def max_pool1d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
               dilation: Any = 1, ceil_mode: bool = False) -> Tensor:  # fmt: skip
    """Return the largest of each window along the last axis.

    Args:
        input: (N, C, L) or (C, L).
        kernel_size: the window's length.
        stride: from one window to the next; by default the window's length.
        padding: how many -inf are put at both ends.
        dilation: from one element of a window to the next.
        ceil_mode: whether a last window may hang over the end.
    """
    return _max_pool(input, kernel_size, stride, padding, dilation, ceil_mode, 1)


def max_pool2d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
               dilation: Any = 1, ceil_mode: bool = False) -> Tensor:  # fmt: skip
    """Return the largest of each window of an image (N, C, H, W); see `max_pool1d`."""
    return _max_pool(input, kernel_size, stride, padding, dilation, ceil_mode, 2)


def _avg_pool(x: Tensor, kernel: Any, stride: Any, padding: Any, ceil_mode: bool,
              count_include_pad: bool, divisor: int | None, n: int) -> Tensor:  # fmt: skip
    windows = _Windows(x, kernel, stride, padding, 1, ceil_mode, n, f"avg_pool{n}d")
    if windows.tiles():
        pairs = [size for m, k in zip(windows.out, windows.kernel, strict=True) for size in (m, k)]
        tiled = at.reshape(x, (*x.shape[:-n], *pairs))
        inside = tuple(range(tiled.ndim - 2 * n + 1, tiled.ndim, 2))
        total = at.sum(tiled, axis=inside)
        return total / (divisor or math.prod(windows.kernel))
    total = windows.padded(x, 0.0)
    for axis in range(n):
        options = (windows.kernel, windows.stride, windows.dilation, windows.out)
        parts = slices(total, axis - n, *[option[axis] for option in options])
        total = functools.reduce(lambda a, b: a + b, parts)
    return total / (divisor or _counts(windows, x, count_include_pad))


def _counts(windows: _Windows, x: Tensor, padding_counts: bool) -> Any:
    """Return by how much each window's sum is divided: a number, or a Tensor of numbers."""
    if not any(a or b for a, b in windows.widths()):
        return math.prod(windows.kernel)
    lengths = []
    for size, k, s, p, m in zip(windows.spatial, windows.kernel, windows.stride, windows.padding,
                                windows.out, strict=True):  # fmt: skip
        low, high = (-p, size + p) if padding_counts else (0, size)
        starts = [i * s - p for i in range(m)]
        lengths.append([float(min(a + k, high) - max(a, low)) for a in starts])
    xp = x.backend
    counts: Any = 1.0
    for axis, row in enumerate(lengths):
        shape = tuple([len(row) if i == axis else 1 for i in range(windows.n)])
        line = xp.asarray(row, dtype=x.dtype, device=x.device)
        counts = xp.reshape(line, shape=shape) * counts
    return wrap(counts)


def avg_pool1d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
               ceil_mode: bool = False, count_include_pad: bool = True) -> Tensor:  # fmt: skip
    """Return the mean of each window along the last axis.

    Args:
        input, kernel_size, stride, ceil_mode: as for `max_pool1d`.
        padding: how many zeros are put at both ends.
        count_include_pad: whether they count in the mean.
    """
    return _avg_pool(input, kernel_size, stride, padding, ceil_mode, count_include_pad, None, 1)


def avg_pool2d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
               ceil_mode: bool = False, count_include_pad: bool = True,
               divisor_override: int | None = None) -> Tensor:  # fmt: skip
    """Return the mean of each window of an image (N, C, H, W); see `avg_pool1d`.

    Args:
        divisor_override: divide the sums by this.
    """
    return _avg_pool(input, kernel_size, stride, padding, ceil_mode, count_include_pad,
                     divisor_override, 2)  # fmt: skip


# -- a given number of windows ------------------------------------------------------------------


def _spans(length: int, out: int) -> list[tuple[int, int]]:
    """Return (start, stop) of `out` windows that cover an axis as evenly as can be."""
    return [(i * length // out, -(-(i + 1) * length // out)) for i in range(out)]


def _adaptive_sizes(x: Tensor, output_size: Any, n: int, name: str) -> tuple[int, ...]:
    if x.ndim not in (n + 1, n + 2):
        raise ShapeError(
            f"{name}: an input of {n + 2} axes (N, C, ...) or {n + 1} (C, ...) is needed; found "
            f"shape {x.shape}"
        )  # fmt: skip
    sizes = (output_size,) * n if not isinstance(output_size, (tuple, list)) else output_size
    return tuple([x.shape[i - n] if size is None else size for i, size in enumerate(sizes)])


def _adaptive_avg(x: Tensor, output_size: Any, n: int) -> Tensor:
    sizes = _adaptive_sizes(x, output_size, n, f"adaptive_avg_pool{n}d")
    spatial = x.shape[-n:]
    if all(length % size == 0 for length, size in zip(spatial, sizes, strict=True)):
        kernel = tuple([length // size for length, size in zip(spatial, sizes, strict=True)])
        return _avg_pool(x, kernel, None, 0, False, True, None, n)
    for axis, size in enumerate(sizes):  # a mean over each axis is a product with a matrix
        rows = [
            [1 / (b - a) if a <= i < b else 0.0 for i in range(spatial[axis])]
            for a, b in _spans(spatial[axis], size)
        ]
        matrix = wrap(x.backend.asarray(rows, dtype=x.dtype, device=x.device))
        moved = at.moveaxis(x, axis - n, -1)
        x = at.moveaxis(at.matmul(moved, matrix.mT), -1, axis - n)
    return x


def _adaptive_max(x: Tensor, output_size: Any, n: int) -> Tensor:
    sizes = _adaptive_sizes(x, output_size, n, f"adaptive_max_pool{n}d")
    for axis, size in reversed(list(enumerate(sizes))):
        spans = _spans(x.shape[axis - n], size)
        widest = max(b - a for a, b in spans)
        # narrower windows see their last element again, which changes no maximum
        places = [[min(a + i, b - 1) for a, b in spans] for i in range(widest)]
        x = _first_largest([at.take(x, each, axis=axis - n) for each in places])
    return x


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Return the means of `output_size` windows that cover the last axis evenly."""
    return _adaptive_avg(input, output_size, 1)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Return the means of windows that cover an image evenly.

    Args:
        input: (N, C, H, W) or (C, H, W).
        output_size: rows and columns of windows; None keeps an axis; one number for both.
    """
    return _adaptive_avg(input, output_size, 2)


def adaptive_max_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Return the maxima of `output_size` windows that cover the last axis evenly."""
    return _adaptive_max(input, output_size, 1)


def adaptive_max_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Return the maxima of windows that cover an image evenly; see `adaptive_avg_pool2d`."""
    return _adaptive_max(input, output_size, 2)
