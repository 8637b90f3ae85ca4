"""Random programs of random operations, shapes and dtypes: compiled as operation by operation.

Each program is drawn from its own seed. It is traced with the gradients of a sum of all its
values, so that what derivatives are made of (places, scatters, sums over broadcast axes) is
compiled too. In every other one each value is a result and is compared; in the rest only the
last, so that what lies between need not be in memory. Random graphs of primitives, with random
outputs written over inputs, go below what functions lead to.
"""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import atled as at

pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")

from tests.compile.primitives import SIZES as PRIMITIVE_SIZES
from tests.compile.primitives import RandomGraph
from tests.compile.programs import compared, tensors, traced

FAST, ALL, PER_TEST = 40, 1040, 40
PRIMITIVES = 400  # graphs of primitives; each slow one is drawn short and long
SIZES = (1, 2, 3, 4, 5, 7, 8, 16, 17, 33)
LARGEST = 20_000  # elements of one value

Draw = random.Random

UNARY: dict[str, Callable[[Any], Any]] = {
    "sin": at.sin,
    "tanh": at.tanh,
    "exp": lambda x: at.exp(-x * x),
    "log": lambda x: at.log(x * x + 1),
    "sqrt": lambda x: at.sqrt(x * x + 0.5),
    "sigmoid": at.sigmoid,
    "gelu": at.gelu,
    "relu": at.relu,
    "abs": at.abs,
    "square": lambda x: at.square(at.sin(x)),
    "reciprocal": lambda x: 1 / (x * x + 2),
    "atan": at.atan,
    "erf": at.erf,
    "negative": lambda x: -x,
    "clip": lambda x: at.clip(x, -0.7, 0.9),
    "halves": lambda x: x / 4 + 0,
    "to int and back": lambda x: at.round(at.clip(x, -99, 99)).astype(at.int32).astype(x.dtype),
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": at.add,
    "subtract": at.subtract,
    "multiply": lambda a, b: at.tanh(a) * b,
    "divide": lambda a, b: a / (b * b + 1),
    "maximum": at.maximum,
    "minimum": at.minimum,
    "hypot": lambda a, b: at.hypot(a, at.abs(b) + 3),
    "pow": lambda a, b: (at.sin(a) ** 2 + 0.5) ** at.sin(b),
    "where": lambda a, b: at.where(a > b, a * 2, b),
    "mask": lambda a, b: at.where((a > 0) & ~(b > 0.5), a, 0.0),
}


class Program:
    """One random program: `self(*leaves)` gives all its values, and their gradients."""

    def __init__(self, seed: int, sizes: tuple[int, ...] = SIZES) -> None:
        self.seed, self.sizes = seed, sizes
        dice = random.Random(seed)
        self.base = dice.choice(sizes), dice.choice(sizes), dice.choice(sizes)
        self.shapes = [self._shape(dice) for _ in range(dice.randint(1, 3))]
        self.dtype = np.float32 if dice.random() < 0.3 else np.float64
        self.count = dice.randint(3, 10)

    def _shape(self, dice: Draw) -> tuple[int, ...]:
        """Draw a shape of sizes that the leaves have in common, so that they broadcast."""
        axes = [n if dice.random() < 0.8 else 1 for n in self.base]
        return tuple(axes[dice.randint(0, 3) :])

    def leaves(self) -> list[Any]:
        """Return the leaves' arrays."""
        numbers = np.random.default_rng(self.seed)
        return [np.asarray(numbers.uniform(-2, 2, s), self.dtype) for s in self.shapes]

    def __call__(self, *leaves: Any) -> list[Any]:
        dice = random.Random(self.seed + 1)
        self.steps: list[str] = []
        values = list(leaves)
        made = []
        kinds = (_unary, _binary, _reduce, _move, _index, _product)
        for _ in range(self.count):
            x = dice.choice(values[-4:])
            step = dice.choices(kinds, weights=(3, 4, 3, 4, 2, 2))[0](dice, x, values)
            if step is not None and step[1].size <= LARGEST and step[1].ndim <= 5:
                self.steps.append(f"{step[0]} {x.shape} -> {step[1].shape}")
                values.append(step[1])
                made.append(step[1])
        floats = [v for v in made if v.requires_grad]
        results = made if self.seed % 2 else made[-1:]
        if not floats:
            return results
        total = sum(at.mean(at.sin(v * (1 + 0.1 * i))) if v.size else v.sum()
                    for i, v in enumerate(floats))  # fmt: skip
        return [*results, *at.autograd.grad(total, leaves, materialize_grads=True)]


Drawn = tuple[str, Any] | None


def _unary(dice: Draw, x: Any, values: list[Any]) -> Drawn:
    name = dice.choice(sorted(UNARY))
    return name, UNARY[name](x)


def _binary(dice: Draw, x: Any, values: list[Any]) -> Drawn:
    name = dice.choice(sorted(BINARY))
    fitting = [v for v in values if _broadcasts(x.shape, v.shape)]
    return name, BINARY[name](x, dice.choice(fitting))


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(a[::-1], b[::-1], strict=False))


def _reduce(dice: Draw, x: Any, values: list[Any]) -> Drawn:
    if not x.ndim:
        return None
    axes = tuple(sorted(dice.sample(range(x.ndim), dice.randint(1, x.ndim))))
    axis, keep = axes[0], dice.random() < 0.5
    table: dict[str, Callable[[], Any]] = {
        "sum": lambda: x.sum(axis=axes, keepdims=keep),
        "prod": lambda: at.sigmoid(x).prod(axis=axis, keepdims=keep) if x.size < 200 else None,
        "cumsum": lambda: x.cumulative_sum(axis=axis),
    }
    if x.size:
        table |= {
            "mean": lambda: x.mean(axis=axes, keepdims=keep),
            "max": lambda: x.max(axis=axes, keepdims=keep),
            "min": lambda: x.min(axis=axes, keepdims=keep),
            "var": lambda: x.var(axis=axes, keepdims=keep),
            "logsumexp": lambda: x.logsumexp(axis=axes, keepdims=keep),
            "softmax": lambda: x.softmax(axis),
            "log_softmax": lambda: x.log_softmax(axis),
            "argmax": lambda: at.argmax(x, axis=axis, keepdims=keep).astype(x.dtype),
            "any": lambda: at.where(at.any(x > 1.5, axis=axes, keepdims=True), x, -x),
            "all": lambda: at.all(x > -1.9, axis=axes, keepdims=keep).astype(x.dtype),
            "normal": lambda: (
                (x - x.mean(axis=axis, keepdims=True))
                / at.sqrt(x.var(axis=axis, keepdims=True) + 0.1)
            ),
        }
    name = dice.choice(sorted(table))
    y = table[name]()
    return None if y is None else (f"{name} over {axes}", y)


def _move(dice: Draw, x: Any, values: list[Any]) -> Drawn:
    order = list(range(x.ndim))
    dice.shuffle(order)
    table: dict[str, Callable[[], Any]] = {
        "flatten": lambda: x.reshape(-1) if x.size else x,
        "permute": lambda: x.permute_dims(order),
        "unsqueeze": lambda: x.unsqueeze(dice.randint(0, x.ndim)),
        "reshape": lambda: x.reshape(_other_shape(dice, x.size)),
        "turn and reshape": lambda: x.permute_dims(order).reshape(_other_shape(dice, x.size)),
        "squeeze": x.squeeze,
        "expand": lambda: x.expand(3, *x.shape),
        "stack": lambda: at.stack([x, at.sin(x)], dice.randint(0, x.ndim)),
    }
    if x.ndim:
        axis = dice.randrange(x.ndim)
        n = x.shape[axis]
        cut = [slice(None)] * x.ndim
        cut[axis] = slice(dice.randint(0, n // 2), None, dice.choice((1, 1, 2, 3, -1, -2)))
        if cut[axis].step < 0:
            cut[axis] = slice(None, None, cut[axis].step)
        wide = [(0, 0)] * x.ndim
        wide[axis] = dice.randint(0, 3), dice.randint(0, 3)
        alike = [v for v in values if v.ndim == x.ndim and v.dtype == x.dtype
                 and all(i == axis or v.shape[i] == x.shape[i] for i in range(x.ndim))]  # fmt: skip
        table |= {
            "flip": lambda: x.flip(axis),
            "roll": lambda: x.roll(1, axis) if n else x,
            "concat": lambda: at.concat([x, dice.choice(alike), -x], axis),
            "repeat": lambda: at.repeat(x, 2, axis),
            "pad": lambda: at.pad(x, wide),
            "slice": lambda: x[tuple(cut)],
        }
    name = dice.choice(sorted(table))
    return name, table[name]()


def _other_shape(dice: Draw, size: int) -> tuple[int, ...]:
    """Draw factors of a size; for none of all elements, an empty shape."""
    if not size:
        return (0, 3)
    shape = []
    while size > 1 and len(shape) < 3:
        n = dice.choice([d for d in range(2, min(size, 40) + 1) if size % d == 0] or [size])
        shape.append(n)
        size //= n
    return (*shape, size) if size > 1 or not shape else tuple(shape)


def _index(dice: Draw, x: Any, values: list[Any]) -> Drawn:
    if not x.ndim or not x.shape[0]:
        return None
    n = x.shape[0]
    start = dice.randrange(n)
    table: dict[str, Callable[[], Any]] = {
        "int": lambda: x[start],
        "from the end": lambda: x[start:],
        "take": lambda: at.take(x, [dice.randrange(n) for _ in range(3)], axis=0),
        "last": lambda: x[..., -1] if x.shape[-1] else x,
        "by argmax": lambda: at.take_along_axis(x, at.argmax(x, axis=0, keepdims=True), axis=0)
        if x.size else x,
        "triangle": lambda: at.tril(x) if x.ndim >= 2 else x,
        "counted": lambda: x * at.arange(x.shape[-1], dtype=x.dtype),
    }  # fmt: skip
    name = dice.choice(sorted(table))
    return name, table[name]()


def _product(dice: Draw, x: Any, values: list[Any]) -> Drawn:
    if not x.ndim or max(x.shape, default=0) ** 2 > LARGEST:
        return None
    y = at.tanh(x)
    if x.ndim == 1:
        return "outer", at.outer(y, y)
    table: dict[str, Callable[[], Any]] = {
        "rows": lambda: y @ y.mT,
        "columns": lambda: y.mT @ y,
        "einsum": lambda: at.einsum("...ij,...ik->...jk", y, y),
        "turned": lambda: at.matmul(y.swapaxes(0, -1), y.swapaxes(0, -1).mT),
        "plus": lambda: (y @ y.mT + 1.0).relu(),
    }
    fitting = [v for v in values if v.ndim == 2 and v.shape[0] == x.shape[-1]]
    if fitting:
        table["of two"] = lambda: y @ dice.choice(fitting)
    name = dice.choice(sorted(table))
    return name, table[name]()


def _check(seed: int, sizes: tuple[int, ...] = SIZES) -> None:
    program = Program(seed, sizes)
    try:
        graph, arrays = traced(program, *tensors(*program.leaves()))
        if graph.outputs:
            compared(graph, arrays)
    except Exception as error:
        steps = "\n".join(getattr(program, "steps", []))
        error.add_note(f"in the program of seed {seed}, {program.dtype.__name__}:\n{steps}")
        raise


def _check_primitives(seed: int, sizes: tuple[int, ...] = PRIMITIVE_SIZES, steps: int = 0) -> None:
    drawn = RandomGraph(seed, steps, sizes)
    try:
        compared(drawn.graph, drawn.arrays)
        if not seed % 3:
            compared(drawn.graph, drawn.arrays, drawn.aliases())
    except Exception as error:
        error.add_note(f"in the graph of seed {seed}, {steps} steps, sizes {sizes}")
        raise


@pytest.mark.parametrize("first", range(0, FAST, PER_TEST))
def test_random_programs(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        _check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(FAST, ALL, PER_TEST))
def test_many_random_programs(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        _check(seed)


def test_random_programs_without_elements() -> None:
    for seed in range(20):
        _check(seed, (0, 1, 2, 5))


@pytest.mark.parametrize("first", range(0, FAST, PER_TEST))
def test_random_graphs_of_primitives(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        _check_primitives(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(FAST, PRIMITIVES, PER_TEST))
def test_many_random_graphs_of_primitives(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        _check_primitives(seed)
        _check_primitives(seed, steps=40)


def test_random_graphs_of_primitives_without_elements() -> None:
    for seed in range(60):
        _check_primitives(seed, (0, 1, 2, 5))
