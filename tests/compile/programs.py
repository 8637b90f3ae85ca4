"""What the tests of compiled programs share: a traced graph, and a program held against NumPy.

`compared` puts one graph through everything at once: the verifier before and after
simplification, the text form and back, and the program's results against those of the same graph
computed operation by operation.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import atled as at
from atled.backends.protocol import load
from atled.compile.interpret import perform
from atled.compile.program import Program
from atled.compile.simplify import simplified
from atled.core.graph import Graph, Value, parse, verify
from atled.core.guard import Environment
from atled.core.tensor import Tensor
from atled.core.trace import Trace
from atled.dtypes import by_name
from atled.testing import TOLERANCES
from atled.tree import flatten

__all__ = [
    "Fence", "compared", "constant", "examined", "graph_of", "leaf", "reference", "same_bits",
    "tensors", "traced",
]  # fmt: skip

Array = Any  # a numpy.ndarray


def traced(function: Callable[..., Any], *operands: Tensor) -> tuple[Graph, list[Array]]:
    """Trace a function of Tensors; return its graph and what to run it on.

    Outputs are the Tensors of the result, in order, and then what each call would check.
    """
    leaves = list(dict.fromkeys(operands))
    with Trace(Environment(_nothing, []), leaves) as trace:
        results = [x for x in flatten(function(*operands))[0] if isinstance(x, Tensor)]
        outputs = [x._value.value for x in results]
        record = trace.finish(None)
    outputs += [value for value, _ in record.checks]
    graph = Graph([value for value, _ in record.inputs], outputs)
    given = []
    for _, (_, of, *_) in record.inputs:
        source = leaves[of] if isinstance(of, int) else of
        given.append(np.asarray(source.detach().numpy() if isinstance(source, Tensor) else source))
    return graph, given


def _nothing() -> None:
    """Reach no Tensor."""


def leaf(array: Array) -> Value:
    """Return an input of a graph that is like an array."""
    return Value("input", (), {}, array.shape, by_name(array.dtype.name))


def constant(number: Any, like: Value, shape: tuple[int, ...] | None = None) -> Value:
    """Return a number as large and of the dtype of another value."""
    typed = np.asarray(number).astype(like.dtype.name).item()
    one = Value("constant", (), {"value": typed, "dtype": like.dtype}, (), like.dtype)
    shape = like.shape if shape is None else shape
    return Value.of("broadcast_to", one, shape=shape) if shape else one


def graph_of(*outputs: Value) -> Graph:
    """Return the graph of some values; its inputs in the order in which they are met."""
    inputs = dict.fromkeys(v for v in Graph([], outputs).values if v.op == "input")
    return Graph(list(inputs), outputs)


def examined(graph: Graph) -> Graph:
    """Return a graph that is well formed, is its own text, and stays so when simplified."""
    verify(graph)
    assert parse(str(graph)) == graph
    simple = verify(simplified(graph))
    assert parse(str(simple)) == simple
    assert [(v.shape, v.dtype) for v in simple.outputs] == [
        (v.shape, v.dtype) for v in graph.outputs
    ]
    return simple


def reference(graph: Graph, arrays: Sequence[Array]) -> tuple[list[Array], list[float]]:
    """Compute a graph with NumPy, one operation after another.

    Returns:
        The outputs; and for each how far a float may be off: the tolerance of the least precise
        dtype, times the largest finite number, of all that it was computed from.
    """
    xp = load("numpy")
    known: dict[Value, Array] = dict(zip(graph.inputs, arrays, strict=True))
    scale: dict[Value, float] = {}
    precision: dict[Value, float] = {}
    with np.errstate(all="ignore"):
        for v in graph.values:
            if v not in known:
                y = perform(v, xp, [known[x] for x in v.inputs])
                known[v] = np.asarray(y, v.dtype.name)
                assert known[v].shape == v.shape, f"{v!r} is {known[v].shape} in NumPy"
            scale[v] = max([_largest(known[v]), *[scale[x] for x in v.inputs]])
            own = TOLERANCES[v.dtype.name].rtol if v.dtype.is_floating_point else 0.0
            precision[v] = max([own, *[precision[x] for x in v.inputs]])
    return [known[v] for v in graph.outputs], [precision[v] * scale[v] for v in graph.outputs]


def _largest(y: Array) -> float:
    if y.dtype.kind != "f" or not y.size:
        return 1.0
    finite = np.abs(y[np.isfinite(y)].astype(np.float64))
    return max(1.0, float(finite.max(initial=0.0)))


class Fence:
    """Memory with canaries before and behind each array, and nothing but garbage in it.

    While it is entered, `numpy.empty` gives such arrays, and what is made then (a program: its
    arena, its results) keeps that function. A write outside of an array is found by `check`.
    """

    WIDTH, CANARY = 256, 0xA5

    def __init__(self) -> None:
        self._plain = np.empty
        self.kept: list[tuple[Array, int, int]] = []

    def __enter__(self) -> "Fence":
        np.empty = self.empty  # type: ignore[misc, assignment]
        return self

    def __exit__(self, *exc: object) -> None:
        np.empty = self._plain  # type: ignore[misc]

    def empty(self, shape: Any, dtype: Any = float, **options: Any) -> Array:
        """Return a fresh array of this memory."""
        kind = np.dtype(dtype)
        axes = (shape,) if isinstance(shape, int) else tuple(shape)
        size = math.prod(axes) * kind.itemsize
        whole = self._plain(size + 2 * self.WIDTH + 64, np.uint8)
        whole[:] = self.CANARY
        start = self.WIDTH + -(whole.ctypes.data + self.WIDTH) % 64
        self.kept.append((whole, start, start + size))
        return whole[start : start + size].view(kind).reshape(axes)

    def copy(self, x: Array) -> Array:
        """Return a copy in this memory."""
        made = self.empty(x.shape, x.dtype)
        made[...] = x
        return made

    def check(self) -> None:
        """Raise if something was written beside an array."""
        for whole, start, end in self.kept:
            for part in (whole[:start], whole[end:]):
                assert (part == self.CANARY).all(), f"beside an array of {end - start} bytes"


def compared(
    graph: Graph, arrays: Sequence[Array], aliases: dict[int, int] | None = None
) -> Program:
    """Compile a graph, run it twice, and compare with NumPy; return the program.

    Floats may differ by the tolerance of their dtype, relative to the largest number that they
    were computed from; everything else, and NaN and infinity, must be the same. Where float32
    falls short of that, the program may be as far from the result in float64 as NumPy is itself.
    Where a rounding error decides a comparison, the program may decide as NumPy does for inputs
    that differ in their last digit.
    """
    examined(graph)
    aliases = aliases or {}
    arrays = [np.asarray(x) for x in arrays]
    expected, limits = reference(graph, arrays)
    with Fence() as fence:
        program = Program(graph, aliases)
    for _ in range(2):  # the second run finds an arena that is not fresh
        given = [fence.copy(x) for x in arrays]
        found = program.run(list(given))
        fence.check()
        for k, (x, before) in enumerate(zip(given, arrays, strict=True)):
            if k not in aliases.values():
                same_bits(x, before, f"input {k} was written")
        for i, (a, b, limit) in enumerate(zip(found, expected, limits, strict=True)):
            assert i not in aliases or not a.size or a is given[aliases[i]]
            assert not any(a.size and np.shares_memory(a, other) for other in found[:i])
            if not _differs(a, b, limit) or _as_good(graph, arrays, i, a, b):
                continue
            if not _on_a_step(graph, arrays, i, a, limit):
                raise AssertionError(_description(graph, i, a, b))
    return program


def _differs(a: Array, b: Array, limit: float) -> bool:
    assert a.shape == b.shape, f"{a.shape} instead of {b.shape}"
    assert a.dtype == b.dtype, f"{a.dtype} instead of {b.dtype}"
    if a.dtype.kind != "f":
        return not np.array_equal(a, b)
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return True
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite & ~np.isnan(b)], b[~finite & ~np.isnan(b)]):
        return True
    return bool(_error(a[finite], b[finite]) > limit)


def _error(a: Array, b: Array) -> float:
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0))


def _as_good(graph: Graph, arrays: Sequence[Array], i: int, a: Array, b: Array) -> bool:
    """Say whether a float32 result is about as near to that of float64 as NumPy's own."""
    if a.dtype != np.float32 or not np.isfinite(b).all() or not np.isfinite(a).all():
        return False
    text = str(graph).replace("float32", "float64")
    wide = [x.astype(np.float64) if x.dtype == np.float32 else x for x in arrays]
    exact = reference(parse(text), wide)[0][i]
    return _error(a, exact) <= 4 * _error(b, exact)


def _on_a_step(graph: Graph, arrays: Sequence[Array], i: int, a: Array, limit: float) -> bool:
    """Say whether a result lies within what NumPy gives for inputs a rounding error apart."""
    dice, drawn = np.random.default_rng(0), []
    for _ in range(16):
        nudged = [x if x.dtype.kind != "f" else
                  x * (1 + dice.integers(-2, 3, x.shape) * np.finfo(x.dtype).eps).astype(x.dtype)
                  for x in arrays]  # fmt: skip
        drawn.append(reference(graph, nudged)[0][i].astype(np.float64))
    apart = (a < np.min(drawn, axis=0) - limit) | (a > np.max(drawn, axis=0) + limit)
    return not apart.any() and bool(np.isfinite(drawn).all())


def _description(graph: Graph, i: int, a: Array, b: Array) -> str:
    with np.errstate(all="ignore"):
        apart = np.abs(a.astype(np.float64) - b.astype(np.float64))
    apart = np.where((a == b) | ((a != a) & (b != b)), 0.0, np.where(apart == apart, apart, np.inf))
    worst = np.unravel_index(int(np.argmax(apart)), a.shape)
    return (
        f"output {i}, {graph.outputs[i]!r}: {a[worst]!r} instead of {b[worst]!r} at {worst}, "
        f"{np.count_nonzero(apart)} of {a.size} differ, in\n{graph}\n"
        f"simplified\n{simplified(graph)}"
    )


def same_bits(a: Array, b: Array, what: str = "results differ") -> None:
    """Raise unless two arrays have the same bits."""
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    assert np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes(), what


def tensors(*arrays: Array) -> list[Tensor]:
    """Return Tensors of arrays; those of floats want gradients."""
    found = [at.asarray(np.asarray(a)) for a in arrays]
    return [t.requires_grad_() if t.dtype.is_floating_point else t for t in found]
