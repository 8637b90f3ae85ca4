"""Random graphs of random operations, shapes and broadcasts: values and gradients as torch's.

Each graph is drawn from its own seed, built once in each library from the same numbers in
float64, and compared to 1e-10. A failure prints the seed and the program.
"""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import atled as at

torch = pytest.importorskip("torch", reason="parity with torch needs torch")

GRAPHS = 2400
PER_TEST = 200
TOLERANCE = 1e-10

Shape = tuple[int, ...]


class Value(NamedTuple):
    """One value in both libraries."""

    ours: Any
    theirs: Any

    @property
    def shape(self) -> Shape:
        return tuple(self.ours.shape)


UNARY: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "sin": (at.sin, torch.sin),
    "cos": (at.cos, torch.cos),
    "tanh": (at.tanh, torch.tanh),
    "exp": (lambda x: at.exp(x * 0.3), lambda x: torch.exp(x * 0.3)),
    "log1p": (lambda x: at.log1p(x * x), lambda x: torch.log1p(x * x)),
    "sqrt": (lambda x: at.sqrt(x * x + 1), lambda x: torch.sqrt(x * x + 1)),
    "rsqrt": (lambda x: at.rsqrt(x * x + 1), lambda x: torch.rsqrt(x * x + 1)),
    "sigmoid": (at.sigmoid, torch.sigmoid),
    "softplus": (at.softplus, torch.nn.functional.softplus),
    "silu": (at.silu, torch.nn.functional.silu),
    "gelu": (at.gelu, torch.nn.functional.gelu),
    "relu": (at.relu, torch.relu),
    "abs": (at.abs, torch.abs),
    "square": (at.square, torch.square),
    "cube": (lambda x: (0.5 * x) ** 3, lambda x: (0.5 * x) ** 3),
    "reciprocal": (lambda x: 1 / (x * x + 2), lambda x: 1 / (x * x + 2)),
    "atan": (at.atan, torch.atan),
    "asinh": (at.asinh, torch.asinh),
    "sinh": (lambda x: at.sinh(x * 0.5), lambda x: torch.sinh(x * 0.5)),
    "erf": (at.erf, torch.erf),
    "expm1": (lambda x: at.expm1(x * 0.2), lambda x: torch.expm1(x * 0.2)),
    "clip": (lambda x: at.clip(x, -0.7, 0.9), lambda x: torch.clip(x, -0.7, 0.9)),
    "sinc": (at.sinc, torch.sinc),
    "lgamma": (lambda x: at.lgamma(x * x + 1), lambda x: torch.lgamma(x * x + 1)),
    "negative": (lambda x: -x, lambda x: -x),
}
BINARY: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "add": (at.add, torch.add),
    "subtract": (at.subtract, torch.subtract),
    "multiply": (at.multiply, torch.multiply),
    "divide": (lambda a, b: a / (b * b + 1), lambda a, b: a / (b * b + 1)),
    "maximum": (at.maximum, torch.maximum),
    "minimum": (at.minimum, torch.minimum),
    "atan2": (at.atan2, torch.atan2),
    "hypot": (lambda a, b: at.hypot(a, b + 3), lambda a, b: torch.hypot(a, b + 3)),
    "logaddexp": (at.logaddexp, torch.logaddexp),
    "pow": (lambda a, b: (a * a + 0.5) ** (b * 0.3), lambda a, b: (a * a + 0.5) ** (b * 0.3)),
    "where": (lambda a, b: at.where(a > b, a * 2, b), lambda a, b: torch.where(a > b, a * 2, b)),
    "rsub": (lambda a, b: 1.5 - a * b, lambda a, b: 1.5 - a * b),
}


class Graph:
    """One random program, run in both libraries as it is drawn."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.steps: list[str] = []
        self.leaves = [self._leaf() for _ in range(self.dice.randint(1, 3))]
        self.values = list(self.leaves)
        for _ in range(self.dice.randint(3, 9)):
            self._step()

    def _leaf(self) -> Value:
        shape = tuple(self.dice.choice((1, 2, 3, 4)) for _ in range(self.dice.randint(0, 3)))
        count = 1
        for n in shape:
            count *= n
        numbers = [self.dice.uniform(-2, 2) for _ in range(count)]
        ours = at.reshape(at.tensor(numbers, dtype=at.float64), shape).requires_grad_()
        theirs = torch.tensor(numbers, dtype=torch.float64).reshape(shape).requires_grad_()
        self.steps.append(f"leaf {shape}")
        return Value(ours, theirs)

    def _step(self) -> None:
        kinds = (self._unary, self._binary, self._reduce, self._move, self._index, self._product)
        kind = self.dice.choices(kinds, weights=(3, 3, 2, 2, 2, 2))[0]
        x = self.dice.choice(self.values[-4:])
        result = kind(x)
        if result is not None:
            name, ours, theirs = result
            self.steps.append(f"{name} {x.shape} -> {tuple(ours.shape)}")
            assert tuple(ours.shape) == tuple(theirs.shape), self.steps
            self.values.append(Value(ours, theirs))

    def _unary(self, x: Value) -> Any:
        name = self.dice.choice(sorted(UNARY))
        ours, theirs = UNARY[name]
        return name, ours(x.ours), theirs(x.theirs)

    def _binary(self, x: Value) -> Any:
        name = self.dice.choice(sorted(BINARY))
        fitting = [v for v in self.values if _broadcasts(x.shape, v.shape)]
        if not fitting:
            return None
        other = self.dice.choice(fitting)
        ours, theirs = BINARY[name]
        return name, ours(x.ours, other.ours), theirs(x.theirs, other.theirs)

    def _reduce(self, x: Value) -> Any:
        if not x.shape:
            return None
        axis = self.dice.randrange(len(x.shape))
        keep = self.dice.random() < 0.5
        o, t = x.ours, x.theirs
        table: dict[str, Callable[[], tuple[Any, Any]]] = {
            "sum": lambda: (o.sum(axis=axis, keepdims=keep), t.sum(axis, keepdim=keep)),
            "sum all": lambda: (o.sum(), t.sum()),
            "mean": lambda: (o.mean(axis=axis, keepdims=keep), t.mean(axis, keepdim=keep)),
            "amax": lambda: (o.max(axis=axis, keepdims=keep), t.amax(axis, keepdim=keep)),
            "amin": lambda: (o.min(axis=axis, keepdims=keep), t.amin(axis, keepdim=keep)),
            "prod": lambda: (o.prod(axis=axis, keepdims=keep), t.prod(axis, keepdim=keep)),
            "var": lambda: (
                o.var(axis=axis, keepdims=keep),
                t.var(axis, correction=0, keepdim=keep),
            ),
            "logsumexp": lambda: (
                o.logsumexp(axis=axis, keepdims=keep),
                t.logsumexp(axis, keepdim=keep),
            ),
            "softmax": lambda: (o.softmax(axis), t.softmax(axis)),
            "log_softmax": lambda: (o.log_softmax(axis), t.log_softmax(axis)),
            "cumsum": lambda: (o.cumulative_sum(axis=axis), t.cumsum(axis)),
            "cumprod": lambda: (o.cumulative_prod(axis=axis), t.cumprod(axis)),
            "norm": lambda: ((o + 3).norm(axis=axis), torch.linalg.vector_norm(t + 3, dim=axis)),
            "sort": lambda: (at.sort(o, axis=axis), torch.sort(t, axis).values),
        }
        name = self.dice.choice(sorted(table))
        return name, *table[name]()

    def _move(self, x: Value) -> Any:
        o, t, n = x.ours, x.theirs, len(x.shape)
        order = list(range(n))
        self.dice.shuffle(order)
        table: dict[str, Callable[[], tuple[Any, Any]]] = {
            "flatten": lambda: (o.reshape(-1), t.reshape(-1)),
            "unsqueeze": lambda: (o.unsqueeze(0), t.unsqueeze(0)),
            "permute": lambda: (o.permute_dims(order), t.permute(order)),
            "squeeze": lambda: (o.squeeze(), t.squeeze()),
        }
        if n:
            axis = self.dice.randrange(n)
            table |= {
                "flip": lambda: (o.flip(axis), t.flip(axis)),
                "roll": lambda: (o.roll(1, axis), t.roll(1, axis)),
                "cat": lambda: (at.concat([o, o * 2], axis), torch.cat([t, t * 2], axis)),
                "stack": lambda: (at.stack([o, -o], axis), torch.stack([t, -t], axis)),
                "repeat": lambda: (at.repeat(o, 2, axis), t.repeat_interleave(2, axis)),
                "expand": lambda: (o.expand(2, *x.shape), t.expand(2, *x.shape)),
            }
        if n >= 4:
            for growing in ("unsqueeze", "stack", "expand"):
                table.pop(growing, None)
        name = self.dice.choice(sorted(table))
        return name, *table[name]()

    def _index(self, x: Value) -> Any:
        o, t = x.ours, x.theirs
        if not x.shape:
            return None
        n = x.shape[0]
        rows = [self.dice.randrange(n) for _ in range(3)]
        start = self.dice.randrange(n)
        table: dict[str, Callable[[], tuple[Any, Any]]] = {
            "int": lambda: (o[start], t[start]),
            "slice": lambda: (o[start:], t[start:]),
            "step": lambda: (o[::2], t[::2]),
            "rows": lambda: (o[rows], t[rows]),
            "none": lambda: (o[None, ...], t[None, ...]) if o.ndim < 4 else (o, t),
            "take": lambda: (at.take(o, rows, axis=0), t.index_select(0, torch.tensor(rows))),
            "last": lambda: (o[..., -1], t[..., -1]),
            "mask": lambda: (at.where(o > 0, o, 0.0), t.masked_fill(t <= 0, 0.0)),
            "index_add": lambda: (
                o.index_add(0, rows, o[rows] * 2),
                t.index_add(0, torch.tensor(rows), t[rows] * 2),
            ),
        }
        name = self.dice.choice(sorted(table))
        return name, *table[name]()

    def _product(self, x: Value) -> Any:
        o, t = x.ours, x.theirs
        if not x.shape:
            return None
        if len(x.shape) == 1:
            return "outer", at.outer(o, o), torch.outer(t, t)
        if self.dice.random() < 0.5:
            return "matmul", o @ o.mT, t @ t.mT
        return (
            "einsum",
            at.einsum("...ij,...ik->...jk", o, o),
            torch.einsum("...ij,...ik->...jk", t, t),
        )

    def compare(self) -> None:
        """Compare every value, and the gradients of a weighted sum of the last ones."""
        ours, theirs = 0.0, 0.0
        for i, v in enumerate(self.values[len(self.leaves) :]):
            self._same(v.ours.detach(), v.theirs.detach(), f"value {i}")
            ours = ours + (v.ours * (0.1 + 0.2 * i)).sum()
            theirs = theirs + (v.theirs * (0.1 + 0.2 * i)).sum()
        if isinstance(ours, float):
            return
        ours.backward()
        theirs.backward()
        for i, v in enumerate(self.leaves):
            assert (v.ours.grad is None) == (v.theirs.grad is None), self.steps
            if v.ours.grad is not None:
                self._same(v.ours.grad, v.theirs.grad, f"gradient {i}")

    def _same(self, ours: Any, theirs: Any, what: str) -> None:
        a = torch.tensor(ours.tolist(), dtype=torch.float64).reshape(theirs.shape)
        if not theirs.isfinite().all():
            return  # an overflowing product: both libraries are past comparing
        scale = max(float(theirs.abs().max()), 1.0) if theirs.numel() else 1.0
        worst = float((a - theirs).abs().max()) if theirs.numel() else 0.0
        program = "\n".join(self.steps)
        assert worst <= TOLERANCE * scale, f"{what}: {worst} apart (scale {scale}) in\n{program}"


def _broadcasts(a: Shape, b: Shape) -> bool:
    ends = zip(a[::-1], b[::-1], strict=False)
    return len(a) + len(b) <= 7 and all(m == n or 1 in (m, n) for m, n in ends)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, GRAPHS, PER_TEST))
def test_random_graphs_equal_torch(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        try:
            Graph(seed).compare()
        except Exception as error:
            error.add_note(f"in the graph of seed {seed}")
            raise
