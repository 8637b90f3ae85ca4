"""Random graphs of primitives: what traced functions lead to only by luck.

Every kind of movement on top of every other, places with gaps, reductions of any axes, gathers
and scatters by computed indices, several dtypes, and values that several others read.
"""

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from atled.core.graph import Graph, Value
from atled.dtypes import DType, bool_, float32, float64, int32, int64, uint8
from tests.compile.programs import constant

__all__ = ["SIZES", "RandomGraph"]

SIZES = (1, 1, 2, 3, 4, 5, 6, 7, 8, 16, 17, 33)
LARGEST = 6_000  # elements of one value
DTYPES = (float32, float64, float64, float64, int64, int32, uint8, bool_)
NUMBERS = (0, 1, 2, -1, 0.5, -0.0)
BOOLEAN = "logical_and logical_or logical_xor equal not_equal maximum".split()
COMPARISONS = "equal not_equal less less_equal greater greater_equal".split()

of = Value.of


class RandomGraph:
    """A graph drawn from a seed.

    Args:
        seed: everything follows from it.
        steps: how many values to draw, about; by default 3 to 16.
        sizes: from which the axes are drawn.

    Attributes:
        graph, arrays: the graph, and its inputs.
    """

    def __init__(self, seed: int, steps: int = 0, sizes: tuple[int, ...] = SIZES) -> None:
        self.dice, self.numbers = random.Random(seed), np.random.default_rng(seed)
        self.sizes = sizes
        self.inputs: list[Value] = []
        self.arrays: list[Any] = []
        self.values: list[Value] = []
        for _ in range(self.dice.randint(1, 3)):
            self._leaf()
        for _ in range(steps or self.dice.randint(3, 16)):
            self._step()
        users = {x for v in self.values for x in v.inputs}
        ends = [v for v in self.values if v.op != "input"
                and (v not in users or self.dice.random() < 0.25)]  # fmt: skip
        self.graph = Graph(self.inputs, ends or self.values[-1:])

    def aliases(self) -> dict[int, int]:
        """Draw outputs that shall take over the memory of an input like them."""
        found: dict[int, int] = {}
        outputs = list(enumerate(self.graph.outputs))
        self.dice.shuffle(outputs)
        for k, v in outputs:
            fitting = [i for i, x in enumerate(self.inputs) if i not in found.values()
                       and v.shape and (x.shape, x.dtype) == (v.shape, v.dtype)]  # fmt: skip
            if fitting:
                found[k] = self.dice.choice(fitting)
        return found

    # -- leaves

    def _leaf(self) -> None:
        axes = self.dice.choice((0, 1, 2, 2, 3, 3, 4))
        shape = tuple([self.dice.choice(self.sizes) for _ in range(axes)])
        while math.prod(shape) > LARGEST:
            shape = shape[1:]
        dtype = self.dice.choice(DTYPES)
        x: Any = self.numbers.normal(size=shape)
        if not dtype.is_floating_point:
            x = x > 0 if dtype is bool_ else np.round(4 * (abs(x) if dtype is uint8 else x))
        self._input(np.asarray(x).astype(dtype.name), dtype)

    def _input(self, array: Any, dtype: DType) -> Value:
        value = Value("input", (), {}, array.shape, dtype)
        self.inputs.append(value)
        self.arrays.append(array)
        self.values.append(value)
        return value

    # -- steps

    def _step(self) -> None:
        recent = self.dice.random() < 0.7
        x = self.dice.choice(self.values[-5:] if recent else self.values)
        kinds: list[Callable[[Value], Value | None]] = [
            self._unary, self._binary, self._cast, self._where,
            self._reshape, self._permute, self._slice, self._place, self._concat, self._repeat,
            self._reduce, self._indexed, self._scan, self._product,
        ]  # fmt: skip
        weights = (3, 5, 1, 1, 2, 2, 2, 2, 1, 3, 4, 2, 1, 1)
        y = self.dice.choices(kinds, weights)[0](x)
        if y is not None and y.size <= LARGEST and len(y.shape) <= 5:
            self.values.append(y)

    def _alike(self, dtype: DType, shape: tuple[int, ...]) -> list[Value]:
        return [v for v in self.values if v.dtype is dtype and v.shape == shape]

    def _partner(self, x: Value) -> Value:
        """Draw an operand for an elementwise operation with x."""
        same, d = self._alike(x.dtype, x.shape), self.dice
        if same and d.random() < 0.6:
            return d.choice(same)
        fitting = [v for v in self.values if v.dtype is x.dtype and _broadcasts(v.shape, x.shape)]
        if fitting and d.random() < 0.7:
            return of("broadcast_to", d.choice(fitting), shape=x.shape)
        return constant(d.choice(NUMBERS if x.dtype.is_floating_point else (0, 1, 3)), x)

    def _unary(self, x: Value) -> Value:
        if x.dtype is bool_:
            return of(self.dice.choice(["logical_not", "bitwise_invert"]), x)
        if not x.dtype.is_floating_point:
            return of(self.dice.choice("abs bitwise_invert square sign negative".split()), x)
        op = self.dice.choice("exp tanh sin sqrt abs negative square floor sign".split())
        if op in ("exp", "square"):
            x = of("sin", x)
        return of(op, of("abs", x) if op == "sqrt" else x)

    def _binary(self, x: Value) -> Value:
        y, d = self._partner(x), self.dice
        if d.random() < 0.3:
            x, y = y, x
        if x.dtype is bool_:
            return of(d.choice(BOOLEAN), x, y)
        if d.random() < 0.25:
            return self._compared(d.choice(COMPARISONS), x, y)
        ops = "add subtract maximum minimum multiply".split()
        ops += ["divide"] if x.dtype.is_floating_point else ["bitwise_and", "bitwise_xor"]
        op = d.choice(ops)
        if op == "divide":
            y = of("add", of("abs", y), constant(1, y))
        if op == "multiply" and x.dtype.is_floating_point:
            y = of("sin", y)
        return of(op, x, y)

    def _compared(self, op: str, x: Value, y: Value) -> Value:
        """Compare; floats with others that no two ways of adding make equal but for rounding."""
        apart = of("add", y, constant(0.37, y)) if x.dtype.is_floating_point else y
        return of(op, x, apart)

    def _where(self, x: Value) -> Value:
        masks = self._alike(bool_, x.shape)
        mask = self.dice.choice(masks) if masks else self._compared("less", x, self._partner(x))
        return of("where", mask, x, self._partner(x))

    def _cast(self, x: Value) -> Value:
        to = self.dice.choice((float32, float64, int64, int32, bool_, uint8))
        if x.dtype.is_floating_point and not to.is_floating_point and to is not bool_:
            low = constant(0 if to is uint8 else -100, x)
            x = of("minimum", of("maximum", x, low), constant(100, x))
        return of("astype", x, dtype=to)

    # -- movement

    def _reshape(self, x: Value) -> Value:
        rest, d = x.size, self.dice
        shape: list[int] = []
        while rest > 1 and len(shape) < 4:
            shape.append(d.choice([n for n in range(2, rest + 1) if rest % n == 0]))
            rest //= shape[-1]
        shape += [rest] if rest != 1 else []
        if d.random() < 0.3:
            shape.insert(d.randint(0, len(shape)), 1)
        return of("reshape", x, shape=tuple(shape))

    def _permute(self, x: Value) -> Value:
        axes = list(range(len(x.shape)))
        self.dice.shuffle(axes)
        return of("permute_dims", x, axes=tuple(axes))

    def _slice(self, x: Value) -> Value:
        return of("slice", x, index=tuple([self._part(n) for n in x.shape]))

    def _part(self, n: int) -> tuple[int, int | None, int]:
        """Draw (start, stop, step) of an axis, the stop just behind the last element."""
        d = self.dice
        if n == 0 or d.random() < 0.4:
            return (0, n, 1)
        step, low = d.choice((1, 1, 2, 3, -1, -1, -2, 5)), d.randint(0, n - 1)
        high = d.randint(low + (0 not in self.sizes), n)
        span = range(low, high, step) if step > 0 else range(high - 1, low - 1, step)
        if not span:
            return (0, 0, 1)
        if len(span) == 1 or step > 0:
            return (span[0], span[-1] + 1, step if len(span) > 1 else 1)
        return (span[0], span[-1] - 1 if span[-1] else None, step)

    def _place(self, x: Value) -> Value:
        d, shape = self.dice, []
        index: list[tuple[int, int | None, int]] = []
        for n in x.shape:
            step = 1 if n < 2 else d.choice((1, 1, 1, 2, 3, -1, -2))
            low, after = d.choice((0, 0, 1, 2)), d.choice((0, 0, 1, 2, abs(step) - 1))
            if d.random() < 0.4:
                step, low, after = 1, 0, 0
            last = low + max(n - 1, 0) * abs(step)
            if step > 0:
                index.append((low, last + 1, step) if n else (0, 0, 1))
            else:
                index.append((last, low - 1 if low else None, step))
            shape.append(last + (n > 0) + after)
        return of("place", x, index=tuple(index), shape=tuple(shape))

    def _concat(self, x: Value) -> Value | None:
        if not x.shape:
            return None
        d, n = self.dice, len(x.shape)
        axis = d.randrange(n)
        fitting = [v for v in self.values if v.dtype is x.dtype and len(v.shape) == n
                   and all(i == axis or v.shape[i] == x.shape[i] for i in range(n))]  # fmt: skip
        parts = [d.choice([*fitting, x]) for _ in range(d.randint(2, 3))]
        return of("concat", *parts, axis=axis)

    def _repeat(self, x: Value) -> Value:
        d = self.dice
        lead = [d.choice((1, 2, 3)) for _ in range(d.choice((0, 1)))]
        sizes = [d.choice((2, 3, 5, 17)) if n == 1 and d.random() < 0.7 else n for n in x.shape]
        return of("broadcast_to", x, shape=(*lead, *sizes))

    # -- the rest

    def _reduce(self, x: Value) -> Value | None:
        d, axes = self.dice, range(len(x.shape))
        if not x.shape:
            return None
        chosen = tuple(sorted(d.sample(axes, d.randint(1, len(axes)))))
        ops = ["all", "any", "argmax"] if x.dtype is bool_ else "sum max min argmax argmin".split()
        op = d.choice(ops)
        chosen = chosen[:1] if op.startswith("arg") else chosen
        if op not in ("sum", "all", "any") and not all(x.shape[a] for a in chosen):
            return None
        y = of(op, x, axis=chosen)
        if d.random() < 0.6:
            kept = tuple([1 if i in chosen else n for i, n in enumerate(x.shape)])
            y = of("broadcast_to", of("reshape", y, shape=kept), shape=x.shape)
        return y

    def _places(self, shape: tuple[int, ...], n: int) -> Value:
        """Draw indices into an axis of n elements: computed ones, or an input."""
        known = self._alike(int64, shape)
        if known and self.dice.random() < 0.6:
            found = self.dice.choice(known)
            return of("minimum", of("maximum", found, constant(0, found)), constant(n - 1, found))
        return self._input(self.numbers.integers(0, n, shape), int64)

    def _indexed(self, x: Value) -> Value | None:
        d = self.dice
        if not x.shape or not x.size:
            return None
        count = d.randint(1, min(len(x.shape), 2))
        shape = tuple([d.choice(self.sizes) for _ in range(d.randint(0, 2))])
        if math.prod(shape) * math.prod(x.shape[count:]) > LARGEST:
            return None
        places = [self._places(shape, n) for n in x.shape[:count]]
        if d.random() < 0.6:
            return of("gather_nd", x, *places)
        rows = self._alike(x.dtype, shape + x.shape[count:])
        given = d.choice(rows) if rows else constant(1, x, shape + x.shape[count:])
        if d.random() < 0.7:
            return None if x.dtype is bool_ else of("scatter_nd_add", x, given, *places)
        if len(shape) != 1 or count != 1 or x.shape[0] < shape[0]:
            return None  # which of several writers to one place is last is not said
        once = self._input(self.numbers.permutation(x.shape[0])[: shape[0]], int64)
        return of("scatter_nd_set", x, given, once)

    def _scan(self, x: Value) -> Value | None:
        if not x.shape or x.dtype is bool_:
            return None
        axis = self.dice.randrange(len(x.shape))
        if self.dice.random() < 0.4:  # an eager call between native stretches
            return of("argsort", x, axis=axis, descending=self.dice.random() < 0.5)
        whole = x if x.dtype.is_floating_point else of("astype", x, dtype=int64)
        return of("cumulative_sum", whole, axis=axis)

    def _product(self, x: Value) -> Value | None:
        if len(x.shape) < 2 or not x.dtype.is_floating_point:
            return None
        axes = list(range(len(x.shape)))
        axes[-2:] = axes[:-3:-1]
        a = of("sin", x)
        b = of("permute_dims", a, axes=tuple(axes))
        return of("matmul", a, b) if self.dice.random() < 0.5 else of("matmul", b, a)


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    pairs = zip(a[::-1], b[::-1], strict=False)
    return len(a) <= len(b) and all(m in (1, n) for m, n in pairs)
