"""Windows that slide over the last axes: their number, and the strided slices that they are.

Along one axis all windows together are a handful of slices, one for each place inside a window:
slice i holds what place i sees in every window. Sums, maxima and patches are written over these,
one axis after another.
"""

from typing import Any

from atled.core.tensor import Tensor
from atled.errors import ShapeError

__all__ = ["each_axis", "out_size", "slices"]


def each_axis(value: Any, n: int, name: str) -> tuple[int, ...]:
    """Return an option as one integer for each of n axes."""
    each = (value,) * n if isinstance(value, int) else tuple(value)
    if len(each) == 1:
        each = each * n
    if len(each) != n:
        raise ShapeError(f"{name}: one number or {n} are needed; found {value!r}")
    return each


def out_size(length: int, kernel: int, stride: int, dilation: int, padding: int,
             ceil_mode: bool) -> int:  # fmt: skip
    """Return how many windows fit; with `ceil_mode` the last may hang over the end."""
    room = length + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (count - 1) * stride >= length + padding:
        count -= 1  # the last window would lie in the padding altogether
    if room < 0 or count < 1:
        raise ShapeError(
            f"a window of {dilation * (kernel - 1) + 1} does not fit an axis of length {length} "
            f"with padding {padding}"
        )  # fmt: skip
    return count


def slices(x: Tensor, axis: int, kernel: int, stride: int, dilation: int, out: int
           ) -> list[Tensor]:  # fmt: skip
    """Return for each place of a window along one axis what it sees in all `out` windows."""
    length = x.shape[axis]
    before = (slice(None),) * (x.ndim + axis)
    return [
        x[
            (
                *before,
                slice(i * dilation, min(i * dilation + stride * (out - 1) + 1, length), stride),
            )
        ]
        for i in range(kernel)
    ]
