"""Results written over an input's memory: after everything that reads it, or by way of the arena.

The random graphs of `test_random_graphs.py` do this with random outputs and inputs.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")

from atled.compile import threads
from atled.compile.program import Program
from atled.core.graph import Graph, Value
from tests.compile.programs import compared, constant, leaf

of = Value.of
SIZES = (1, 3, 16, 17, 300)


def turned(x: Value) -> Value:
    return of("permute_dims", x, axes=(1, 0))


def flipped(x: Value) -> Value:
    n, m = x.shape
    return of("slice", x, index=((n - 1, None, -1), (0, m, 1)))


def softmax(x: Value, axis: int) -> Value:
    e = of("exp", x)
    kept = tuple([1 if i == axis else n for i, n in enumerate(x.shape)])
    total = of("reshape", of("sum", e, axis=(axis,)), shape=kept)
    return of("divide", e, of("broadcast_to", total, shape=x.shape))


def moments(x: Value, y: Value) -> list[Value]:
    """Return two states, of which one is computed from the other's new value."""
    m = of("add", of("multiply", x, constant(0.9, x)), of("multiply", y, constant(0.1, y)))
    return [m, of("subtract", y, of("multiply", m, constant(0.5, m)))]


def late(x: Value, y: Value) -> list[Value]:
    """Return what takes x's memory, and something that is the first in its pass to read x."""
    most = of("reshape", of("max", x, axis=(1,)), shape=(x.shape[0], 1))
    wide = of("broadcast_to", most, shape=x.shape)
    return [wide, of("subtract", x, wide)]


Case = Callable[[Value, Value], list[Value]]
CASES: dict[str, tuple[Case, dict[int, int]]] = {
    "itself": (lambda x, y: [of("add", x, y)], {0: 0}),
    "turned": (lambda x, y: [of("add", turned(x), y)], {0: 0}),
    "itself and turned": (lambda x, y: [of("add", of("exp", turned(x)), x)], {0: 0}),
    "flipped": (lambda x, y: [of("add", flipped(x), y)], {0: 0}),
    "read by another step": (lambda x, y: [of("add", x, y), of("matmul", x, y)], {0: 0}),
    "read by a later step": (
        lambda x, y: [of("add", x, y), of("matmul", of("add", x, y), x)],
        {0: 0},
    ),
    "a product": (lambda x, y: [of("matmul", x, y)], {0: 0}),
    "exchanged": (lambda x, y: [of("add", y, y), of("add", x, x)], {0: 0, 1: 1}),
    "copied crosswise": (lambda x, y: [y, x], {0: 0, 1: 1}),
    "both of both": (lambda x, y: [of("add", x, y), of("subtract", x, y)], {0: 0, 1: 1}),
    "rows": (lambda x, y: [softmax(x, 1)], {0: 0}),
    "columns": (lambda x, y: [softmax(x, 0)], {0: 0}),
    "scan": (lambda x, y: [of("cumulative_sum", x, axis=0)], {0: 0}),
    "one state of another": (moments, {0: 0, 1: 1}),
    "read late in its pass": (late, {0: 0}),
    "reset": (lambda x, y: [constant(0.0, x), constant(0.0, y)], {0: 0, 1: 1}),
    "moved on": (lambda x, y: [y, of("add", x, y)], {0: 0, 1: 1}),
    "also a result": (lambda x, y: [of("add", x, y), of("add", x, y)], {0: 0}),
}


def case(name: str, n: int) -> tuple[Graph, list[np.ndarray], dict[int, int]]:
    arrays = [np.random.default_rng(i).normal(size=(n, n)).astype(np.float32) for i in range(2)]
    inputs = [leaf(a) for a in arrays]
    outputs, aliases = CASES[name]
    return Graph(inputs, outputs(*inputs)), arrays, aliases


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", CASES)
def test_in_place(name: str, n: int) -> None:
    compared(*case(name, n))


@pytest.fixture
def five_threads() -> Iterator[None]:
    before = threads.get_num_threads()
    threads.set_num_threads(5)
    yield
    threads.set_num_threads(before)


@pytest.mark.usefixtures("five_threads")
@pytest.mark.parametrize("name", CASES)
def test_in_place_on_several_threads(name: str) -> None:
    for _ in range(3):
        compared(*case(name, 257))


@pytest.mark.parametrize("name", ["itself", "rows", "both of both", "one state of another"])
def test_what_can_be_written_in_place_is(name: str) -> None:
    graph, _, aliases = case(name, 17)
    schedule = Program(graph, aliases).schedule
    assert not schedule.copied
    assert len(schedule.inplace) == len(aliases)


@pytest.mark.parametrize("name", ["turned", "flipped", "a product", "read late in its pass"])
def test_what_is_read_elsewhere_goes_through_the_arena(name: str) -> None:
    graph, _, aliases = case(name, 17)
    schedule = Program(graph, aliases).schedule
    assert len(schedule.copied) == len(aliases)
    assert not schedule.inplace


def test_indices_into_the_array_that_is_replaced() -> None:
    for op in ("gather_nd", "scatter_nd_add", "scatter_nd_set"):
        arrays = [np.arange(20, dtype=np.float64).reshape(5, 4), np.ones((5, 4)),
                  np.array([4, 0, 3, 1, 2])]  # fmt: skip
        x, y, places = inputs = [leaf(a) for a in arrays]
        operands = (x, places) if op == "gather_nd" else (x, y, places)
        compared(Graph(inputs, [of(op, *operands)]), arrays, {0: 0})
        if op != "gather_nd":
            compared(Graph(inputs, [of(op, *operands)]), arrays, {0: 1})
