"""The traced namespace: functions that record a graph instead of computing.

`TRACED` is the namespace of `Symbol`s. It writes down one primitive for each function of the
standard; what is no primitive is the record's own portable forward, run over symbols, so that an
operation is defined once and nowhere again.
"""

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

from atled.backends.protocol import NAMESPACES, PORTABLE, Backend, load
from atled.config import modes
from atled.core.finite import is_tame
from atled.core.graph import ELEMENTWISE, Value
from atled.core.kinds import broadcast_shapes
from atled.core.op import REGISTRY, SCALARS
from atled.core.stand_in import (
    Number,
    Symbol,
    again_of,
    as_value,
    cast,
    constant,
    default_float,
    give_operators,
    now_of,
    unknown,
    value_of,
    values_of,
)
from atled.dtypes import ALL, DType, bfloat16, bool_, float16, float32, float64, int64, promote
from atled.errors import TraceError

__all__ = ["TRACED", "Number", "Symbol", "constant"]

# Floating functions: integers and booleans are cast first, as by NumPy.
_FLOAT = frozenset(
    """
sqrt exp expm1 exp2 log log1p log2 log10 sin cos tan asin acos atan sinh cosh tanh asinh acosh
atanh erf erfinv lgamma sigmoid divide atan2 hypot logaddexp copysign nextafter
""".split()
)
_LOGICAL = frozenset("logical_not logical_and logical_or logical_xor".split())


def _elementwise(name: str) -> Callable[..., Symbol]:
    def function(*operands: Any) -> Symbol:
        values = values_of(operands)
        if name in _FLOAT and not values[0].dtype.is_floating_point:
            values = [cast(v, default_float()) for v in values]
        elif name in _LOGICAL and values[0].dtype is not bool_:
            values = [cast(v, bool_) for v in values]
        return Symbol(Value.of(name, *values))

    function.__name__ = name
    return function


def _reduction(name: str) -> Callable[..., Symbol]:
    def function(x: Any, *, axis: Any = None, keepdims: bool = False) -> Symbol:
        v = value_of(x)
        if axis is None:
            axis = tuple(range(len(v.shape)))
        axes = tuple(sorted(a % len(v.shape) for a in ((axis,) if isinstance(axis, int) else axis)))
        if name in ("argmax", "argmin") and len(axes) > 1:
            v, axes = Value.of("reshape", v, shape=(v.size,)), (0,)
        elif name in ("all", "any") and v.dtype is not bool_:
            v = cast(v, bool_)
        elif name in ("sum", "prod") and v.dtype is bool_:
            v = cast(v, int64)
        y = Value.of(name, v, axis=axes) if axes or name[:3] == "arg" else v
        kept = [1 if i in axes else n for i, n in enumerate(value_of(x).shape)]
        if name[:3] == "arg" and len(kept) > 1 and axes == (0,) and len(v.shape) == 1:
            kept = [1] * len(kept)
        return Symbol(Value.of("reshape", y, shape=tuple(kept)) if keepdims else y)

    function.__name__ = name
    return function


def _leaves(data: Any) -> Iterator[Any]:
    for x in data:
        if isinstance(x, (list, tuple)):
            yield from _leaves(x)
        else:
            yield x


def _indexed(x: Symbol, index: Any) -> Symbol:
    """Return x[...] for integers, slices, None and `...`, as rules write them."""
    items = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in items:
        at = items.index(Ellipsis)
        count = x.ndim - sum(i is not None for i in items) + 1
        items[at : at + 1] = [slice(None)] * count
    items += [slice(None)] * (x.ndim - sum(i is not None for i in items))
    part, shape = [], []
    sizes = iter(x.shape)
    for item in items:
        if item is None:
            shape.append(1)
            continue
        n = next(sizes)
        if isinstance(item, slice):
            start, stop, step = item.indices(n)
            part.append((start, None if stop < 0 else stop, step))
            shape.append(len(range(start, stop, step)))
        else:
            at = operator.index(item) % n
            part.append((at, at + 1, 1))
    return TRACED.reshape(TRACED.slice(x, index=tuple(part)), shape=tuple(shape))


class Traced(Backend):
    """The namespace over symbols."""

    name = "traced"
    level = 1
    array_types = (Symbol, Number)
    dtypes = {d: d for d in ALL if d is not bfloat16}  # noqa: RUF012
    floats = (float32, float64, float16)
    default_float = float32

    def __init__(self) -> None:
        for name in sorted(ELEMENTWISE - {"where", "astype", "threefry"}):
            setattr(self, name, _elementwise(name))
        for name in "sum prod max min all any argmax argmin".split():
            setattr(self, name, _reduction(name))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name not in REGISTRY:
                raise
        return lambda *operands, **static: self.call(name, *operands, **static)

    def call(self, name: str, *operands: Any, **static: Any) -> Any:
        """Record an eager call of the namespace's function: it has no lowering.

        Each of several results is a call of its own, by its `result`; a program makes one of them.
        """
        values = [value_of(x) for x in operands if type(x) not in SCALARS]
        if len(values) != len(operands):
            values = values_of(operands)
        found = REGISTRY[name].infer(*values, **static)
        facts = {"name": name, "given": tuple(sorted(static.items()))}
        if hasattr(found, "shape"):  # a Spec, or the only operand itself
            return _called(values, found, facts)
        return tuple([_called(values, spec, facts | {"result": i}) for i, spec in enumerate(found)])

    # -- across the border

    def asarray(self, data: Any, *, dtype: Any = None, device: Any = None) -> Any:
        if isinstance(data, (list, tuple)):
            data = self._joined(data, dtype)
        if type(data) in SCALARS:
            plain = bool_ if type(data) is bool else int64
            wanted = dtype or (default_float() if type(data) is float else plain)
            return Symbol(constant(data, wanted))
        x = Symbol(value_of(data))
        return x if dtype is None else self.astype(x, dtype=dtype)

    def _joined(self, data: Any, dtype: Any) -> Symbol:
        """Return nested lists as one array: of constants, or of symbols side by side."""
        if any(hasattr(x, "shape") for x in _leaves(data)):
            rows = [self.asarray(x) for x in data]
            return self.concat(*[self.reshape(x, shape=(1, *x.shape)) for x in rows], axis=0)
        array = load("numpy").asarray(data, dtype=dtype)
        return modes.tracing.constant(array)

    def dtype_of(self, x: Any) -> DType:
        return value_of(x).dtype

    def tolist(self, x: Any) -> Any:
        raise unknown("a value")

    def to_numpy(self, x: Any) -> Any:
        raise unknown("a NumPy array")

    # -- creation

    def full(self, shape: Any, fill: Any, *, dtype: Any = None, device: Any = None) -> Symbol:
        if dtype is None:
            kind = type(now_of(fill))
            dtype = bool_ if kind is bool else int64 if kind is int else default_float()
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        v = value_of(fill) if isinstance(fill, (Symbol, Number)) else constant(fill, dtype)
        return Symbol(as_value(v, dtype, shape))

    def zeros(self, shape: Any, *, dtype: Any = None, device: Any = None) -> Symbol:
        return self.full(shape, 0, dtype=dtype or default_float())

    def ones(self, shape: Any, *, dtype: Any = None, device: Any = None) -> Symbol:
        return self.full(shape, 1, dtype=dtype or default_float())

    def zeros_like(self, x: Any) -> Symbol:
        return self.full(x.shape, 0, dtype=self.dtype_of(x))

    def ones_like(self, x: Any) -> Symbol:
        return self.full(x.shape, 1, dtype=self.dtype_of(x))

    def full_like(self, x: Any, fill: Any) -> Symbol:
        return self.full(x.shape, fill, dtype=self.dtype_of(x))

    def arange(
        self, start: Any, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None
    ) -> Symbol:
        if stop is None:
            start, stop = 0, start
        count = max(0, math.ceil((now_of(stop) - now_of(start)) / now_of(step)))
        if isinstance(stop, Number) or isinstance(step, Number):
            modes.tracing.guard(_unchanged(start, stop, step, count))
        whole = all(isinstance(now_of(n), int) for n in (start, stop, step))
        x = Symbol(Value.of("iota", size=count))
        if not whole:
            x = self.astype(x, dtype=float64)
        x = x if type(step) is int and step == 1 else x * step
        x = x if type(start) is int and start == 0 else x + start
        return self.astype(x, dtype=dtype or (int64 if whole else default_float()))

    def astype(self, x: Any, *, dtype: Any) -> Symbol:
        v = value_of(x)
        return Symbol(v if v.dtype is dtype else cast(v, dtype))

    def where(self, condition: Any, a: Any, b: Any) -> Symbol:
        pair = values_of((a, b))
        c = value_of(condition) if not type(condition) in SCALARS else constant(condition, bool_)  # noqa: E713
        shape = broadcast_shapes(c.shape, pair[0].shape)
        a_, b_ = (as_value(v, v.dtype, shape) for v in pair)
        return Symbol(Value.of("where", as_value(c, bool_, shape), a_, b_))

    def is_tame(self, x: Any) -> bool:
        return is_tame(value_of(x), modes.tracing.memo)

    # -- movement

    def reshape(self, x: Any, *, shape: Any) -> Symbol:
        v = value_of(x)
        return Symbol(v if v.shape == shape else Value.of("reshape", v, shape=tuple(shape)))

    def permute_dims(self, x: Any, *, axes: Any) -> Symbol:
        return Symbol(Value.of("permute_dims", value_of(x), axes=tuple(axes)))

    def broadcast_to(self, x: Any, *, shape: Any) -> Symbol:
        v = value_of(x)
        return Symbol(v if v.shape == shape else Value.of("broadcast_to", v, shape=tuple(shape)))

    def slice(self, x: Any, *, index: Any) -> Symbol:
        v = value_of(x)
        normal = tuple([_normal(i, n) for i, n in zip(index, v.shape, strict=True)])
        if normal == tuple([(0, n, 1) for n in v.shape]):
            return Symbol(v)
        return Symbol(Value.of("slice", v, index=normal))

    def place(self, x: Any, *, index: Any, shape: Any) -> Symbol:
        v = value_of(x)
        normal = tuple([_normal(i, n) for i, n in zip(index, shape, strict=True)])
        return Symbol(Value.of("place", v, index=normal, shape=tuple(shape)))

    def concat(self, *arrays: Any, axis: int) -> Symbol:
        values = [value_of(x) for x in arrays]
        dtype = promote([v.dtype for v in values])
        values = [as_value(v, dtype, v.shape) for v in values]
        return Symbol(values[0] if len(values) == 1 else Value.of("concat", *values, axis=axis))

    # -- products

    def matmul(self, a: Any, b: Any) -> Symbol:
        x, y = value_of(a), value_of(b)
        dtype = promote([x.dtype, y.dtype])
        batch = broadcast_shapes(x.shape[:-2], y.shape[:-2], name="matmul")
        x, y = (as_value(v, dtype, (*batch, *v.shape[-2:])) for v in (x, y))
        return Symbol(Value.of("matmul", x, y))

    def conv(self, x: Any, w: Any, **static: Any) -> Symbol:
        return self._convolution("conv", x, w, **static)

    def conv_input(self, g: Any, w: Any, **static: Any) -> Symbol:
        return self._convolution("conv_input", g, w, **static)

    def conv_weight(self, x: Any, g: Any, **static: Any) -> Symbol:
        return self._convolution("conv_weight", x, g, **static)

    def _convolution(self, name: str, a: Any, b: Any, **static: Any) -> Symbol:
        x, y = value_of(a), value_of(b)
        dtype = promote([x.dtype, y.dtype])
        return Symbol(Value.of(name, as_value(x, dtype, x.shape), as_value(y, dtype, y.shape),
                               **static))  # fmt: skip

    # -- maxima of windows: primitives where one place of at most 127 wins, of one or two axes

    def pool_index(self, x: Any, **static: Any) -> Symbol:
        v = value_of(x)
        n = len(static["out"])
        if n > 2 or math.prod(static["kernel"]) > 64 or v.dtype not in (float32, float64):
            return Symbol(value_of(PORTABLE["pool_index"](self, x, **static)))
        return Symbol(cast(Value.of("pool_places", v, **static), int64))

    def pool_take(self, x: Any, index: Any, **static: Any) -> Symbol:
        v, places = value_of(x), _places(index)
        if places is None or places.inputs[0] is not v:
            return Symbol(value_of(PORTABLE["pool_take"](self, x, index, **static)))
        return Symbol(Value.of("pool_take", v, places, **static))

    def pool_spread(self, g: Any, index: Any, **static: Any) -> Symbol:
        places = _places(index)
        if places is None:
            return Symbol(value_of(PORTABLE["pool_spread"](self, g, index, **static)))
        return Symbol(Value.of("pool_spread", value_of(g), places, **static))

    # -- by index, order, scans

    def gather_nd(self, x: Any, *indices: Any) -> Symbol:
        return Symbol(Value.of("gather_nd", value_of(x), *[value_of(i) for i in indices]))

    def scatter_nd_add(self, x: Any, v: Any, *indices: Any) -> Symbol:
        return self._scatter("scatter_nd_add", x, v, indices)

    def scatter_nd_set(self, x: Any, v: Any, *indices: Any) -> Symbol:
        return self._scatter("scatter_nd_set", x, v, indices)

    def _scatter(self, name: str, x: Any, v: Any, indices: Any) -> Symbol:
        into, places = value_of(x), [value_of(i) for i in indices]
        part = (*places[0].shape, *into.shape[len(places) :])
        given = v if not type(v) in SCALARS else Symbol(constant(v, into.dtype))  # noqa: E713
        return Symbol(Value.of(name, into, as_value(value_of(given), into.dtype, part), *places))

    def cumulative_sum(self, x: Any, *, axis: int) -> Symbol:
        return self._scan("cumulative_sum", x, axis)

    def cumulative_prod(self, x: Any, *, axis: int) -> Symbol:
        return self._scan("cumulative_prod", x, axis)

    def _scan(self, name: str, x: Any, axis: int) -> Symbol:
        v = value_of(x)
        v = v if v.dtype.is_floating_point else as_value(v, int64, v.shape)
        return Symbol(Value.of(name, v, axis=axis))

    def argsort(self, x: Any, *, axis: int, descending: bool = False) -> Symbol:
        return Symbol(Value.of("argsort", value_of(x), axis=axis, descending=descending))

    def searchsorted(self, x1: Any, x2: Any, *, side: str = "left") -> Symbol:
        return Symbol(Value.of("searchsorted", value_of(x1), value_of(x2), side=side))

    def nonzero(self, x: Any) -> Any:
        raise TraceError(
            "nonzero, and an index by a boolean Tensor, give a shape that depends on the values: "
            "a compiled function has fixed shapes. Use at.where(mask, x, other) instead"
        )

    def random_bits(self, x0: Any, x1: Any, *, key: tuple[Any, Any]) -> tuple[Symbol, Symbol]:
        a, b = values_of((x0, x1))
        k0, k1 = (
            as_value(k.value if isinstance(k, Number) else constant(k, int64), int64, a.shape)
            for k in key
        )
        first, second = (Symbol(Value.of("threefry", a, b, k0, k1, word=w)) for w in (0, 1))
        return first, second

    def threefry(self, x0: Any, x1: Any, k0: Any, k1: Any, *, word: int) -> Symbol:
        """Record one word of the bits of counters (x0, x1) under the key (k0, k1)."""
        return Symbol(Value.of("threefry", *[value_of(x) for x in (x0, x1, k0, k1)], word=word))


def _called(values: list[Value], spec: Any, facts: dict[str, Any]) -> Symbol:
    return Symbol(Value.of("call", *values, shape=tuple(spec.shape), dtype=spec.dtype, **facts))


def _unchanged(start: Any, stop: Any, step: Any, count: int) -> Callable[[], bool]:
    first, last, by = again_of(start), again_of(stop), again_of(step)
    return lambda: max(0, math.ceil((last() - first()) / by())) == count


def _places(index: Any) -> Value | None:
    """Return the places behind an index that `pool_index` gave."""
    v = value_of(index)
    if v.op == "astype" and v.inputs[0].op == "pool_places":
        return v.inputs[0]
    return None


def _normal(part: Any, size: int) -> tuple[int, int | None, int]:
    """Return (start, stop, step) within an axis, the stop just behind the last element."""
    span = range(*slice(*part).indices(size))
    if not span:
        return (0, 0, 1)
    last = span[-1]
    step = span.step if len(span) > 1 else 1
    stop: int | None = last + 1 if step > 0 else last - 1
    return (span.start, None if stop is not None and stop < 0 else stop, step)


def _operator(name: str, swapped: bool) -> Any:
    def run(self: Symbol, other: Any) -> Any:
        if type(other) is not Symbol and hasattr(other, "batch"):
            return NotImplemented  # a batched array of symbols stands above
        function = getattr(TRACED, name)
        return function(other, self) if swapped else function(self, other)

    return run


TRACED = Traced()
NAMESPACES[Symbol] = TRACED
give_operators(Symbol, _operator, lambda op: lambda self: getattr(TRACED, op)(self))
setattr(Symbol, "__getitem__", _indexed)  # noqa: B010
