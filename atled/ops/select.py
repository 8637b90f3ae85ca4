"""Choosing elements: by condition, by index along an axis, by place.

Written with `where`, `gather_nd` and `scatter_nd`; the names are the Array API's, then PyTorch's.
"""

from typing import Any

from atled.config import modes
from atled.core.apply import apply, as_tensor
from atled.core.kinds import broadcast_shapes, constant, normalize_axes, opaque
from atled.core.op import Absent, Sample, Spec
from atled.core.surface import FUNCTIONS, public, spelled
from atled.core.tensor import Tensor, wrap
from atled.dtypes import bool_, int64, promote
from atled.errors import DTypeError, IndexingError, ShapeError
from atled.ops.index import as_indices, fitting, gather, getitem, is_everywhere, written
from atled.ops.shape import broadcast_to, expand_dims, moveaxis, reshape


def _where_spec(c: Spec, a: Spec, b: Spec) -> Spec:
    return Spec(
        broadcast_shapes(c.shape, a.shape, b.shape, name="where"), promote([a.dtype, b.dtype])
    )


where_ = opaque(
    "where",
    batch="ranks",
    inputs=("c", "a", "b"),
    operands="any",
    weak=True,
    broadcasts=True,
    infer=_where_spec,
    vjps=[None, lambda xp, g, c: xp.where(c, g, 0), lambda xp, g, c: xp.where(c, 0, g)],
    jvps=[None, lambda xp, t, c: xp.where(c, t, 0), lambda xp, t, c: xp.where(c, 0, t)],
    samples=(
        Sample(([[True, False], [False, True]], (2, 2), (2, 2))),
        Sample(([[True], [False]], (2,), (2, 2))),
    ),
    passes="chooses",
    doc="a where c is true, b elsewhere. Both branches are computed; the gradient of the one not "
    "taken is zero, also where its derivative is infinite or NaN (`set_safe_gradients`).",
)
nonzero_ = constant(
    "nonzero",
    Absent("how many places there are depends on the values"),
    batch=Absent(
        "how many elements are nonzero differs between the examples, whose results would not be "
        "one array; use at.where(mask, x, other) instead of x[mask]"
    ),
    infer=lambda x: Absent("how many places there are depends on the values"),
    outputs=2,
    doc="Places of the elements that are not zero.",
)


@public(samples=(Sample(([[True, False], [False, True]], (2, 2), ())),))
def where(condition: Any, a: Any, b: Any) -> Tensor:
    """Return a where the condition is true, b elsewhere; the three broadcast.

    Both branches are computed. The gradient of the one not taken is zero, also where its
    derivative is infinite or NaN (see `set_safe_gradients`).

    Raises:
        DTypeError: the condition is not boolean.
    """
    c = as_tensor(condition)
    if c.dtype is not bool_:
        raise DTypeError(f"where: the condition must be boolean; found {c.dtype.name}")
    scalars = [type(v) in (int, float, bool) for v in (a, b)]
    if all(scalars):
        return apply(where_, c, *_pair(a, b))
    if not any(scalars):
        return apply(where_, c, *_pair(a, b))
    t = as_tensor(b if scalars[0] else a)
    number = a if scalars[0] else b
    if type(number) is float and not t.dtype.is_floating_point:
        t, number = _pair(t, number)
    return apply(where_, c, number, t) if scalars[0] else apply(where_, c, t, number)


def _pair(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Return both as Tensors of one dtype."""
    a, b = as_tensor(a), as_tensor(b)
    dtype = promote([a.dtype, b.dtype])
    cast = FUNCTIONS["astype"]
    return cast(a, dtype), cast(b, dtype)


@public()
def nonzero(x: Any) -> tuple[Tensor, ...]:
    """Return for each axis the places of the elements that are not zero, int64."""
    x = as_tensor(x)
    return tuple(wrap(part) for part in x.backend.nonzero(x._value))


@public()
def argwhere(x: Any) -> Tensor:
    """Return the places of the elements that are not zero, a row for each."""
    found = nonzero(x)
    return FUNCTIONS["stack"](found, axis=1)


# -- along an axis


@public(
    samples=(Sample(((3, 4), [2, 0, 2]), {"axis": 0}), Sample(((3, 4), [2, 0, 2]), {"axis": 1})),
)
@spelled
def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """Return the parts of x at `indices` along an axis (of the flattened x without one).

    Raises:
        IndexingError: an index is out of range or not an integer.
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    (axis,) = normalize_axes(axis, x.ndim, "take")
    places = as_indices(indices, x.shape[axis], "take")
    front = x if axis == 0 else moveaxis(x, axis, 0)
    y = apply(gather, front, places)
    n = places.ndim
    return y if axis == 0 else moveaxis(y, tuple(range(n)), tuple(range(axis, axis + n)))


@public(
    samples=(Sample(((3, 4),), {"dim": 1, "index": [2, 0, 2]}),), reference="reference.index_select"
)
def index_select(x: Any, dim: int, index: Any) -> Tensor:
    """Return the parts of x at `index` along `dim` (PyTorch's order of `take`'s arguments)."""
    return take(x, index, dim)


def _grid(x: Tensor, axis: int, indices: Tensor) -> list[Tensor]:
    """Return index arrays that address x[..., indices[...], ...] along `axis`."""
    shape = indices.shape
    if len(shape) != x.ndim:
        raise ShapeError(
            f"indices of shape {shape} need as many axes as the Tensor of shape {x.shape}"
        )
    xp, out = x.backend, []
    for i, n in enumerate(shape):
        if i == axis:
            out.append(indices)
            continue
        if n > x.shape[i]:
            raise ShapeError(f"indices of shape {shape} leave a Tensor of {x.shape}")
        line = xp.reshape(
            xp.arange(n, device=x.device),
            shape=tuple([n if j == i else 1 for j in range(len(shape))]),
        )
        out.append(broadcast_to(wrap(line), shape))
    return out


@public("take_along_dim", samples=(Sample(((3, 4), [[2, 0], [1, 1], [0, 3]]), {"axis": 1}),))
@spelled
def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Tensor:
    """Return x[..., indices[...], ...] along one axis; the other axes broadcast.

    Raises:
        IndexingError: an index is out of range.
    """
    x = as_tensor(x)
    (axis,) = normalize_axes(axis, x.ndim, "take_along_axis")
    places = as_indices(indices, x.shape[axis], "take_along_axis")
    if places.ndim == x.ndim:
        shape = broadcast_shapes(
            *[tuple([1 if i == axis else n for i, n in enumerate(t.shape)]) for t in (x, places)]
        )
        wide = [
            tuple([t.shape[axis] if i == axis else n for i, n in enumerate(shape)])
            for t in (x, places)
        ]
        x, places = broadcast_to(x, wide[0]), broadcast_to(places, wide[1])
    return apply(gather, x, *_grid(x, axis, places))


@public(
    name="gather",
    samples=(Sample(((3, 4), [[2, 0], [1, 1]]), {"dim": 1}),),
    reference="reference.gather",
)
def gather_along(x: Any, dim: int, index: Any) -> Tensor:
    """Return x[..., index[...], ...] along `dim` (PyTorch's gather: the index may be smaller)."""
    x = as_tensor(x)
    (dim,) = normalize_axes(dim, x.ndim, "gather")
    return apply(gather, x, *_grid(x, dim, as_indices(index, x.shape[dim], "gather")))


@public(
    samples=(
        Sample(((3, 4), [[2, 0, 1]], (2, 4)), {"dim": 0}),
        Sample(((3, 4), [[1, 1, 2]], (1, 3)), {"dim": 1}),
    ),
    reference="reference.scatter",
)
def scatter(x: Any, dim: int, index: Any, src: Any) -> Tensor:
    """Return x with src written at index along `dim` (PyTorch's scatter)."""
    return _scattered(False, x, dim, index, src, "scatter")


@public(
    samples=(Sample(((3, 4), [[1, 1, 2], [0, 0, 0]], (2, 3)), {"dim": 1}),),
    reference="reference.scatter_add",
)
def scatter_add(x: Any, dim: int, index: Any, src: Any) -> Tensor:
    """Return x with src added at index along `dim`; repeated places add up (PyTorch's)."""
    return _scattered(True, x, dim, index, src, "scatter_add")


def _scattered(add: bool, x: Any, dim: int, index: Any, src: Any, name: str) -> Tensor:
    x = as_tensor(x)
    (dim,) = normalize_axes(dim, x.ndim, name)
    places = as_indices(index, x.shape[dim], name)
    v = src
    if len(getattr(src, "shape", ())) == places.ndim > 0:  # src may be larger than the index
        v = getitem(as_tensor(src), tuple([slice(0, n) for n in places.shape]))
    return written(x, v, _grid(x, dim, places), name, add)


@public(
    samples=(
        Sample(((3, 4), [1, 1], (3, 2)), {"dim": 1, "alpha": 0.5}),
        Sample(((3, 4), [2, 0], (4,)), {"dim": 0}),
    ),
    reference="reference.index_add",
)
def index_add(x: Any, dim: int, index: Any, source: Any, alpha: float = 1.0) -> Tensor:
    """Return x with alpha·source added at index along `dim`; repeated places add up."""
    v = source if alpha == 1.0 else FUNCTIONS["multiply"](as_tensor(source), alpha)
    return _indexed(True, x, dim, index, v, "index_add")


@public(samples=(Sample(((3, 4), [1, 1], (3, 2)), {"dim": 1}),), reference="reference.index_copy")
def index_copy(x: Any, dim: int, index: Any, source: Any) -> Tensor:
    """Return x with source written at index along `dim`."""
    return _indexed(False, x, dim, index, source, "index_copy")


@public(samples=(Sample(((3, 4), [1, 3], ()), {"dim": 1}),), reference="reference.index_copy")
def index_fill(x: Any, dim: int, index: Any, value: Any) -> Tensor:
    """Return x with a number, or a 0-d Tensor, written at index along `dim`."""
    return _indexed(False, x, dim, index, value, "index_fill")


def _indexed(add: bool, x: Any, dim: int, index: Any, source: Any, name: str) -> Tensor:
    x = as_tensor(x)
    (dim,) = normalize_axes(dim, x.ndim, name)
    places = reshape(as_indices(index, x.shape[dim], name), -1)
    v = fitting(source, x, (*x.shape[:dim], places.size, *x.shape[dim + 1 :]), name)
    if dim == 0:
        return written(x, v, [places], name, add)
    return moveaxis(written(moveaxis(x, dim, 0), moveaxis(v, dim, 0), [places], name, add), 0, dim)


# -- by condition or place


@public(
    samples=(Sample(((2, 2), [[True, False], [False, True]], ())),),
    reference="reference.masked_fill",
)
def masked_fill(x: Any, mask: Any, value: Any) -> Tensor:
    """Return x with `value` where the mask is true."""
    x = as_tensor(x)
    v = fitting(value, x, getattr(value, "shape", ()), "masked_fill")
    return where(mask, v, x)


@public(
    samples=(Sample(((2, 2), [[True, False], [True, True]])),), reference="reference.masked_select"
)
def masked_select(x: Any, mask: Any) -> Tensor:
    """Return the elements of x where the mask is true, one-dimensional."""
    x, mask = FUNCTIONS["broadcast_arrays"](as_tensor(x), as_tensor(mask))
    return getitem(x, mask)


@public(
    samples=(
        Sample(((3, 4), (2,)), {"indices": ([0, 2], [1, 1])}),
        Sample(((3, 4), ()), {"indices": ([0, 0], [1, 1]), "accumulate": True}),
    ),
    reference="reference.index_put",
)
def index_put(x: Any, indices: Any, values: Any, accumulate: bool = False) -> Tensor:
    """Return x with values written, or added, at the places of index arrays (PyTorch's)."""
    x = as_tensor(x)
    places = [as_indices(i, n, "index_put") for i, n in zip(indices, x.shape, strict=False)]
    shape = broadcast_shapes(*[p.shape for p in places], name="index_put")
    places = [broadcast_to(p, shape) for p in places]
    return written(x, values, places, "index_put", accumulate)


@public(method=False)
def one_hot(x: Any, num_classes: int = -1) -> Tensor:
    """Return int64 rows with a one at the given class, zeros elsewhere.

    Raises:
        IndexingError: a class is negative or not below num_classes.
    """
    x = as_tensor(x)
    if num_classes < 0:
        num_classes = int(x.backend.tolist(x.backend.max(x._value, axis=None))) + 1
    flat = as_indices(x, num_classes, "one_hot")
    if modes.tracing is not None:
        modes.tracing.check(x >= 0, lambda: IndexingError("one_hot: classes must not be negative"))
    elif x.size and not is_everywhere(x >= 0):
        raise IndexingError("one_hot: classes must not be negative")
    line = wrap(x.backend.arange(num_classes, device=x.device))
    return FUNCTIONS["astype"](FUNCTIONS["equal"](expand_dims(flat, -1), line), int64)
