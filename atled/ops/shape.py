"""Moving elements without computing: reshape, permute, broadcast, slice, place, concat.

Six movements are records; every other name here is written with them. `slice` and `place` are
each other's transposes, and with strides (also negative ones) they make flip, pad and split.
"""

import builtins
import math
from collections.abc import Sequence
from typing import Any

from atled.core.apply import apply, as_tensor
from atled.core.kinds import (
    broadcast_shapes,
    movement,
    normalize_axes,
    opaque,
)
from atled.core.op import Sample, Spec
from atled.core.surface import FUNCTIONS, public, spelled
from atled.core.tape import sum_to_shape
from atled.core.tensor import Tensor
from atled.errors import ShapeError, located

reshape_ = movement(
    "reshape",
    transpose=lambda xp, g, x_shape: xp.reshape(g, shape=x_shape),
    shape=lambda x, *, shape: _reshaped(x, shape),
    samples=(Sample(((3, 4),), {"shape": (2, 6)}), Sample(((1,),), {"shape": ()})),
    doc="The same elements, row by row, in another shape.",
)
permute = movement(
    "permute_dims",
    transpose=lambda xp, g, axes: xp.permute_dims(
        g, axes=tuple([axes.index(i) for i in builtins.range(len(axes))])
    ),
    shape=lambda x, *, axes: tuple([x[a] for a in axes]),
    samples=(Sample(((2, 3, 4),), {"axes": (2, 0, 1)}), Sample(((),), {"axes": ()})),
    doc="Axes in another order.",
)
broadcast = movement(
    "broadcast_to",
    transpose=lambda xp, g, x_shape: sum_to_shape(xp, g, x_shape),
    shape=lambda x, *, shape: _broadcast_shape(x, shape),
    samples=(Sample(((3, 1),), {"shape": (2, 3, 4)}), Sample(((),), {"shape": (2,)})),
    doc="Repeat along axes of length one, and new leading axes.",
)
slice_ = movement(
    "slice",
    transpose=lambda xp, g, x_shape, index: xp.place(g, index=index, shape=x_shape),
    shape=lambda x, *, index: tuple(
        [len(builtins.range(*builtins.slice(*i).indices(n))) for i, n in zip(index, x, strict=True)]
    ),
    samples=(Sample(((5, 6),), {"index": ((1, 4, 1), (5, None, -2))}),),
    reference="reference.slice",
    doc="Start, stop and step along each axis.",
)
place = movement(
    "place",
    transpose=lambda xp, g, index: xp.slice(g, index=index),
    shape=lambda x, *, index, shape: tuple(shape),
    samples=(Sample(((3, 3),), {"index": ((1, 4, 1), (5, None, -2)), "shape": (5, 6)}),),
    reference="reference.place",
    doc="Zeros, with the elements at a slice; the transpose of slice.",
)


def _concat_spec(*specs: Spec, axis: int) -> Spec:
    first = specs[0].shape
    for other in specs[1:]:
        if len(other.shape) != len(first) or any(
            m != n for i, (m, n) in enumerate(zip(first, other.shape, strict=True)) if i != axis
        ):
            raise ShapeError(f"concat: shapes {first} and {other.shape} differ beside axis {axis}")
    total = builtins.sum(s.shape[axis] for s in specs)
    return Spec((*first[:axis], total, *first[axis + 1 :]), specs[0].dtype)


def _part(arrays_shape: Any, axis: int, position: int) -> Any:
    """Return the slice of a concatenation that holds the array at `position`."""
    start = builtins.sum(s[axis] for s in arrays_shape[:position])
    stop = start + arrays_shape[position][axis]
    return tuple(
        [(start, stop, 1) if i == axis else (0, n, 1) for i, n in enumerate(arrays_shape[position])]
    )


concat_ = opaque(
    "concat",
    inputs=("*arrays",),
    operands="same",
    infer=_concat_spec,
    vjps=[
        lambda xp, g, arrays_shape, axis, position: xp.slice(
            g, index=_part(arrays_shape, axis, position)
        )
    ],
    jvps=[
        lambda xp, t, arrays_shape, y_shape, axis, position: xp.place(
            t, index=_part(arrays_shape, axis, position), shape=tuple(y_shape)
        )
    ],
    samples=(Sample(((2, 3), (4, 3)), {"axis": 0}), Sample(((2, 3), (2, 1), (2, 2)), {"axis": 1})),
    reference="reference.concat",
    doc="Join along an axis.",
)


def _reshaped(x: tuple[int, ...], shape: Sequence[int]) -> tuple[int, ...]:
    if math.prod(x) != math.prod(shape):
        raise ShapeError(f"reshape: {math.prod(x)} elements of shape {x} do not fill {shape}")
    return tuple(shape)


def _broadcast_shape(x: tuple[int, ...], shape: Sequence[int]) -> tuple[int, ...]:
    if broadcast_shapes(x, tuple(shape), name="broadcast_to") != tuple(shape):
        raise ShapeError(f"broadcast_to: shape {x} does not broadcast to {tuple(shape)}")
    return tuple(shape)


# -- public functions of the records


def _sizes(first: Any, rest: Any) -> tuple[int, ...]:
    """Read a shape given as one sequence or as several numbers."""
    sizes = first if not rest and not isinstance(first, int) else (first, *rest)
    return tuple([int(n) for n in sizes])


@public("view")
def reshape(x: Any, shape: Any, *rest: int) -> Tensor:
    """Return the same elements in another shape, row-major; one length may be -1."""
    x = as_tensor(x)
    sizes = _sizes(shape, rest)
    if -1 in sizes:
        known = math.prod(n for n in sizes if n != -1)
        if sizes.count(-1) > 1 or known == 0 or x.size % known:
            raise ShapeError(
                located(f"reshape: {x.size} elements of shape {x.shape} do not fill {sizes}")
            )
        sizes = tuple([x.size // known if n == -1 else n for n in sizes])
    return apply(reshape_, x, shape=sizes)


@public("permute")
@spelled
def permute_dims(x: Any, axes: Any, *rest: int) -> Tensor:
    """Return x with its axes in the given order."""
    x = as_tensor(x)
    order = normalize_axes(_sizes(axes, rest), x.ndim, "permute_dims")
    if len(order) != x.ndim:
        raise ShapeError(located(f"permute_dims: {x.ndim} axes are needed; found {order}"))
    return apply(permute, x, axes=order)


@public()
def broadcast_to(x: Any, shape: Any) -> Tensor:
    """Return x repeated along axes of length one, and new leading axes, to `shape`."""
    return apply(broadcast, as_tensor(x), shape=tuple(shape))


@public()
def expand(x: Any, shape: Any, *rest: int) -> Tensor:
    """Return x broadcast to a shape in which -1 keeps an axis as it is (PyTorch's name)."""
    x = as_tensor(x)
    sizes = _sizes(shape, rest)
    lead = len(sizes) - x.ndim
    full = [x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(sizes)]
    return broadcast_to(x, full)


@public(method=False)
def broadcast_arrays(*arrays: Any) -> list[Tensor]:
    """Return the arrays broadcast to their common shape."""
    tensors = [as_tensor(x) for x in arrays]
    shape = broadcast_shapes(*[t.shape for t in tensors], name="broadcast_arrays")
    return [broadcast_to(t, shape) for t in tensors]


@public("cat", "concatenate", method=False)
@spelled
def concat(arrays: Sequence[Any], axis: int | None = 0) -> Tensor:
    """Join arrays along an axis; flattened first where axis is None.

    Raises:
        ShapeError: there are none, or they differ beside that axis.
    """
    tensors = [as_tensor(x) for x in arrays]
    if not tensors:
        raise ShapeError(located("concat: at least one array is needed; found none"))
    if axis is None:
        tensors, axis = [reshape(t, -1) for t in tensors], 0
    (axis,) = normalize_axes(axis, tensors[0].ndim, "concat")
    return apply(concat_, *tensors, axis=axis)


@public(method=False)
@spelled
def stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """Join arrays of one shape along a new axis."""
    tensors = [as_tensor(x) for x in arrays]
    if any(t.shape != tensors[0].shape for t in tensors):
        shapes = ", ".join(str(t.shape) for t in tensors)
        raise ShapeError(located(f"stack: the arrays must have one shape; found {shapes}"))
    return concat([expand_dims(t, axis) for t in tensors], axis=axis)


# -- axes


@public("unsqueeze")
@spelled
def expand_dims(x: Any, axis: Any = 0) -> Tensor:
    """Return x with new axes of length one at the given places of the result."""
    x = as_tensor(x)
    count = 1 if isinstance(axis, int) else len(axis)
    at = normalize_axes(axis, x.ndim + count, "expand_dims")
    rest = iter(x.shape)
    shape = [1 if i in at else next(rest) for i in builtins.range(x.ndim + count)]
    return apply(reshape_, x, shape=tuple(shape))


@public()
@spelled
def squeeze(x: Any, axis: Any = None) -> Tensor:
    """Return x without the given axes of length one; without any such axis by default."""
    x = as_tensor(x)
    if axis is None:
        axes = tuple(i for i, n in enumerate(x.shape) if n == 1)
    else:
        axes = normalize_axes(axis, x.ndim, "squeeze")
        for a in axes:
            if x.shape[a] != 1:
                raise ShapeError(located(f"squeeze: axis {a} of shape {x.shape} is not 1 long"))
    return apply(reshape_, x, shape=tuple([n for i, n in enumerate(x.shape) if i not in axes]))


@public("swapaxes", "swapdims")
def transpose(x: Any, axis0: Any = None, axis1: Any = None) -> Tensor:
    """Exchange two axes; all axes reversed if none is given."""
    x = as_tensor(x)
    order = list(builtins.range(x.ndim))
    if axis0 is None:
        return permute_dims(x, order[::-1])
    if not isinstance(axis0, int):
        return permute_dims(x, axis0)
    a, b = normalize_axes((axis0,), x.ndim, "transpose") + normalize_axes(
        (axis1,), x.ndim, "transpose"
    )
    order[a], order[b] = b, a
    return permute_dims(x, order)


@public("t")
def matrix_transpose(x: Any) -> Tensor:
    """Exchange the last two axes."""
    return transpose(x, -2, -1)


@public("movedim")
def moveaxis(x: Any, source: Any, destination: Any) -> Tensor:
    """Move axes to other places; the others keep their order."""
    x = as_tensor(x)
    src = normalize_axes(source, x.ndim, "moveaxis")
    dst = normalize_axes(destination, x.ndim, "moveaxis")
    rest = iter([i for i in builtins.range(x.ndim) if i not in src])
    places = dict(zip(dst, src, strict=True))
    return permute_dims(
        x, [places[i] if i in places else next(rest) for i in builtins.range(x.ndim)]
    )


@public("ravel")
def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Join the axes from start_dim to end_dim into one."""
    x = as_tensor(x)
    if x.ndim == 0:
        return reshape(x, 1)
    first, last = (normalize_axes((d,), x.ndim, "flatten")[0] for d in (start_dim, end_dim))
    joined = math.prod(x.shape[first : last + 1])
    return reshape(x, (*x.shape[:first], joined, *x.shape[last + 1 :]))


@public()
@spelled
def unflatten(x: Any, axis: int, sizes: Sequence[int]) -> Tensor:
    """Split one axis into several of the given lengths, one of which may be -1."""
    x = as_tensor(x)
    (axis,) = normalize_axes(axis, x.ndim, "unflatten")
    sizes = list(sizes)
    if -1 in sizes:
        sizes[sizes.index(-1)] = x.shape[axis] // math.prod(n for n in sizes if n != -1)
    return reshape(x, (*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))


# -- parts


def _take_part(x: Tensor, axis: int, start: int | None, stop: int | None, step: int) -> Tensor:
    index = tuple([(start, stop, step) if i == axis else (0, n, 1) for i, n in enumerate(x.shape)])
    return apply(slice_, x, index=index)


@public()
@spelled
def flip(x: Any, axis: Any = None) -> Tensor:
    """Reverse the order along axes, all of them by default."""
    x = as_tensor(x)
    axes = normalize_axes(axis, x.ndim, "flip")
    index = tuple([(None, None, -1) if i in axes else (0, n, 1) for i, n in enumerate(x.shape)])
    return apply(slice_, x, index=index)


@public()
@spelled
def narrow(x: Any, axis: int, start: int, length: int) -> Tensor:
    """Return `length` elements along an axis from `start` on."""
    x = as_tensor(x)
    (axis,) = normalize_axes(axis, x.ndim, "narrow")
    if not 0 <= start <= start + length <= x.shape[axis]:
        raise ShapeError(
            located(f"narrow: {start} to {start + length} leaves axis {axis} of shape {x.shape}")
        )
    return _take_part(x, axis, start, start + length, 1)


@public()
@spelled
def split(x: Any, split_size: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """Cut along an axis into pieces of one size (the last may be smaller), or of given sizes."""
    x = as_tensor(x)
    (axis,) = normalize_axes(axis, x.ndim, "split")
    n = x.shape[axis]
    if isinstance(split_size, int):
        starts = list(builtins.range(0, n, split_size)) or [0]
        sizes = [min(split_size, n - s) for s in starts]
    else:
        sizes = list(split_size)
        if builtins.sum(sizes) != n:
            raise ShapeError(located(f"split: sizes {sizes} do not add up to {n} (axis {axis})"))
    ends = [builtins.sum(sizes[: i + 1]) for i in builtins.range(len(sizes))]
    return tuple(_take_part(x, axis, e - s, e, 1) for s, e in zip(sizes, ends, strict=True))


@public()
@spelled
def chunk(x: Any, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
    """Cut along an axis into at most `chunks` pieces of equal size (the last may be smaller)."""
    x = as_tensor(x)
    (axis,) = normalize_axes(axis, x.ndim, "chunk")
    return split(x, max(1, -(-x.shape[axis] // chunks)), axis=axis)


@public("unbind")
@spelled
def unstack(x: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """Return the parts along an axis, without that axis."""
    x = as_tensor(x)
    (axis,) = normalize_axes(axis, x.ndim, "unstack")
    return tuple(
        squeeze(_take_part(x, axis, i, i + 1, 1), axis) for i in builtins.range(x.shape[axis])
    )


# -- repeating and padding


@public()
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
            x = concat([_take_part(x, a, n - s, n, 1), _take_part(x, a, 0, n - s, 1)], axis=a)
    return x


@public()
def tile(x: Any, repetitions: Any, *rest: int) -> Tensor:
    """Lay copies of x side by side, `repetitions` along each axis."""
    x = as_tensor(x)
    times = _sizes(repetitions, rest)
    ndim = max(len(times), x.ndim)
    times = (1,) * (ndim - len(times)) + times
    shape = (1,) * (ndim - x.ndim) + x.shape
    paired = [n for t, m in zip(times, shape, strict=True) for n in (t, m)]
    spread = [n for m in shape for n in (1, m)]
    wide = broadcast_to(reshape(x, spread), paired)
    return reshape(wide, [t * m for t, m in zip(times, shape, strict=True)])


@public("repeat_interleave")
@spelled
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Tensor:
    """Repeat each element `repeats` times along an axis; of the flattened x without one.

    `repeats` is a number, or a count for each place along the axis.

    This is the Array API's `repeat`; PyTorch's `Tensor.repeat` is `tile` here.
    """
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
            located(
                f"repeat: one count for each of {x.shape[axis]} places is needed; found {counts}. "
                "For PyTorch's Tensor.repeat(sizes) use tile(sizes)"
            )
        )
    rows = [i for i, n in enumerate(counts) for _ in builtins.range(n)]
    return FUNCTIONS["take"](x, as_tensor(rows, dtype="int64"), axis=axis)


@public()
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
            located(
                f"pad: one (before, after) for each of {x.ndim} axes is needed; found {given!r}"
            )
        )
    return [(before, after) for before, after in items]


def _pad_constant(x: Tensor, widths: list[tuple[int, int]], value: float) -> Tensor:
    for axis, (before, after) in enumerate(widths):  # negative widths cut
        if before < 0 or after < 0:
            x = _take_part(x, axis, max(-before, 0), x.shape[axis] - max(-after, 0), 1)
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
            located(
                f"pad: reflect needs less than {n} on axis {axis} of shape {x.shape}; "
                f"found ({before}, {after})"
            )
        )
    places = builtins.range(-before, n + after)
    if mode == "reflect":
        rows = [abs(i) if i < n else 2 * (n - 1) - i for i in places]
    elif mode in ("replicate", "edge"):
        rows = [min(max(i, 0), n - 1) for i in places]
    elif mode in ("circular", "wrap"):
        rows = [i % n for i in places]
    else:
        raise ShapeError(
            located(f"pad: mode must be constant, reflect, replicate or circular; found {mode!r}")
        )
    return FUNCTIONS["take"](x, rows, axis=axis)
