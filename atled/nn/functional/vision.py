"""Images in another size: interpolation and pixel shuffling."""

import math
from typing import Any

from atled import functions as at
from atled.core.tensor import Tensor, wrap
from atled.errors import ShapeError

__all__ = ["interpolate", "pixel_shuffle", "pixel_unshuffle"]

LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Resize the spatial axes of (N, C, *spatial).

    Args:
        size: the new lengths, or one for all; or else
        scale_factor: the new lengths in units of the old ones.
        mode: "nearest", "linear" (one spatial axis), "bilinear" (two) or "trilinear" (three).
        align_corners: for the linear modes: whether the outermost elements, rather than the
            outer edges, stay in place.
    """
    n = input.ndim - 2
    if n < 1 or (size is None) == (scale_factor is None):
        raise ShapeError(
            "interpolate: an input (N, C, *spatial) and either size or scale_factor are "
            f"needed; found shape {input.shape}, size={size!r}, scale_factor={scale_factor!r}"
        )
    if mode != "nearest" and LINEAR.get(mode) != n:
        raise ValueError(
            f"interpolate: mode {mode!r} does not fit {n} spatial axes; there are "
            "'nearest', and 'linear', 'bilinear', 'trilinear' for 1, 2, 3"
        )
    old = input.shape[2:]
    scales: tuple[float | None, ...] = (None,) * n
    if size is not None:
        new = (size,) * n if isinstance(size, int) else tuple(size)
    else:
        scales = (scale_factor,) * n if isinstance(scale_factor, (int, float)) else scale_factor
        new = tuple([math.floor(m * s) for m, s in zip(old, scales, strict=True)])
    for axis, (m, k, scale) in enumerate(zip(old, new, scales, strict=True), 2):
        step = m / k if scale is None else 1 / scale
        if mode == "nearest":
            places = [min(math.floor(i * step), m - 1) for i in range(k)]
            input = at.take(input, places, axis=axis)
        else:
            input = _blend(input, axis, k, step, bool(align_corners))
    return input


def _blend(x: Tensor, axis: int, out: int, step: float, align_corners: bool) -> Tensor:
    """Resize one axis linearly: a product with a matrix that has two numbers in each row."""
    n = x.shape[axis]
    rows = [[0.0] * n for _ in range(out)]
    for i, row in enumerate(rows):
        if align_corners:
            at_place = i * (n - 1) / (out - 1) if out > 1 else 0.0
        else:
            at_place = max((i + 0.5) * step - 0.5, 0.0)
        low = min(int(at_place), n - 1)
        part = at_place - low
        row[low] += 1 - part
        row[min(low + 1, n - 1)] += part
    matrix = wrap(x.backend.asarray(rows, dtype=x.dtype, device=x.device))
    return at.moveaxis(at.matmul(at.moveaxis(x, axis, -1), matrix.mT), -1, axis)


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Make (..., C r², H, W) into (..., C, H r, W r) (Shi et al. 2016, arXiv:1609.05158)."""
    r = upscale_factor
    *lead, c, h, w = input.shape
    if c % (r * r):
        raise ShapeError(
            f"pixel_shuffle: {c} channels are no multiple of {r}²; the shape is {input.shape}"
        )
    k = len(lead)
    parts = at.reshape(input, (*lead, c // (r * r), r, r, h, w))
    order = (*range(k), k, k + 3, k + 1, k + 4, k + 2)
    return at.reshape(at.permute_dims(parts, order), (*lead, c // (r * r), h * r, w * r))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Make (..., C, H r, W r) into (..., C r², H, W): the inverse of `pixel_shuffle`."""
    r = downscale_factor
    *lead, c, h, w = input.shape
    if h % r or w % r:
        raise ShapeError(
            f"pixel_unshuffle: height and width of {input.shape} are not multiples of {r}"
        )
    k = len(lead)
    parts = at.reshape(input, (*lead, c, h // r, r, w // r, r))
    order = (*range(k), k, k + 2, k + 4, k + 1, k + 3)
    return at.reshape(at.permute_dims(parts, order), (*lead, c * r * r, h // r, w // r))
