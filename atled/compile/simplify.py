"""Simplification of a graph: what costs nothing to know before the program runs.

Each value is made anew from its simplified operands; `Builder.make` looks for a rule, folds
constants, and returns the same value for the same thing. Every rule is exact in floating point:
results change at most in the order of a sum's terms, never otherwise (0·x stays, and so does
x + 0, which turns -0 into 0).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from atled.backends.protocol import load
from atled.compile.kernel import REDUCTIONS
from atled.core.graph import ELEMENTWISE, Graph, GraphError, Value
from atled.dtypes import bool_, int64

__all__ = ["simplified"]

LONG = 16_384  # a reduction of more elements is cut in parts
PARTS = 64  # at most so many, each of at least PART elements
PART = 4_096


def simplified(graph: Graph) -> Graph:
    """Return a graph with the same results."""
    builder = Builder()
    known: dict[Value, Value] = {v: v for v in graph.inputs}
    for v in graph.values:
        if v not in known:
            inputs = tuple([known[x] for x in v.inputs])
            made = _empty(builder, v, inputs) or builder.make(v.op, inputs, v.static)
            known[v] = made
    return Graph(graph.inputs, [known[v] for v in graph.outputs])


# What comes out of no elements, or of products over none.
_OF_NOTHING = {
    "sum": 0, "prod": 1, "all": 1, "any": 0, "place": 0, "searchsorted": 0,
    "matmul": 0, "conv": 0, "conv_input": 0, "conv_weight": 0,
}  # fmt: skip


def _empty(b: "Builder", v: Value, inputs: tuple[Value, ...]) -> Value | None:
    """Return what stands for a value without elements, or made of such; None for others.

    What is left then has elements, but for results, which nothing computes.
    """
    if v.size == 0:
        return b.filled(0, v)
    if all(x.size for x in inputs) or v.op == "call":
        return None
    if v.op in ("scatter_nd_add", "scatter_nd_set"):
        return inputs[0]
    if v.op == "concat":
        parts = tuple([x for x in inputs if x.size])
        return parts[0] if len(parts) == 1 else b.make("concat", parts, v.static)
    if v.op not in _OF_NOTHING:
        raise GraphError(f"{v.op} of no elements: {v!r}")
    return b.filled(_OF_NOTHING[v.op], v)


class Builder:
    """Makes values: simplified, and each only once."""

    def __init__(self) -> None:
        self.known: dict[tuple[Any, ...], Value] = {}

    def make(self, op: str, inputs: tuple[Value, ...], static: dict[str, Any]) -> Value:
        """Return the value of an operation."""
        if op in ELEMENTWISE:
            simple = self._elementwise(op, inputs, static)
        else:
            rule = RULES.get(op)
            simple = None if rule is None else rule(self, inputs, static)
        return simple if simple is not None else self.made(op, inputs, static)

    def made(self, op: str, inputs: tuple[Value, ...], static: dict[str, Any]) -> Value:
        """Return the value as it is, the same one for the same operation."""
        key = (op, tuple(map(id, inputs)), tuple(sorted((k, repr(v)) for k, v in static.items())))
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = Value.of(op, *inputs, **static)
        return found

    def reshape(self, x: Value, shape: tuple[int, ...]) -> Value:
        return self.make("reshape", (x,), {"shape": shape})

    def permute(self, x: Value, axes: tuple[int, ...]) -> Value:
        return self.make("permute_dims", (x,), {"axes": axes})

    def broadcast(self, x: Value, shape: tuple[int, ...]) -> Value:
        return self.make("broadcast_to", (x,), {"shape": shape})

    def constant(self, number: Any, dtype: Any) -> Value:
        return self.made("constant", (), {"value": number, "dtype": dtype})

    def filled(self, number: int, like: Value) -> Value:
        """Return a number as large and of the dtype of another value."""
        typed = np.asarray(number, like.dtype.name).item()
        return self.broadcast(self.constant(typed, like.dtype), like.shape)

    # -- elementwise

    def _elementwise(
        self, op: str, inputs: tuple[Value, ...], static: dict[str, Any]
    ) -> Value | None:
        numbers = [number_of(x) for x in inputs]
        shape = inputs[-1].shape
        if all(n is not None for n in numbers) and op != "threefry":
            return self._folded(op, inputs, numbers, static)
        if op == "astype" and inputs[0].dtype is static["dtype"]:
            return inputs[0]
        spread = self._before_broadcast(op, inputs, static)
        if spread is not None:
            return spread
        neutral = _NEUTRAL.get(op, ())
        for position, number in neutral:
            given = numbers[position]
            if given == number and type(given) is not bool and str(given) != "-0.0":
                return inputs[1 - position]
        if op == "negative" and inputs[0].op == "negative":
            return inputs[0].inputs[0]
        if op == "logical_not" and inputs[0].op == "logical_not":
            return inputs[0].inputs[0]
        if op == "where" and numbers[0] is not None:
            return inputs[1] if numbers[0] else inputs[2]
        if op == "where" and inputs[1] is inputs[2]:
            return inputs[1]
        if op == "divide" and _has_exact_inverse(numbers[1], inputs[1].dtype.name):
            inverse = self.constant(1.0 / numbers[1], inputs[1].dtype)
            return self.make("multiply", (inputs[0], self.broadcast(inverse, shape)), {})
        return None

    def _before_broadcast(
        self, op: str, inputs: tuple[Value, ...], static: dict[str, Any]
    ) -> Value | None:
        """Compute on what is repeated before it is repeated, where all operands are."""
        shape = inputs[0].shape
        if not all(x.op == "broadcast_to" for x in inputs):
            return None
        sources = [x.inputs[0] for x in inputs]
        if any(math.prod(s.shape) == 1 for s in sources):
            whole = max(sources, key=lambda s: (s.size, len(s.shape)))
            sources = [s if s.shape == whole.shape else
                       self.broadcast(self.reshape(s, ()), whole.shape) if s.size == 1 else s
                       for s in sources]  # fmt: skip
        if any(s.shape != sources[0].shape for s in sources) or sources[0].shape == shape:
            return None
        return self.broadcast(self.make(op, tuple(sources), static), shape)

    def _folded(
        self, op: str, inputs: tuple[Value, ...], numbers: list[Any], static: dict[str, Any]
    ) -> Value:
        """Compute an operation on constants, as NumPy does."""
        xp = load("numpy")
        arrays = [np.array(n, x.dtype.name)[()] for n, x in zip(numbers, inputs, strict=True)]
        with np.errstate(all="ignore"):
            y = getattr(xp, op)(*arrays, **static)
        dtype = Value.of(op, *inputs, **static).dtype
        number = np.asarray(y, dtype.name).item()
        return self.broadcast(self.constant(number, dtype), inputs[0].shape)


# Operations that leave the other operand as it is: (position, number).
_NEUTRAL: dict[str, tuple[tuple[int, float], ...]] = {
    "multiply": ((0, 1), (1, 1)),
    "divide": ((1, 1),),
    "subtract": ((1, 0),),
    "pow": ((1, 1),),
}


def number_of(value: Value) -> Any:
    """Return the number that every element of a value is; None if that is not known."""
    while value.op in ("broadcast_to", "reshape", "permute_dims", "slice"):
        value = value.inputs[0]
    return value.static["value"] if value.op == "constant" else None


def _has_exact_inverse(x: Any, dtype: str) -> bool:
    """Say whether a number is a power of two, and its inverse a number of the dtype too."""
    if not isinstance(x, float) or not math.isfinite(x) or x == 0 or abs(math.frexp(x)[0]) != 0.5:
        return False
    return 1 / abs(x) <= float(np.finfo(dtype).max)


# -- movement


def _reshape(b: Builder, inputs: tuple[Value, ...], static: dict[str, Any]) -> Value | None:
    (x,), shape = inputs, static["shape"]
    if x.op == "reshape":
        x = x.inputs[0]
    if x.shape == shape:
        return x
    if x.op == "broadcast_to" and x.inputs[0].size == 1:
        return b.broadcast(b.reshape(x.inputs[0], ()), shape)
    return b.made("reshape", (x,), {"shape": shape})


def _permute(b: Builder, inputs: tuple[Value, ...], static: dict[str, Any]) -> Value | None:
    (x,), axes = inputs, static["axes"]
    if x.op == "permute_dims":
        inner = x.static["axes"]
        return b.permute(x.inputs[0], tuple([inner[a] for a in axes]))
    if axes == tuple(range(len(axes))):
        return x
    kept = [a for a in axes if x.shape[a] != 1]
    if kept == sorted(kept):  # only axes of length one move
        return b.reshape(x, tuple([x.shape[a] for a in axes]))
    if x.op == "broadcast_to" and x.inputs[0].size == 1:
        return b.broadcast(x.inputs[0], tuple([x.shape[a] for a in axes]))
    return None


def _broadcast(b: Builder, inputs: tuple[Value, ...], static: dict[str, Any]) -> Value | None:
    (x,), shape = inputs, static["shape"]
    if x.shape == shape:
        return x
    if x.op == "broadcast_to":
        return b.broadcast(x.inputs[0], shape)
    if x.size == 1 and x.shape:
        return b.broadcast(b.reshape(x, ()), shape)
    if x.op == "reshape" and x.inputs[0].op == "broadcast_to" and x.inputs[0].inputs[0].size == 1:
        return b.broadcast(b.reshape(x.inputs[0].inputs[0], ()), shape)
    return None


def _slice(b: Builder, inputs: tuple[Value, ...], static: dict[str, Any]) -> Value | None:
    (x,), index = inputs, static["index"]
    if index == tuple([(0, n, 1) for n in x.shape]):
        return x
    if x.op == "broadcast_to" and x.inputs[0].size == 1:
        shape = Value.of("slice", x, index=index).shape
        return b.broadcast(x.inputs[0], shape)
    return None


def _place(b: Builder, inputs: tuple[Value, ...], static: dict[str, Any]) -> Value | None:
    (x,) = inputs
    return x if x.shape == static["shape"] and all(s[2] == 1 for s in static["index"]) else None


# -- reductions


def _reduction(op: str) -> Callable[..., Value | None]:
    def rule(b: Builder, inputs: tuple[Value, ...], static: dict[str, Any]) -> Value | None:
        (x,), axes = inputs, static["axis"]
        dtype = int64 if op in ("sum", "prod") and not x.dtype.is_floating_point else x.dtype
        if dtype is not x.dtype:
            x = b.make("astype", (x,), {"dtype": dtype})
        rest = [i for i in range(len(x.shape)) if i not in axes]
        shape = tuple([x.shape[i] for i in rest])
        if op not in ("argmax", "argmin") and all(x.shape[a] == 1 for a in axes):
            same = b.reshape(x, shape)
            bools = op in ("all", "any") and x.dtype is not bool_
            return b.make("astype", (same,), {"dtype": bool_}) if bools else same
        if x.size == 0:
            return None
        moved = b.permute(x, (*rest, *axes))
        inner = math.prod([x.shape[a] for a in axes])
        count = math.prod(shape)
        rows = b.reshape(moved, (*shape, inner))
        last = (len(shape),)
        parts = _parts(count, inner) if op not in ("argmax", "argmin") else 1
        if parts > 1:
            return _in_parts(b, op, rows, shape, parts)
        return b.made(op, (rows,), {"axis": last})

    return rule


def _parts(rows: int, inner: int) -> int:
    """Return in how many parts each row of a reduction is summed, so that threads can share it."""
    if rows * inner < LONG or inner < 2 * PART or rows >= PARTS:
        return 1
    wanted = min(PARTS // max(rows // 16, 1), inner // PART)
    whole = [p for p in range(wanted, 1, -1) if inner % p == 0]
    even = [p for p in whole if inner // p % 64 == 0 and 2 * p > whole[0]]
    return (even or whole or [1])[0]


def _in_parts(b: Builder, op: str, rows: Value, shape: tuple[int, ...], parts: int) -> Value:
    """Reduce parts of each row, and then what they give."""
    inner = rows.shape[-1] // parts
    cut = b.reshape(rows, (*shape, parts, inner))
    n = len(shape)
    first = b.permute(cut, (n, *range(n), n + 1))  # parts outermost: rows may lie side by side
    partial = b.made(op, (first,), {"axis": (n + 1,)})
    back = b.permute(partial, (*range(1, n + 1), 0))
    return b.made(op, (back,), {"axis": (n,)})


RULES: dict[str, Callable[..., Value | None]] = {
    "reshape": _reshape,
    "permute_dims": _permute,
    "broadcast_to": _broadcast,
    "slice": _slice,
    "place": _place,
    **{op: _reduction(op) for op in sorted(REDUCTIONS)},
}
