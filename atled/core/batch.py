"""Batched arrays: one array that stands in for the array of every example of a batch.

A `Batched` array has the shape of one example. Its namespace runs each operation once for the
whole batch, by the record's batching rule, on arrays with one more axis in front; those may be
batched themselves, by an outer `vmap`. So a Tensor may hold one, and everything above, the tape,
the rules, `compile`, is as it was.

Levels: each `Batch` has a number, and later ones are larger. In a nest of batched arrays the
largest number is outermost, and an operation opens the batch of the largest number first. An
operand that lacks this batch is the same for all its examples. A `Batched` array without the
axis (`mapped` is False) is such a value too, but one that *lives* in the batch: its cotangent is
one for each example, where that of a value from outside is the sum over them.

Four operations cross the border. `enter_batch` and `leave_batch` are each other's derivatives, and
so are `spread_batch` (a value from outside, for each example) and `sum_batch`.
"""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any
from weakref import ref

from atled.backends.protocol import NAMESPACES, PORTABLE, Backend
from atled.config import modes
from atled.core.apply import apply
from atled.core.batching import RULES
from atled.core.kinds import linear
from atled.core.op import REGISTRY, Absent, Spec
from atled.core.stand_in import give_operators
from atled.core.tensor import Tensor
from atled.errors import (
    TransformError,
    calling_instruction,
    described,
    line_of,
    user_line,
)

__all__ = ["Batch", "Batched", "Batching", "batched", "present"]

_number = itertools.count(1).__next__
_new = object.__new__


class Batch:
    """One run of a `vmap`: what its arrays have in common.

    Attributes:
        number: its level; later batches have larger ones.
        size: how many examples there are.
        name: what it belongs to, "vmap(f)"; `line`: where it was called.
        ended: whether it is over; arrays that remain have leaked out of it.
        randomness: whether random numbers are the "same" for all examples, "different", or an
            "error".
    """

    __slots__ = ("ended", "line", "name", "number", "randomness", "replaced", "size")

    def __init__(self, size: int, name: str, randomness: str = "error") -> None:
        self.number, self.size, self.name, self.randomness = _number(), size, name, randomness
        self.line, self.ended = user_line(), False
        self.replaced: list[tuple[Any, Any, Any]] = []  # Tensors changed in place, and from what

    def __enter__(self) -> "Batch":
        modes.batches = (*modes.batches, self)
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        modes.batches = modes.batches[:-1]
        self.ended = True
        changed = [(x(), was) for x, *was in self.replaced]
        alive = [(x, was) for x, was in changed if x is not None and self in present(x._value)]
        for x, was in reversed(alive):
            x._value, x._node = was
        self.replaced.clear()
        if alive and kind is None:
            raise TransformError(
                f"{self.name}: a Tensor of shape {alive[0][0].shape} from outside was changed in "
                f"place to a value that differs between the {self.size} examples; it is as it was "
                "before. Return the new value from the function instead"
            )

    def __repr__(self) -> str:
        return f"<batch of {self.size}, {self.name}>"


class Batched:
    """An array for each example of a batch, as one array of a backend.

    Attributes:
        value: the array that it is, with the axis of the batch in front if it is mapped.
        batch: the batch.
        mapped: whether it differs between examples.
        shape: of one example.
        born: where in the user's code an operation made it; None for what a walk made.
    """

    __slots__ = ("batch", "born", "mapped", "shape", "value")
    __array_ufunc__ = None  # NumPy's arrays leave an operator with one to us
    space: "Batching"

    def __init__(self, value: Any, batch: Batch, mapped: bool) -> None:
        self.value, self.batch, self.mapped = value, batch, mapped
        self.shape = tuple(value.shape[1:] if mapped else value.shape)
        self.born = None if modes.walking else calling_instruction()

    @property
    def dtype(self) -> Any:
        return self.value.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __bool__(self) -> bool:
        raise _unknown("the truth of a Tensor", self)

    def __getitem__(self, index: Any) -> Any:
        batch, mapped = self.batch, self.mapped
        if not mapped:
            return type(self)(self.value[index], batch, False)
        items = index if isinstance(index, tuple) else (index,)
        return type(self)(self.value[(slice(None), *items)], batch, True)

    def __repr__(self) -> str:
        inner = repr(self.value) if isinstance(self.value, Batched) else ""
        dtype = self.space.dtype_of(self).name
        return f"<{self.batch.size} examples of {dtype}{list(self.shape)}{inner and ': ' + inner}>"

    __hash__ = object.__hash__


def _operator(name: str, swapped: bool) -> Any:
    def run(self: Batched, other: Any) -> Any:
        function = getattr(self.space, name)
        return function(other, self) if swapped else function(self, other)

    return run


def _unary(name: str) -> Any:
    return lambda self: getattr(self.space, name)(self)


give_operators(Batched, _operator, _unary)


def _unknown(what: str, x: Batched) -> TransformError:
    if x.batch.ended:
        return leaked(x.batch, (x,))
    return TransformError(
        f"{what} was asked for inside {x.batch.name}, where there is one for each of "
        f"{x.batch.size} examples. Choose with at.where(condition, a, b) instead of `if`; return "
        "the Tensor and read it outside; or loop over the examples"
    )


class Batching(Backend):
    """The namespace over batched arrays of one backend, made from the records' facets."""

    level = 2

    def __init__(self, base: Backend) -> None:
        self.base, self.name = base, f"batched {base.name}"
        self.kind: type[Batched] = type("Batched", (Batched,), {"__slots__": (), "space": self})
        self.array_types = (self.kind,)
        self.dtypes, self.floats, self.default_float = base.dtypes, base.floats, base.default_float
        for name, move in (
            ("enter_batch", _enter), ("leave_batch", _leave),
            ("spread_batch", _spread), ("sum_batch", _sum),
        ):  # fmt: skip
            setattr(self, name, partial(move, self))

    def __getattr__(self, name: str) -> Any:
        op = REGISTRY.get(name)
        if op is None or (op.batch is None and name in PORTABLE):
            return super().__getattr__(name)
        function = self._function(name, op.batch)
        setattr(self, name, function)
        return function

    def _function(self, name: str, facet: Any) -> Any:
        """Return an operation on batched arrays, and on arrays of the base."""
        kind, base, plain = self.kind, self.base, None
        rule = RULES[facet](name) if isinstance(facet, str) else facet

        def function(*operands: Any, **static: Any) -> Any:
            nonlocal plain
            batch: Any = None
            for x in operands:
                if type(x) is kind and (batch is None or x.batch.number > batch.number):
                    batch = x.batch
            if batch is None:
                plain = plain or getattr(base, name)
                return plain(*operands, **static)
            if batch.ended and not modes.walking:
                raise leaked(batch, operands)
            inner, mapped, xp = _opened(operands, batch, kind, base)
            if True not in mapped:
                y = getattr(xp, name)(*inner, **static)
            elif isinstance(rule, Absent):
                raise TransformError(f"{name} inside {batch.name}: {rule.reason}")
            elif rule is None:
                raise NotImplementedError(f"{name} has no batching rule and no portable forward")
            else:
                y = rule(xp, batch.size, mapped, *inner, **static)
            some = True in mapped
            if type(y) is tuple:
                return tuple([kind(part, batch, some) for part in y])
            return kind(y, batch, some)

        function.__name__ = name
        return function

    # -- across the border

    def whole(self, x: Any) -> Any:
        return NAMESPACES[type(x.value)].whole(x.value) if type(x) is self.kind else x

    def is_tame(self, x: Any) -> bool:
        whole = self.whole(x)
        return NAMESPACES[type(whole)].is_tame(whole)

    def extent(self, x: Any) -> tuple[Any, Any]:
        whole = self.whole(x)
        return NAMESPACES[type(whole)].extent(whole)

    def asarray(self, data: Any, *, dtype: Any = None, device: Any = None) -> Any:
        if type(data) is not self.kind:
            return self.base.asarray(data, dtype=dtype, device=device)
        return data if dtype is None else self.astype(data, dtype=dtype)

    def present(self, x: Any) -> Any:
        raise _unknown("the array of a Tensor", x)

    def tolist(self, x: Any) -> Any:
        if x.mapped:
            raise _unknown("a value", x)
        return NAMESPACES[type(x.value)].tolist(x.value)

    def to_numpy(self, x: Any) -> Any:
        raise _unknown("a NumPy array", x)

    def dtype_of(self, x: Any) -> Any:
        while isinstance(x, Batched):
            x = x.value
        return self.base.dtype_of(x)

    def device_of(self, x: Any) -> str:
        while isinstance(x, Batched):
            x = x.value
        return self.base.device_of(x)

    def check_device(self, device: str | None) -> str | None:
        return self.base.check_device(device)

    def quiet(self) -> Any:
        return self.base.quiet()

    def free_memory(self, device: str) -> int | None:
        return self.base.free_memory(device)

    def describe(self) -> dict[str, str]:
        return self.base.describe()

    # -- creation: the same for all examples

    def _like(self, x: Any, fill: Any) -> Any:
        device = None if self.base.level else self.device_of(x)
        return self.base.full(x.shape, fill, dtype=self.dtype_of(x), device=device)

    def zeros_like(self, x: Any) -> Any:
        return self._like(x, 0)

    def ones_like(self, x: Any) -> Any:
        return self._like(x, 1)

    def full_like(self, x: Any, fill: Any) -> Any:
        return self._like(x, fill)

    def full(self, shape: Any, fill: Any, **options: Any) -> Any:
        if type(fill) is self.kind:
            fill = fill if options.get("dtype") is None else self.astype(fill, **_only(options))
            return self.broadcast_to(fill, shape=shape)
        return self.base.full(shape, fill, **options)

    def zeros(self, shape: Any, **options: Any) -> Any:
        return self.base.zeros(shape, **options)

    def ones(self, shape: Any, **options: Any) -> Any:
        return self.base.ones(shape, **options)

    def arange(self, *bounds: Any, **options: Any) -> Any:
        return self.base.arange(*bounds, **options)

    # -- what `apply` asks for

    def replaces(self, x: Tensor, value: Any) -> None:
        """Note that x is about to get a value in batches that it does not live in."""
        for batch in present(value) - present(x._value):
            batch.replaced.append((ref(x), x._value, x._node))

    def spread(self, operands: Sequence[Any]) -> list[Any] | None:
        """Return operands with those from outside a batch of another, if recorded, spread in it.

        None if all of them are inside of the same batches.
        """
        found = [present(x._value) if isinstance(x, Tensor) else frozenset() for x in operands]
        every: frozenset[Batch] = frozenset().union(*found)
        out, changed = list(operands), False
        for i, (x, have) in enumerate(zip(operands, found, strict=True)):
            if isinstance(x, Tensor) and x._node is not None and have != every:
                for batch in sorted(every - have, key=_by_number):
                    out[i] = apply(REGISTRY["spread_batch"], out[i], batch=batch)
                changed = True
        return out if changed else None


def _only(options: dict[str, Any]) -> dict[str, Any]:
    return {"dtype": options["dtype"]}


def _by_number(batch: Batch) -> int:
    return batch.number


def _opened(
    operands: Sequence[Any], batch: Batch, kind: type[Batched], base: Any
) -> tuple[list[Any], list[bool], Any]:
    """Return the operands inside a batch, which of them are mapped, and their namespace."""
    inner, mapped, xp = [], [], base
    for x in operands:
        own = type(x) is kind and x.batch is batch
        mapped.append(own and x.mapped)
        x = x.value if own else x
        if type(x) is kind:
            xp = x.space
        inner.append(x)
    return inner, mapped, xp


def leaked(batch: Batch, operands: Sequence[Any]) -> TransformError:
    """Return the error for an array that is used after its batch is over."""
    x = next(x for x in operands if isinstance(x, Batched) and x.batch is batch)
    return TransformError(
        f"a Tensor of shape {x.shape} for each of {batch.size} examples, born at "
        f"{described(line_of(x.born))}, leaked out of {batch.name}, called at "
        f"{described(batch.line)}: it was stored somewhere (a list, an attribute, a closure) and "
        "used after the call had ended. Return it from the function"
    )


_OF: dict[Backend, Batching] = {}


def batched(xp: Backend) -> Batching:
    """Return the namespace over batched arrays of a namespace; of such a one, itself."""
    if isinstance(xp, Batching):
        return xp
    if xp not in _OF:
        _OF[xp] = made = Batching(xp)
        NAMESPACES[made.kind] = made
    return _OF[xp]


def present(value: Any) -> frozenset[Batch]:
    """Return the batches that an array lives in."""
    found = []
    while isinstance(value, Batched):
        found.append(value.batch)
        value = value.value
    return frozenset(found)


# -- crossing the border; `batch` may lie below the outermost one of x


def _moved(x: Any, source: int, target: int) -> Any:
    """Return x with one axis elsewhere."""
    if source == target:
        return x
    axes = [i for i in range(len(x.shape)) if i != source]
    axes.insert(target, source)
    return _space(x).permute_dims(x, axes=tuple(axes))


def _space(x: Any) -> Backend:
    return NAMESPACES[type(x)]


def _outside(x: Any, batch: Batch) -> bool:
    """Say whether x lives in a later batch, which is to be kept around the result."""
    return isinstance(x, Batched) and x.batch.number > batch.number


def _enter(xp: Any, x: Any, *, batch: Batch, axis: int) -> Any:
    if _outside(x, batch):
        return type(x)(_enter(xp, x.value, batch=batch, axis=axis + x.mapped), x.batch, x.mapped)
    return batched(_space(x)).kind(_moved(x, axis, 0), batch, True)


def _leave(xp: Any, x: Any, *, batch: Batch, axis: int) -> Any:
    if _outside(x, batch):
        return type(x)(_leave(xp, x.value, batch=batch, axis=axis + x.mapped), x.batch, x.mapped)
    if isinstance(x, Batched) and x.batch is batch:
        if x.mapped:
            return _moved(x.value, 0, axis)
        x = x.value
    shape = (*x.shape[:axis], batch.size, *x.shape[axis:])
    space = _space(x)
    one = space.reshape(x, shape=(*x.shape[:axis], 1, *x.shape[axis:]))
    return space.broadcast_to(one, shape=shape)


def _spread(xp: Any, x: Any, *, batch: Batch) -> Any:
    if _outside(x, batch):
        return type(x)(_spread(xp, x.value, batch=batch), x.batch, x.mapped)
    if isinstance(x, Batched) and x.batch is batch:
        return x
    return batched(_space(x)).kind(x, batch, False)


def _sum(xp: Any, x: Any, *, batch: Batch) -> Any:
    if _outside(x, batch):
        return type(x)(_sum(xp, x.value, batch=batch), x.batch, x.mapped)
    if isinstance(x, Batched) and x.batch is batch:
        if x.mapped:
            return _space(x.value).sum(x.value, axis=(0,), keepdims=False)
        x = x.value
    return x * batch.size


enter = linear(
    "enter_batch",
    passes="moves",
    forward=_enter,
    infer=lambda x, *, batch, axis: Spec((*x.shape[:axis], *x.shape[axis + 1 :]), x.dtype),
    transpose=lambda xp, g, batch, axis: xp.leave_batch(g, batch=batch, axis=axis),
    doc="Take the entries along an axis as the examples of a batch.",
)
leave = linear(
    "leave_batch",
    passes="moves",
    forward=_leave,
    infer=lambda x, *, batch, axis: Spec((*x.shape[:axis], batch.size, *x.shape[axis:]), x.dtype),
    transpose=lambda xp, g, batch, axis: xp.enter_batch(g, batch=batch, axis=axis),
    doc="Put the examples of a batch side by side, along a new axis.",
)
spread = linear(
    "spread_batch",
    passes="moves",
    forward=_spread,
    infer=lambda x, *, batch: x,
    transpose=lambda xp, g, batch: xp.sum_batch(g, batch=batch),
    doc="Take a value from outside into a batch: the same for each example.",
)
sum_ = linear(
    "sum_batch",
    passes="moves",
    forward=_sum,
    infer=lambda x, *, batch: x,
    transpose=lambda xp, g, batch: xp.spread_batch(g, batch=batch),
    doc="Add up the examples of a batch; the transpose of spread_batch.",
)
