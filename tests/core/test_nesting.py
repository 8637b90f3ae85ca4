"""Random functions under random nests of transforms, to depth three.

Each nest is computed in two ways that share as little as there is to share (`vmap` or a loop,
`grad` or a Jacobian by either mode), on every backend; and once more by `torch.func`, where torch
is installed, with the same transforms on the same function.
"""

import random
from typing import Any

import pytest

import atled as at

CASES = 100  # of each depth, the slow ones included
FAST = 8
N = 3  # elements of a row
LARGEST = 700  # elements of a result
LIMIT = 1e-9  # of the largest element of the results
Function = Any


class Ours:
    """atled, by the names that the functions here are written with."""

    def __init__(self) -> None:
        self.vmap, self.grad, self.jvp, self.vjp = at.vmap, at.grad, at.jvp, at.vjp
        self.jacfwd, self.jacrev, self.hessian = at.jacfwd, at.jacrev, at.hessian
        self.value_and_grad, self.checkpoint = at.value_and_grad, at.checkpoint
        self.solve, self.stack, self.sort = at.linalg.solve, at.stack, at.sort

    def __getattr__(self, name: str) -> Any:
        return getattr(at, name)

    def array(self, rows: Any) -> Any:
        return at.tensor(rows, dtype=at.float64)

    def linearized(self, f: Function, x: Any, t: Any) -> Any:
        return at.linearize(f, x)[1](t)


class Theirs:
    """torch, by the same names."""

    def __init__(self) -> None:
        self.torch = torch = pytest.importorskip("torch", reason="compares with torch.func")
        f = torch.func
        self.vmap, self.grad, self.jvp, self.vjp = f.vmap, f.grad, f.jvp, f.vjp
        self.jacfwd, self.jacrev, self.hessian = f.jacfwd, f.jacrev, f.hessian
        self.value_and_grad, self.checkpoint = self._value_and_grad, lambda function: function

    def __getattr__(self, name: str) -> Any:
        return getattr(self.torch, name)

    def _value_and_grad(self, f: Function) -> Function:
        def both(x: Any) -> Any:
            found, value = self.torch.func.grad_and_value(f)(x)
            return value, found

        return both

    def solve(self, a: Any, b: Any) -> Any:
        """Solve by the inverse: torch's `solve` halves forward mode over forward mode (2.13)."""
        return self.torch.linalg.inv(a) @ b

    def array(self, rows: Any) -> Any:
        return self.torch.tensor(rows, dtype=self.torch.float64)

    def sort(self, x: Any, axis: int) -> Any:
        return self.torch.sort(x, axis)[0]

    def linearized(self, f: Function, x: Any, t: Any) -> Any:
        return self.torch.func.jvp(f, (x,), (t,))[1]


# -- random functions of rows: each step keeps the shape (..., N)

STEPS: dict[str, Any] = {
    "sin": lambda l, x, w: l.sin(x),
    "tanh": lambda l, x, w: l.tanh(x * w[0]),
    "bell": lambda l, x, w: l.exp(-x * x),
    "log": lambda l, x, w: l.log(x * x + 1),
    "root": lambda l, x, w: l.sqrt(x * x + 0.5),
    "cube": lambda l, x, w: x**3 / 4,
    "reciprocal": lambda l, x, w: w[1] / (x * x + 2),
    "power": lambda l, x, w: l.sigmoid(x) ** w[2],
    "where": lambda l, x, w: l.where(x > w[0], x * x, l.cos(x)),
    "maximum": lambda l, x, w: l.maximum(x, w[1]),
    "product": lambda l, x, w: x @ w,
    "flip": lambda l, x, w: x * l.flip(x, (-1,)),
    "roll": lambda l, x, w: l.roll(x, 1, -1) - x * w[0],
    "running sum": lambda l, x, w: l.cumsum(x, -1),
    "running product": lambda l, x, w: l.cumprod(l.tanh(x) + 1.5, -1),
    "softmax": lambda l, x, w: l.softmax(x, -1),
    "logsumexp": lambda l, x, w: x - l.logsumexp(x * w[2], -1, True),
    "largest": lambda l, x, w: x * l.amax(x, -1, True),
    "all others": lambda l, x, w: x + l.prod(x, -1, True),
    "chosen": lambda l, x, w: x[..., [2, 0, 2]] * w[1],
    "part": lambda l, x, w: l.concat([x[..., 1:], -x[..., :1]], -1),
    "sorted": lambda l, x, w: l.sort(x, -1) * w[2],
    "outer": lambda l, x, w: (x[..., :, None] * l.cos(x)[..., None, :]).sum(-1),
    "turned": lambda l, x, w: (x[..., :, None] * w).swapaxes(-1, -2).sum(-1),
    "normal": lambda l, x, w: x / l.sqrt((x * x).sum(-1)[..., None] + 0.3),
    "solve": lambda l, x, w: l.solve(
        l.array([[2.0, 0.3, 0.1], [0.2, 3.0, 0.4], [0.1, 0.2, 2.5]])
        + 0.1 * l.sin(x[..., :, None] * x[..., None, :]),
        x[..., :, None],
    )[..., 0],
}


class Graph:
    """A random function from (..., N) to the same shape, the same one in every library."""

    def __init__(self, seed: int) -> None:
        dice = random.Random(seed)
        self.names = [dice.choice(sorted(STEPS)) for _ in range(dice.randint(2, 4))]
        self.joins = [dice.random() < 0.3 for _ in self.names]
        self.weights = [[dice.uniform(-1, 1) for _ in range(N)] for _ in range(N)]

    def on(self, lib: Any) -> Function:
        """Return the function in a library."""
        w = lib.array(self.weights)

        def function(x: Any) -> Any:
            y = x
            for name, join in zip(self.names, self.joins, strict=True):
                z = STEPS[name](lib, y, w)
                y = y * z if join else z
            return y

        return function


# -- transforms, each in ways that are equal; all map a function of one array to another

Shape = tuple[int, ...]


def _numbers(lib: Any, shape: Shape, seed: int) -> Any:
    dice = random.Random(seed)

    def nest(sizes: Shape) -> Any:
        return [nest(sizes[1:]) for _ in range(sizes[0])] if sizes else dice.uniform(-1, 1)

    return lib.array(nest(shape))


def _weighted(lib: Any, f: Function, shape: Shape) -> Function:
    return lambda x: (f(x) * _numbers(lib, shape, 1)).sum()


def _grad(lib: Any, f: Function, s: Shape, t: Shape, way: int) -> Function:
    g = _weighted(lib, f, t)
    if way == 0:
        return lib.grad(g)
    return lib.jacfwd(g) if way == 1 else lambda x: lib.vjp(f, x)[1](_numbers(lib, t, 1))[0]


def _value_and_grad(lib: Any, f: Function, s: Shape, t: Shape, way: int) -> Function:
    g = _weighted(lib, f, t)

    def both(x: Any) -> Any:
        value, found = lib.value_and_grad(g)(x) if way == 0 else (g(x), lib.grad(g)(x))
        return found * value

    return both


def _captured(lib: Any, f: Function, s: Shape, t: Shape, way: int) -> Function:
    """The derivative by one variable of a function that closes over the other."""

    def outer(x: Any) -> Any:
        g = _weighted(lib, lambda y: f(y) * lib.sin(x).sum() + f(x * y), t)
        return lib.grad(g)(lib.cos(x)) if way == 0 else lib.jacfwd(g)(lib.cos(x))

    return outer


def _jvp(lib: Any, f: Function, s: Shape, t: Shape, way: int) -> Function:
    def pushed(x: Any) -> Any:
        direction = _numbers(lib, s, 2) * lib.cos(x)
        if way == 0:
            return lib.jvp(f, (x,), (direction,))[1]
        if way == 1:
            return lib.linearized(f, x, direction)
        j = lib.jacrev(f)(x)
        return (j * direction).sum(tuple(range(len(t), len(t) + len(s))))

    return pushed


def _jacobian(lib: Any, f: Function, s: Shape, t: Shape, way: int) -> Function:
    return (lib.jacfwd, lib.jacrev)[way](f)


def _hessian(lib: Any, f: Function, s: Shape, t: Shape, way: int) -> Function:
    g = _weighted(lib, f, t)
    return lib.hessian(g) if way == 0 else lib.jacrev(lib.jacrev(g) if way == 1 else lib.grad(g))


def _vmap(axis: int) -> Any:
    def build(lib: Any, f: Function, s: Shape, t: Shape, way: int) -> Function:
        out = -1 if axis else 0
        if way == 0:
            return lib.vmap(f, axis, out)

        def loop(x: Any) -> Any:
            parts = [x[b] if axis == 0 else x[..., b] for b in range(x.shape[axis])]
            return lib.stack([f(part) for part in parts], out)

        return loop

    return build


def _checkpoint(lib: Any, f: Function, s: Shape, t: Shape, way: int) -> Function:
    return lib.checkpoint(f) if way == 0 else f


TRANSFORMS: dict[str, tuple[Any, int, Any]] = {  # how to build it, in how many ways; its shapes
    "grad": (_grad, 3, lambda s, t: (s, s)),
    "value_and_grad": (_value_and_grad, 2, lambda s, t: (s, s)),
    "captured": (_captured, 2, lambda s, t: (s, s)),
    "jvp": (_jvp, 3, lambda s, t: (s, t)),
    "jacobian": (_jacobian, 2, lambda s, t: (s, t + s)),
    "hessian": (_hessian, 3, lambda s, t: (s, s + s)),
    "vmap": (_vmap(0), 2, lambda s, t: ((2, *s), (2, *t))),
    "vmap of the last axis": (_vmap(-1), 2, lambda s, t: ((*s, 2), (*t, 2))),
    "checkpoint": (_checkpoint, 2, lambda s, t: (s, t)),
}


class Nest:
    """A random function under random transforms."""

    def __init__(self, seed: int, depth: int) -> None:
        self.graph, dice = Graph(seed), random.Random(seed + 1)
        s = t = dice.choice([(N,), (N,), (2, N)])
        self.levels: list[tuple[str, Shape, Shape]] = []
        while len(self.levels) < depth:
            name = dice.choice(sorted(TRANSFORMS))
            after = TRANSFORMS[name][2](s, t)
            if _size(after[0]) <= 40 and _size(after[1]) <= LARGEST:
                self.levels.append((name, s, t))
                s, t = after
        self.shape, self.result = s, t

    def __str__(self) -> str:
        names = [name for name, _, _ in self.levels]
        return f"{' of '.join(reversed(names))} of {self.graph.names} on {self.shape}"

    def run(self, lib: Any, ways: Any) -> Any:
        """Return the result in a library, each transform in one of its ways."""
        f = self.graph.on(lib)
        for (name, s, t), way in zip(self.levels, ways, strict=True):
            f = TRANSFORMS[name][0](lib, f, s, t, way)
        y = f(_numbers(lib, self.shape, 3) * 1.5)
        assert tuple(y.shape) == self.result
        return y


def _size(shape: Shape) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def _flat(y: Any) -> list[float]:
    return y.detach().reshape(-1).tolist()  # type: ignore[no-any-return]


def _compare(found: Any, expected: Any, what: str) -> None:
    a, b = _flat(found), _flat(expected)
    scale = max([1.0, *map(abs, b)])
    worst = max([abs(p - q) for p, q in zip(a, b, strict=True)], default=0.0)
    assert worst <= LIMIT * scale, f"{worst:.3g} of {scale:.3g} apart in {what}"


def _seeds(depth: int) -> list[Any]:
    return [
        pytest.param(1000 * depth + i, depth, marks=[] if i < FAST else pytest.mark.slow)
        for i in range(CASES)
    ]


NESTS = [case for depth in (1, 2, 3) for case in _seeds(depth)]


@pytest.mark.parametrize(("seed", "depth"), NESTS)
def test_all_ways_give_one_result(seed: int, depth: int, backend: str) -> None:
    nest, dice, lib = Nest(seed, depth), random.Random(seed + 2), Ours()
    first = [0] * depth
    expected = nest.run(lib, first)
    assert not expected.requires_grad
    other = [dice.randrange(1, TRANSFORMS[name][1]) for name, _, _ in nest.levels]
    _compare(nest.run(lib, other), expected, str(nest))


# torch's own forward mode warns of a part of torch that is on its way out.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
@pytest.mark.parametrize(("seed", "depth"), NESTS)
def test_torch_func_gives_the_same_result(seed: int, depth: int) -> None:
    nest, theirs = Nest(seed, depth), Theirs()
    for name in ("numpy", "torch"):
        at.use(name)
        _compare(nest.run(Ours(), [0] * depth), nest.run(theirs, [0] * depth), str(nest))


def test_a_wrong_result_would_be_found() -> None:
    """The comparison must be able to fail."""
    nest = Nest(3000, 3)
    y = nest.run(Ours(), [0] * 3)
    with pytest.raises(AssertionError, match="apart in"):
        _compare(y + 1e-6 * (1 + abs(y)), y, str(nest))
