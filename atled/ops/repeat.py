"""Repeating and padding: roll, tile, repeat, pad. Written with slices, gathers and `place`."""

from typing import Any

from atled.core.apply import apply, as_tensor
from atled.core.kinds import normalize_axes
from atled.core.op import Sample
from atled.core.surface import FUNCTIONS, public, spelled
from atled.core.tensor import Tensor
from atled.errors import ShapeError
from atled.ops.shape import broadcast_to, concat, expand_dims, part, place, reshape, sizes_of


@public(
    samples=(
        Sample(((3, 4),), {"shift": 5}),
        Sample(((3, 4),), {"shift": (1, -2), "axis": (0, 1)}),
    )
)
@spelled
def roll(x: Any, shift: Any, axis: Any = None) -> Tensor:
    """Shift elements along axes; those that leave come back at the other end."""
    x = as_tensor(x)
    if axis is None:
        return reshape(roll(reshape(x, -1), shift, 0), x.shape)
    shifts = (shift,) if isinstance(shift, int) else tuple(shift)
    for s, a in zip(shifts, normalize_axes(axis, x.ndim, "roll"), strict=True):
        n = x.shape[a]
        s = s % n if n else 0
        if s:
            x = concat([part(x, a, n - s, n, 1), part(x, a, 0, n - s, 1)], axis=a)
    return x


@public(samples=(Sample(((2, 3),), {"repetitions": (2, 1, 3)}),), reference="reference.tile")
def tile(x: Any, repetitions: Any, *rest: int) -> Tensor:
    """Lay copies of x side by side, `repetitions` along each axis."""
    x = as_tensor(x)
    times = sizes_of(repetitions, rest)
    ndim = max(len(times), x.ndim)
    times = (1,) * (ndim - len(times)) + times
    shape = (1,) * (ndim - x.ndim) + x.shape
    paired = [n for t, m in zip(times, shape, strict=True) for n in (t, m)]
    spread = [n for m in shape for n in (1, m)]
    wide = broadcast_to(reshape(x, spread), paired)
    return reshape(wide, [t * m for t, m in zip(times, shape, strict=True)])


@public(
    "repeat_interleave",
    samples=(
        Sample(((2, 3),), {"repeats": 2, "axis": 1}),
        Sample(((2, 3),), {"repeats": 2}),
        Sample(((3, 2),), {"repeats": [1, 0, 2], "axis": 0}),
    ),
)
@spelled
def repeat(x: Any, repeats: Any, axis: int | None = None, *sizes: int) -> Tensor:
    """Repeat each element `repeats` times along an axis; of the flattened x without one.

    `repeats` is a number, or a count for each place along the axis.

    This is the Array API's `repeat`; PyTorch's `Tensor.repeat` is `tile` here.
    """
    if sizes:
        given = (repeats, axis, *sizes)
        raise TypeError(f"repeat(x, n, axis) repeats elements; PyTorch's x.repeat{given} is x.tile")
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    (axis,) = normalize_axes(axis, x.ndim, "repeat")
    if not isinstance(repeats, int):
        return _repeat_each(x, list(as_tensor(repeats).tolist()), axis)
    shape = (*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :])
    wide = broadcast_to(expand_dims(x, axis + 1), shape)
    return reshape(wide, (*x.shape[:axis], x.shape[axis] * repeats, *x.shape[axis + 1 :]))


def _repeat_each(x: Tensor, counts: list[int], axis: int) -> Tensor:
    if len(counts) != x.shape[axis] or any(n < 0 for n in counts):
        raise ShapeError(
            f"repeat: one count for each of {x.shape[axis]} places is needed; found {counts}. "
            "For PyTorch's Tensor.repeat(sizes) use tile(sizes)"
        )
    rows = [i for i, n in enumerate(counts) for _ in range(n)]
    return FUNCTIONS["take"](x, as_tensor(rows, dtype="int64"), axis=axis)


@public(
    samples=(
        *[
            Sample(((3, 4),), {"pad_width": ((2, 1), (0, 3)), "mode": m})
            for m in ("constant", "reflect", "replicate", "circular")
        ],
        Sample(((3, 4),), {"pad_width": 1, "value": 2.0}),
    ),
    reference="reference.pad",
)
def pad(x: Any, pad_width: Any, mode: str = "constant", value: float = 0.0) -> Tensor:
    """Add elements at both ends of axes.

    Args:
        pad_width: a number for all ends, (before, after) for all axes, or a pair for each axis.
        mode: "constant", "reflect", "replicate" ("edge") or "circular" ("wrap").
        value: what a constant padding is filled with.

    Raises:
        ShapeError: the widths do not match the axes, or reflect further than x reaches.
    """
    x = as_tensor(x)
    widths = _pad_widths(pad_width, x)
    if mode == "constant":
        return _pad_constant(x, widths, value)
    for axis, (before, after) in enumerate(widths):
        if before or after:
            x = _pad_axis(x, axis, before, after, mode)
    return x


def _pad_widths(given: Any, x: Tensor) -> list[tuple[int, int]]:
    if isinstance(given, int):
        return [(given, given)] * x.ndim
    items = list(given)
    if len(items) == 2 and all(isinstance(w, int) for w in items):
        return [(items[0], items[1])] * x.ndim
    if len(items) != x.ndim or any(isinstance(w, int) or len(w) != 2 for w in items):
        raise ShapeError(
            f"pad: one (before, after) for each of {x.ndim} axes is needed; found {given!r}"
        )
    return [(before, after) for before, after in items]


def _pad_constant(x: Tensor, widths: list[tuple[int, int]], value: float) -> Tensor:
    for axis, (before, after) in enumerate(widths):  # negative widths cut
        if before < 0 or after < 0:
            x = part(x, axis, max(-before, 0), x.shape[axis] - max(-after, 0), 1)
    widths = [(max(b, 0), max(a, 0)) for b, a in widths]
    shape = tuple([b + n + a for n, (b, a) in zip(x.shape, widths, strict=True)])
    index = tuple([(b, b + n, 1) for n, (b, _) in zip(x.shape, widths, strict=True)])
    wide = apply(place, x, index=index, shape=shape)
    if value == 0:
        return wide
    ones = apply(place, as_tensor(x.backend.ones_like(x._value)), index=index, shape=shape)
    return FUNCTIONS["where"](FUNCTIONS["equal"](ones, 0), value, wide)


def _pad_axis(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    n = x.shape[axis]
    if mode == "reflect" and max(before, after) >= n:
        raise ShapeError(
            f"pad: reflect needs less than {n} on axis {axis} of shape {x.shape}; "
            f"found ({before}, {after})"
        )
    places = range(-before, n + after)
    if mode == "reflect":
        rows = [abs(i) if i < n else 2 * (n - 1) - i for i in places]
    elif mode in ("replicate", "edge"):
        rows = [min(max(i, 0), n - 1) for i in places]
    elif mode in ("circular", "wrap"):
        rows = [i % n for i in places]
    else:
        raise ShapeError(
            f"pad: mode must be constant, reflect, replicate or circular; found {mode!r}"
        )
    return FUNCTIONS["take"](x, rows, axis=axis)
