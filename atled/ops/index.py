"""Reading and writing by index: basic slices, integer and boolean arrays, torch's gather family.

Everything comes down to `slice`/`place` for basic indices, and to `gather_nd`/`scatter_nd` for
integer arrays: x[i₀, i₁, …] over the leading axes, and zeros with values added there.
"""

import math
from typing import Any

from atled.backends.protocol import NAMESPACES
from atled.config import modes
from atled.core.apply import apply, as_tensor
from atled.core.batching import fronted
from atled.core.kinds import broadcast_shapes, linear, opaque
from atled.core.op import Sample, Spec
from atled.core.surface import FUNCTIONS, as_part, refuse_part, update
from atled.core.tensor import Tensor, wrap
from atled.dtypes import bool_, int64
from atled.errors import DTypeError, IndexingError, ShapeError
from atled.ops.shape import (
    broadcast_to,
    moveaxis,
    permute_dims,
    reshape,
    reshape_,
    slice_,
)

RANKS = {"bool": 0, "uint": 1, "int": 1, "float": 2}  # of kinds of dtype: a cast down loses
ROWS = [2, 0, 2]
NESTED = Sample(((3, 4), ROWS), {})


def _gather_spec(x: Spec, *indices: Spec) -> Spec:
    return Spec(indices[0].shape + x.shape[len(indices) :], x.dtype)


def _with_examples(xp: Any, n: int, indices: Any) -> tuple[Any, ...]:
    """Return index arrays (n, …) with the number of each place's example before them."""
    shape = tuple(indices[0].shape)
    numbers = xp.reshape(xp.arange(0, n, dtype=int64, device=xp.device_of(indices[0])),
                         shape=(n, *[1] * (len(shape) - 1)))  # fmt: skip
    return (xp.broadcast_to(numbers, shape=shape), *indices)


def _gather_batch(xp: Any, n: int, mapped: Any, x: Any, *indices: Any) -> Any:
    indices = tuple(fronted(xp, n, mapped[1:], indices))
    if not mapped[0]:
        return xp.gather_nd(x, *indices)
    return xp.gather_nd(x, *_with_examples(xp, n, indices))


def _scatter_batch(name: str) -> Any:
    def rule(xp: Any, n: int, mapped: Any, x: Any, v: Any, *indices: Any) -> Any:
        x, v, *indices = fronted(xp, n, mapped, (x, v, *indices))  # type: ignore[assignment]
        return getattr(xp, name)(x, v, *_with_examples(xp, n, indices))

    return rule


gather = linear(
    "gather_nd",
    inputs=("x", "*indices"),
    batch=_gather_batch,
    infer=_gather_spec,
    transpose=lambda xp, g, indices, x_shape: xp.scatter_nd(g, *indices, shape=tuple(x_shape)),
    samples=(NESTED, Sample(((3, 4), ROWS, [1, 1, 0]))),
    reference="reference.gather_nd",
    passes="chooses",
    doc="x[i₀, i₁, …] for integer arrays over the leading axes.",
)
scatter = linear(
    "scatter_nd",
    inputs=("v", "*indices"),
    forward=lambda xp, v, *indices, shape: xp.scatter_nd_add(
        xp.zeros(shape, dtype=v.dtype, device=xp.device_of(v)), v, *indices
    ),
    infer=lambda v, *indices, shape: Spec(tuple(shape), v.dtype),
    transpose=lambda xp, g, indices: xp.gather_nd(g, *indices),
    samples=(Sample(((3, 4), ROWS), {"shape": (3, 4)}),),
    reference="reference.scatter_nd",
    passes="chooses",
    doc="Zeros with v added at [i₀, i₁, …]; repeated places add up. The transpose of gather_nd.",
)


def _written_spec(name: str) -> Any:
    def infer(x: Spec, v: Spec, *indices: Spec) -> Spec:
        part = indices[0].shape + x.shape[len(indices) :]
        if v.shape != part:
            raise ShapeError(f"{name}: values of shape {v.shape} do not fit places of {part}")
        return x

    return infer


def _gathered(xp: Any, g: Any, indices: Any) -> Any:
    return xp.gather_nd(g, *indices)


def _scattered(xp: Any, t: Any, indices: Any, x_shape: Any) -> Any:
    return xp.scatter_nd(t, *indices, shape=tuple(x_shape))


def _cleared(xp: Any, g: Any, indices: Any) -> Any:
    """Return g with zeros at the places written."""
    return xp.scatter_nd_set(g, xp.zeros_like(xp.gather_nd(g, *indices)), *indices)


scatter_add_ = opaque(
    "scatter_nd_add",
    inputs=("x", "v", "*indices"),
    operands="any",
    batch=_scatter_batch("scatter_nd_add"),
    infer=_written_spec("scatter_nd_add"),
    vjps=[lambda xp, g: g, _gathered, None],
    jvps=[lambda xp, t: t, _scattered, None],
    samples=(Sample(((3, 4), (3, 4), ROWS)),),
    reference="reference.scatter_nd_add",
    passes="chooses",
    doc="A copy of x with v added at [i₀, i₁, …]; repeated places add up.",
)
scatter_set_ = opaque(
    "scatter_nd_set",
    inputs=("x", "v", "*indices"),
    operands="any",
    batch=_scatter_batch("scatter_nd_set"),
    infer=_written_spec("scatter_nd_set"),
    vjps=[_cleared, _gathered, None],
    jvps=[_cleared, _scattered, None],
    samples=(Sample(((3, 4), (2, 4), [2, 0])),),
    reference="reference.scatter_nd_set",
    passes="chooses",
    doc="A copy of x with v written at [i₀, i₁, …], places that must not repeat.",
)


def as_indices(x: Any, size: int, what: str) -> Tensor:
    """Return an integer index as an int64 Tensor of places in [0, size).

    Raises:
        IndexingError: not integers, or one of them out of range.
    """
    t = as_tensor(x)
    if t.dtype.kind not in ("int", "uint") and t.size:
        raise IndexingError(f"{what}: indices must be integers; found {t.dtype.name}")
    t = FUNCTIONS["astype"](t.detach(), int64)
    if not t.size:
        return t
    xp, value = t.backend, t._value
    if modes.tracing is not None:  # not known yet: each call checks, and counts from the end
        inside = xp.logical_and(value >= -size, value < size)
        modes.tracing.check(
            inside, lambda: IndexingError(f"{what}: an index is out of range for size {size}")
        )
        return wrap(xp.where(value < 0, value + size, value))
    low, high = xp.extent(value)
    if low < -size or high >= size:
        wrong = low if low < -size else high
        raise IndexingError(f"{what}: index {wrong} is out of range for size {size}")
    return t if low >= 0 else wrap(xp.where(value < 0, value + size, value))


def is_everywhere(condition: Tensor) -> bool:
    """Say whether a condition holds for all elements, of all examples of a batch."""
    whole = condition.backend.whole(condition._value)
    xp = NAMESPACES[type(whole)]
    return bool(xp.tolist(xp.all(whole, axis=None)))


# -- x[...] and x[...] = v


class _Plan:
    """An index, taken apart: a strided part for `slice`, then arrays for `gather_nd`."""

    def __init__(self, x: Tensor, index: Any) -> None:
        items = list(index) if isinstance(index, tuple) else [index]
        items = [_normal_item(item) for item in items]
        items = self._without_ellipsis(items, x)
        self.basic: list[tuple[Any, Any, int]] = []
        self.shape: list[int] = []  # after the strided part, with new and without dropped axes
        self.arrays: list[tuple[int, Tensor]] = []  # (axis after the strided part, indices)
        axis = 0
        chosen = [i for i, item in enumerate(items) if isinstance(item, (int, Tensor))]
        self.neighbours = chosen == list(range(chosen[0], chosen[-1] + 1)) if chosen else True
        for item in items:
            if item is None:
                self.shape.append(1)
            else:
                axis = self._take(x, axis, item)

    @staticmethod
    def _without_ellipsis(items: list[Any], x: Tensor) -> list[Any]:
        used = sum(
            item.ndim if _is_mask(item) else 1
            for item in items
            if item is not None and item is not Ellipsis
        )
        if used > x.ndim:
            raise IndexingError(
                f"{used} indices for a Tensor of {x.ndim} dimension(s) (shape {x.shape})"
            )
        fill = [slice(None)] * (x.ndim - used)
        at = next((i for i, item in enumerate(items) if item is Ellipsis), len(items))
        if sum(item is Ellipsis for item in items) > 1:
            raise IndexingError("an index can have one ellipsis (...) only")
        return items[:at] + fill + items[at + 1 :]

    def _take(self, x: Tensor, axis: int, item: Any) -> int:
        n = x.shape[axis]
        if isinstance(item, slice):
            start, stop, step = _slice_bounds(item, n)
            self.basic.append((start, stop, step))
            self.shape.append(len(range(*slice(start, stop, step).indices(n))))
        elif isinstance(item, int):
            if not -n <= item < n:
                raise IndexingError(
                    f"index {item} is out of range for axis {axis} of shape {x.shape}"
                )
            item = item % n
            self.basic.append((item, item + 1, 1))
        elif _is_mask(item):
            return self._take_mask(x, axis, item)
        else:
            self.arrays.append((len(self.shape), as_indices(item, n, "indexing")))
            self.basic.append((0, n, 1))
            self.shape.append(n)
        return axis + 1

    def _take_mask(self, x: Tensor, axis: int, mask: Tensor) -> int:
        part = x.shape[axis : axis + mask.ndim]
        if mask.shape != part:
            raise IndexingError(f"a boolean index of shape {mask.shape} meets axes of shape {part}")
        if mask.ndim == 0:
            raise IndexingError("a 0-d boolean cannot index; use where()")
        for found in FUNCTIONS["nonzero"](mask):
            self.arrays.append((len(self.shape), found))
            self.basic.append((0, x.shape[axis], 1))
            self.shape.append(x.shape[axis])
            axis += 1
        return axis


def _is_mask(item: Any) -> bool:
    return isinstance(item, Tensor) and item.dtype is bool_


def _normal_item(item: Any) -> Any:
    """Return an index item as a slice, int, None, Ellipsis or Tensor."""
    if item is None or item is Ellipsis or isinstance(item, slice):
        return item
    if isinstance(item, bool):
        raise IndexingError("a single True or False cannot index a Tensor")
    if isinstance(item, Tensor) and item.ndim == 0 and item.dtype is not bool_:
        return item if item.backend.level > 1 else item.__index__()  # one for each example
    if hasattr(item, "__index__") and not hasattr(item, "shape"):
        return item.__index__()
    t = as_tensor(item)
    return t if t.ndim or t.dtype is bool_ else t.__index__()


def _slice_bounds(item: slice, n: int) -> tuple[int | None, int | None, int]:
    def number(part: Any) -> Any:
        return None if part is None else part.__index__()

    try:
        start, stop, step = slice(number(item.start), number(item.stop), number(item.step)).indices(
            n
        )
    except (TypeError, AttributeError, ValueError) as error:
        raise IndexingError(f"slice parts must be integers, step not 0: {error}") from None
    return start, None if step < 0 and stop < 0 else stop, step


def getitem(x: Tensor, index: Any) -> Tensor:
    """Return x[index] by NumPy's rules: slices, ints, None, ..., integer and boolean arrays.

    Raises:
        IndexingError: out of range, too many indices, or nothing that can index.
    """
    if type(index) is int and x.ndim:  # the commonest, without a plan
        n = x.shape[0]
        if -n <= index < n:
            index %= n
            part = ((index, index + 1, 1), *[(0, m, 1) for m in x.shape[1:]])
            return apply(reshape_, apply(slice_, x, index=part), shape=x.shape[1:])
    plan = _Plan(x, index)
    y = _basic(x, plan)
    if not plan.arrays:
        return y
    front, arrays, at = _to_front(y, plan)
    return _back(apply(gather, front, *arrays), arrays[0].ndim, at)


def _basic(x: Tensor, plan: _Plan) -> Tensor:
    if any(b != (0, n, 1) for b, n in zip(plan.basic, x.shape, strict=True)):
        x = apply(slice_, x, index=tuple(plan.basic))
    shape = tuple(plan.shape)
    return x if x.shape == shape else apply(reshape_, x, shape=shape)


def _to_front(y: Tensor, plan: _Plan) -> tuple[Tensor, list[Tensor], int]:
    """Move the axes indexed by arrays to the front; say where the result's axes belong."""
    axes = [axis for axis, _ in plan.arrays]
    arrays = _together([i for _, i in plan.arrays])
    rest = [i for i in range(y.ndim) if i not in axes]
    at = axes[0] if plan.neighbours else 0  # to NumPy an integer beside arrays is one of them
    order = axes + rest
    return (y if order == list(range(y.ndim)) else permute_dims(y, order)), arrays, at


def _together(arrays: list[Tensor]) -> list[Tensor]:
    shape = broadcast_shapes(*[a.shape for a in arrays], name="indexing")
    return [a if a.shape == shape else broadcast_to(a, shape) for a in arrays]


def _back(y: Tensor, count: int, at: int) -> Tensor:
    """Move the first `count` axes, those of the index arrays, to place `at`."""
    if at == 0:
        return y
    return moveaxis(y, tuple(range(count)), tuple(range(at, at + count)))


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """Give x the value with x[index] replaced; the tape gets a new node, nothing is overwritten.

    Raises:
        IndexingError: as for reading.
        ShapeError: the value does not broadcast to the indexed part.
    """
    update(x, lambda: assigned(x, index, value), (value,))


def assigned(x: Tensor, index: Any, value: Any) -> Tensor:
    """Return a copy of x with x[index] replaced by `value` (see `setitem`)."""
    if _is_mask(index) and index.shape == x.shape and as_tensor(value).ndim == 0:
        return FUNCTIONS["where"](index, FUNCTIONS["astype"](beside(value, x), x.dtype), x)
    places = wrap(_iota_like(x))
    part = getitem(places, index)
    flat, target = reshape(part, -1), part.shape
    v = FUNCTIONS["astype"](beside(value, x), x.dtype)
    if v.shape != target:
        try:
            v = broadcast_to(v, target)
        except ShapeError:
            raise ShapeError(
                f"assignment: a value of shape {v.shape} does not fit a part of {target}"
            ) from None
    if _is_basic(index):  # no place twice
        changed = apply(scatter_set_, reshape(x, -1), reshape(v, -1), flat)
    else:
        changed = written(reshape(x, -1), reshape(v, -1), [flat], "assignment")
    return reshape(changed, x.shape)


# -- a copy with some places written, for the functions of `select.py` and `write.py`


def written(x: Tensor, value: Any, places: list[Tensor], name: str, add: bool = False) -> Tensor:
    """Return x with a value written, or added, at x[i₀, i₁, …] for `places` in range.

    The value is cast to the dtype of x and broadcast. Where places repeat, the last value
    written stays, and only that one has a gradient.

    Raises:
        ShapeError, DTypeError: see `fitting`.
    """
    k = len(places)
    v = fitting(value, x, places[0].shape + x.shape[k:], name)
    if add:
        return apply(scatter_add_, x, v, *places)
    lead, xp = math.prod(x.shape[:k]), x.backend
    flat = places[0]
    if k > 1:
        line = xp.reshape(xp.arange(lead, device=x.device), shape=x.shape[:k])
        flat = apply(gather, wrap(line), *places)
    flat = reshape(flat, -1)
    if modes.tracing is not None or xp.level or flat.backend.level:
        return apply(scatter_set_, x, _as_last_written(v, flat, lead), *places)
    won = _last_writers(flat, lead)
    if won is not None:
        v = apply(gather, reshape(v, (flat.size, *x.shape[k:])), won)
        places = [apply(gather, reshape(i, -1), won) for i in places]
    return apply(scatter_set_, x, v, *places)


def fitting(value: Any, x: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    """Return a value, cast to the dtype of x and broadcast to `shape`; both are recorded.

    Raises:
        DTypeError: it would lose its fraction, or what is not 0 or 1, in the dtype of x.
        ShapeError: it does not broadcast to the shape.
    """
    v = beside(value, x)
    if RANKS[v.dtype.kind] > RANKS[x.dtype.kind]:
        raise DTypeError(
            f"{name}: a {v.dtype.name} value does not fit a Tensor of {x.dtype.name}; "
            "convert one of them with .astype(...)"
        )
    v = FUNCTIONS["astype"](v, x.dtype)
    if v.shape == shape:
        return v
    try:
        return broadcast_to(v, shape)
    except ShapeError:
        raise ShapeError(
            f"{name}: a value of shape {v.shape} does not fit places of {shape}"
        ) from None


def _as_last_written(v: Tensor, flat: Tensor, size: int) -> Tensor:
    """Return the values v to write so that all that go to one place are its last one.

    Only the last one has a gradient.
    """
    if flat.size < 2:
        return v
    xp, order, last = flat.backend, *_ranks(flat, size)
    rows = reshape(v, (flat.size, -1))
    kept = wrap(xp.reshape(last == order, shape=(flat.size, 1)))
    others = apply(gather, rows.detach(), wrap(last))
    return reshape(FUNCTIONS["where"](kept, rows, others), v.shape)


def _ranks(flat: Tensor, size: int) -> tuple[Any, Any]:
    """Return the numbers of the writes to `flat` places, and of the last write to each place."""
    xp, places = flat.backend, flat._value
    order = xp.arange(flat.size, device=flat.device)
    blank = xp.full((size,), -1, dtype=int64, device=flat.device)
    return order, xp.gather_nd(xp.scatter_nd_set(blank, order, places), places)


def _last_writers(flat: Tensor, size: int) -> Tensor | None:
    """Return which of the writes to `flat` places are not overwritten; None if all stay."""
    if flat.size < 2:
        return None
    xp, (order, last) = flat.backend, _ranks(flat, size)
    kept = last == order
    return None if xp.tolist(xp.all(kept)) else wrap(xp.nonzero(kept)[0])


def beside(value: Any, x: Tensor) -> Tensor:
    """Return a value as a Tensor of x's backend; a float in the precision of x."""
    if isinstance(value, Tensor):
        return value
    xp = x.backend
    v = xp.asarray(value, device=x.device)
    if x.dtype.is_floating_point and not hasattr(value, "dtype"):
        v = xp.asarray(value, dtype=x.dtype, device=x.device)
    return wrap(v)


def _iota_like(x: Tensor) -> Any:
    xp = x.backend
    return xp.reshape(xp.arange(x.size, device=x.device), shape=x.shape)


def _read(x: Tensor, index: Any) -> Tensor:
    """Return x[index] (see `getitem`), marked as a part unless NumPy would make a copy."""
    y = getitem(x, index)
    return as_part(y, "a part x[...]") if _is_basic(index) and y is not x else y


def _is_basic(index: Any) -> bool:
    items = index if isinstance(index, tuple) else (index,)
    return all(type(item) in (int, slice) or item is None or item is Ellipsis for item in items)


def _write(x: Tensor, index: Any, value: Any) -> None:
    refuse_part(x)
    setitem(x, index, value)


setattr(Tensor, "__getitem__", _read)  # noqa: B010 - declared in core/methods.pyi
setattr(Tensor, "__setitem__", _write)  # noqa: B010
