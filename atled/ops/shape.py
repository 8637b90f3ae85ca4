"""Moving elements without computing: reshape, permute, broadcast, slice, place, concat.

Six movements are records, and `cut` into several pieces; every other name here is written with
them. `slice` and `place` are each other's transposes, and with strides (also negative ones) they
make flip, pad and more.
"""

import builtins
import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from atled.core.apply import apply, as_tensor
from atled.core.batching import fronted
from atled.core.kinds import (
    broadcast_shapes,
    linear,
    movement,
    normalize_axes,
    opaque,
)
from atled.core.masks import sum_to_shape
from atled.core.op import Sample, Spec
from atled.core.surface import public, spelled
from atled.core.tensor import Tensor
from atled.errors import ShapeError

reshape_ = movement(
    "reshape",
    transpose=lambda xp, g, x_shape: xp.reshape(g, shape=x_shape),
    shape=lambda x, *, shape: _reshaped(x, shape),
    batch=lambda xp, n, mapped, x, *, shape: xp.reshape(x, shape=(n, *shape)),
    samples=(Sample(((3, 4),), {"shape": (2, 6)}), Sample(((1,),), {"shape": ()})),
    doc="The same elements, row by row, in another shape.",
)
permute = movement(
    "permute_dims",
    transpose=lambda xp, g, axes: xp.permute_dims(
        g, axes=tuple([axes.index(i) for i in builtins.range(len(axes))])
    ),
    shape=lambda x, *, axes: tuple([x[a] for a in axes]),
    batch=lambda xp, n, mapped, x, *, axes: xp.permute_dims(x, axes=(0, *[a + 1 for a in axes])),
    samples=(Sample(((2, 3, 4),), {"axes": (2, 0, 1)}), Sample(((),), {"axes": ()})),
    doc="Axes in another order.",
)
broadcast = movement(
    "broadcast_to",
    transpose=lambda xp, g, x_shape: sum_to_shape(xp, g, x_shape),
    shape=lambda x, *, shape: _broadcast_shape(x, shape),
    batch=lambda xp, n, mapped, x, *, shape: xp.broadcast_to(
        xp.reshape(x, shape=(n, *[1] * (len(shape) + 1 - len(x.shape)), *x.shape[1:])),
        shape=(n, *shape),
    ),
    samples=(Sample(((3, 1),), {"shape": (2, 3, 4)}), Sample(((),), {"shape": (2,)})),
    doc="Repeat along axes of length one, and new leading axes.",
)
slice_ = movement(
    "slice",
    transpose=lambda xp, g, x_shape, index: xp.place(g, index=index, shape=x_shape),
    shape=lambda x, *, index: tuple(
        [len(builtins.range(*builtins.slice(*i).indices(n))) for i, n in zip(index, x, strict=True)]
    ),
    batch=lambda xp, n, mapped, x, *, index: xp.slice(x, index=((0, n, 1), *index)),
    samples=(Sample(((5, 6),), {"index": ((1, 4, 1), (5, None, -2))}),),
    reference="reference.slice",
    passes="chooses",
    doc="Start, stop and step along each axis.",
)
place = movement(
    "place",
    transpose=lambda xp, g, index: xp.slice(g, index=index),
    shape=lambda x, *, index, shape: tuple(shape),
    batch=lambda xp, n, mapped, x, *, index, shape: xp.place(
        x, index=((0, n, 1), *index), shape=(n, *shape)
    ),
    samples=(Sample(((3, 3),), {"index": ((1, 4, 1), (5, None, -2)), "shape": (5, 6)}),),
    reference="reference.place",
    passes="chooses",
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


def _concat_part(arrays_shape: Any, axis: int, position: int) -> Any:
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
    batch=lambda xp, n, mapped, *arrays, axis: xp.concat(
        *fronted(xp, n, mapped, arrays), axis=axis + 1
    ),
    vjps=[
        lambda xp, g, arrays_shape, axis, position: xp.slice(
            g, index=_concat_part(arrays_shape, axis, position)
        )
    ],
    jvps=[
        lambda xp, t, arrays_shape, y_shape, axis, position: xp.place(
            t, index=_concat_part(arrays_shape, axis, position), shape=tuple(y_shape)
        )
    ],
    samples=(Sample(((2, 3), (4, 3)), {"axis": 0}), Sample(((2, 3), (2, 1), (2, 2)), {"axis": 1})),
    reference="reference.concat",
    passes="chooses",
    doc="Join along an axis.",
)


# -- cutting: one node with a result for each piece, so that n pieces cost n, not n²


def _cut(xp: Any, x: Any, *, sizes: tuple[int, ...], axis: int, drop: bool) -> tuple[Any, ...]:
    ends = list(accumulate(sizes))
    index = [(0, n, 1) for n in x.shape]
    pieces = []
    for size, end in zip(sizes, ends, strict=True):
        index[axis] = (end - size, end, 1)
        piece = xp.slice(x, index=tuple(index))
        pieces.append(xp.reshape(piece, shape=_without(x.shape, axis)) if drop else piece)
    return tuple(pieces)


def _joined(xp: Any, g: Any, x_shape: Any, sizes: Any, axis: int, drop: bool) -> Any:
    """Join the cotangents of those pieces that have one; each is widened over a gap before it."""
    ends, last, blocks, start = list(accumulate(sizes)), max(g), [], 0
    for i in sorted(g):
        piece, end = g[i], ends[i]
        if drop:
            piece = xp.reshape(piece, shape=(*x_shape[:axis], 1, *x_shape[axis + 1 :]))
        stop = x_shape[axis] if i == last else end
        if stop - start != sizes[i]:
            shape = (*x_shape[:axis], stop - start, *x_shape[axis + 1 :])
            index = [(0, n, 1) for n in shape]
            index[axis] = (end - sizes[i] - start, end - start, 1)
            piece = xp.place(piece, index=tuple(index), shape=shape)
        blocks.append(piece)
        start = stop
    return blocks[0] if len(blocks) == 1 else xp.concat(*blocks, axis=axis)


def _without(shape: Any, axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def _cut_spec(x: Spec, *, sizes: Any, axis: int, drop: bool) -> tuple[Spec, ...]:
    lead, rest = x.shape[:axis], x.shape[axis + 1 :]
    return tuple([Spec(lead + rest if drop else (*lead, n, *rest), x.dtype) for n in sizes])


cut = linear(
    "cut",
    forward=_cut,
    infer=_cut_spec,
    transpose=_joined,
    outputs=2,
    samples=(
        Sample(((5, 2),), {"sizes": (1, 3, 1), "axis": 0, "drop": False}),
        Sample(((2, 3),), {"sizes": (1, 1, 1), "axis": 1, "drop": True}),
    ),
    reference="reference.cut",
    passes="chooses",
    doc="The pieces of given sizes along an axis, without that axis where they are dropped.",
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


def sizes_of(first: Any, rest: Any) -> tuple[int, ...]:
    """Read a shape given as one sequence or as several numbers."""
    sizes = first if not rest and not isinstance(first, int) else (first, *rest)
    return tuple([int(n) for n in sizes])


@public("view", samples=(Sample(((3, 4),), {"shape": (2, -1)}),))
def reshape(x: Any, shape: Any, *rest: int) -> Tensor:
    """Return the same elements in another shape, row-major; one length may be -1."""
    x = as_tensor(x)
    sizes = sizes_of(shape, rest)
    if -1 in sizes:
        known = math.prod(n for n in sizes if n != -1)
        if sizes.count(-1) > 1 or known == 0 or x.size % known:
            raise ShapeError(f"reshape: {x.size} elements of shape {x.shape} do not fill {sizes}")
        sizes = tuple([x.size // known if n == -1 else n for n in sizes])
    return apply(reshape_, x, shape=sizes)


@public("permute", samples=(Sample(((2, 3, 4),), {"axes": (2, -3, 1)}),))
@spelled
def permute_dims(x: Any, axes: Any, *rest: int) -> Tensor:
    """Return x with its axes in the given order."""
    x = as_tensor(x)
    order = normalize_axes(sizes_of(axes, rest), x.ndim, "permute_dims")
    if len(order) != x.ndim:
        raise ShapeError(f"permute_dims: {x.ndim} axes are needed; found {order}")
    return apply(permute, x, axes=order)


@public(samples=(Sample(((3, 1),), {"shape": (2, 3, 4)}),))
def broadcast_to(x: Any, shape: Any) -> Tensor:
    """Return x repeated along axes of length one, and new leading axes, to `shape`."""
    return apply(broadcast, as_tensor(x), shape=tuple(shape))


@public(samples=(Sample(((3, 1),), {"shape": (2, -1, 4)}),), reference="reference.expand")
def expand(x: Any, shape: Any, *rest: int) -> Tensor:
    """Return x broadcast to a shape in which -1 keeps an axis as it is (PyTorch's name)."""
    x = as_tensor(x)
    sizes = sizes_of(shape, rest)
    lead = len(sizes) - x.ndim
    full = [x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(sizes)]
    return broadcast_to(x, full)


@public(method=False, samples=(Sample(((3, 1), (4,), ())),))
def broadcast_arrays(*arrays: Any) -> list[Tensor]:
    """Return the arrays broadcast to their common shape."""
    tensors = [as_tensor(x) for x in arrays]
    shape = broadcast_shapes(*[t.shape for t in tensors], name="broadcast_arrays")
    return [broadcast_to(t, shape) for t in tensors]


@public(
    "cat",
    "concatenate",
    method=False,
    samples=(
        Sample(((2, 3), (2, 1)), {"axis": -1}),
        Sample(((2, 3), (4,)), {"axis": None}),
    ),
    reference="reference.concat",
)
@spelled
def concat(arrays: Sequence[Any], axis: int | None = 0) -> Tensor:
    """Join arrays along an axis; flattened first where axis is None.

    Raises:
        ShapeError: there are none, or they differ beside that axis.
    """
    tensors = [as_tensor(x) for x in arrays]
    if not tensors:
        raise ShapeError("concat: at least one array is needed; found none")
    if axis is None:
        tensors, axis = [reshape(t, -1) for t in tensors], 0
    (axis,) = normalize_axes(axis, tensors[0].ndim, "concat")
    return apply(concat_, *tensors, axis=axis)


@public(
    method=False, samples=(Sample(((2, 3), (2, 3)), {"axis": -1}),), reference="reference.stack"
)
@spelled
def stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """Join arrays of one shape along a new axis."""
    tensors = [as_tensor(x) for x in arrays]
    if any(t.shape != tensors[0].shape for t in tensors):
        shapes = ", ".join(str(t.shape) for t in tensors)
        raise ShapeError(f"stack: the arrays must have one shape; found {shapes}")
    return concat([expand_dims(t, axis) for t in tensors], axis=axis)


# -- axes


@public("unsqueeze", samples=(Sample(((2, 3),), {"axis": (0, -1)}),))
@spelled
def expand_dims(x: Any, axis: Any = 0) -> Tensor:
    """Return x with new axes of length one at the given places of the result."""
    x = as_tensor(x)
    count = 1 if isinstance(axis, int) else len(axis)
    at = normalize_axes(axis, x.ndim + count, "expand_dims")
    rest = iter(x.shape)
    shape = [1 if i in at else next(rest) for i in builtins.range(x.ndim + count)]
    return apply(reshape_, x, shape=tuple(shape))


@public(
    samples=(
        Sample(((1, 3, 1),)),
        Sample(((1, 3, 1),), {"axis": -1}),
    )
)
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
                raise ShapeError(f"squeeze: axis {a} of shape {x.shape} is not 1 long")
    return apply(reshape_, x, shape=tuple([n for i, n in enumerate(x.shape) if i not in axes]))


@public(
    "swapaxes",
    "swapdims",
    samples=(
        Sample(((2, 3, 4),)),
        Sample(((2, 3, 4),), {"axis0": 0, "axis1": -1}),
    ),
    reference="reference.transpose",
)
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


@public("t", samples=(Sample(((2, 3, 4),)),))
def matrix_transpose(x: Any) -> Tensor:
    """Exchange the last two axes."""
    return transpose(x, -2, -1)


@public("movedim", samples=(Sample(((2, 3, 4),), {"source": (0, 1), "destination": (-1, 0)}),))
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


@public(
    "ravel",
    samples=(
        Sample(((2, 3, 4),), {"start_dim": 1}),
        Sample(((),)),
    ),
    reference="reference.flatten",
)
def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Join the axes from start_dim to end_dim into one."""
    x = as_tensor(x)
    if x.ndim == 0:
        return reshape(x, 1)
    first, last = (normalize_axes((d,), x.ndim, "flatten")[0] for d in (start_dim, end_dim))
    joined = math.prod(x.shape[first : last + 1])
    return reshape(x, (*x.shape[:first], joined, *x.shape[last + 1 :]))


@public(
    samples=(Sample(((2, 6),), {"axis": 1, "sizes": (2, -1)}),), reference="reference.unflatten"
)
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


def part(x: Tensor, axis: int, start: int | None, stop: int | None, step: int) -> Tensor:
    index = tuple([(start, stop, step) if i == axis else (0, n, 1) for i, n in enumerate(x.shape)])
    return apply(slice_, x, index=index)


@public(
    samples=(
        Sample(((2, 3),)),
        Sample(((2, 3, 4),), {"axis": (0, -1)}),
    )
)
@spelled
def flip(x: Any, axis: Any = None) -> Tensor:
    """Reverse the order along axes, all of them by default."""
    x = as_tensor(x)
    axes = normalize_axes(axis, x.ndim, "flip")
    index = tuple([(None, None, -1) if i in axes else (0, n, 1) for i, n in enumerate(x.shape)])
    return apply(slice_, x, index=index)


@public(
    samples=(Sample(((2, 5),), {"axis": 1, "start": 1, "length": 3}),), reference="reference.narrow"
)
@spelled
def narrow(x: Any, axis: int, start: int, length: int) -> Tensor:
    """Return `length` elements along an axis from `start` on."""
    x = as_tensor(x)
    (axis,) = normalize_axes(axis, x.ndim, "narrow")
    if not 0 <= start <= start + length <= x.shape[axis]:
        raise ShapeError(
            f"narrow: {start} to {start + length} leaves axis {axis} of shape {x.shape}"
        )
    return part(x, axis, start, start + length, 1)


@public(
    samples=(
        Sample(((5, 2),), {"split_size": 2}),
        Sample(((2, 5),), {"split_size": (1, 4), "axis": 1}),
    ),
    reference="reference.split",
)
@spelled
def split(x: Any, split_size: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """Cut along an axis into pieces of one size (the last may be smaller), or of given sizes."""
    x = as_tensor(x)
    (axis,) = normalize_axes(axis, x.ndim, "split")
    n = x.shape[axis]
    if isinstance(split_size, int):
        if split_size < 1:
            raise ShapeError(f"split: a piece must be 1 long or more; found {split_size}")
        starts = list(builtins.range(0, n, split_size)) or [0]
        sizes = [min(split_size, n - s) for s in starts]
    else:
        sizes = list(split_size)
        if builtins.sum(sizes) != n or min(sizes, default=0) < 0:
            raise ShapeError(f"split: sizes {sizes} do not add up to {n} (axis {axis})")
    return apply(cut, x, sizes=tuple(sizes), axis=axis, drop=False)


@public(samples=(Sample(((5, 2),), {"chunks": 3}),), reference="reference.chunk")
@spelled
def chunk(x: Any, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
    """Cut along an axis into at most `chunks` pieces of equal size (the last may be smaller)."""
    x = as_tensor(x)
    (axis,) = normalize_axes(axis, x.ndim, "chunk")
    return split(x, max(1, -(-x.shape[axis] // chunks)), axis=axis)


@public(
    "unbind",
    samples=(
        Sample(((2, 3),)),
        Sample(((2, 3),), {"axis": 1}),
    ),
)
@spelled
def unstack(x: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """Return the parts along an axis, without that axis."""
    x = as_tensor(x)
    (axis,) = normalize_axes(axis, x.ndim, "unstack")
    return apply(cut, x, sizes=(1,) * x.shape[axis], axis=axis, drop=True)
