"""What simplification does, what it must leave alone, and that results keep every bit."""

from typing import Any

import numpy as np
import pytest

import atled as at

pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")

from atled.compile.program import Program
from atled.compile.simplify import LONG, PART, simplified
from atled.core.graph import Graph, GraphError, Value, parse, verify
from atled.dtypes import bool_, float32, float64, int64
from tests.compile.primitives import RandomGraph
from tests.compile.programs import (
    compared,
    constant,
    examined,
    graph_of,
    leaf,
    reference,
    same_bits,
    tensors,
    traced,
)
from tests.compile.test_records import _cases
from tests.ops.subjects import differentiable, operands_of, perform

of = Value.of
X = leaf(np.zeros((3, 4), np.float32))
FLAG = leaf(np.zeros((3, 4), np.bool_))
WHOLE = leaf(np.zeros((3, 4), np.int32))
SPECIAL = np.array([0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 1e-40, -1e-45, 3e38])


def kept(value: Value) -> bool:
    """Say whether simplification leaves a value as it is."""
    before = graph_of(value)
    return simplified(before) == before


def becomes(value: Value, expected: Value) -> bool:
    inputs = graph_of(value).inputs
    return simplified(Graph(inputs, [value])) == Graph(inputs, [expected])


@pytest.mark.parametrize(("subject", "sample"), _cases())
def test_graphs_of_all_operations_are_well_formed(subject: Any, sample: Any) -> None:
    operands = operands_of(subject, sample, at.float32)
    if differentiable(subject):
        operands = tensors(*[x.numpy() for x in operands])

    def function(*xs: Any) -> Any:
        results = perform(subject, xs, sample.static)
        results = list(results) if isinstance(results, (tuple, list)) else [results]
        ends = [y.sum() for y in results if y.requires_grad]
        wanted = [x for x in xs if x.requires_grad]
        return results + [at.autograd.grad(y, wanted, materialize_grads=True) for y in ends]

    examined(traced(function, *operands)[0])


def test_simplifying_again_changes_nothing() -> None:
    for seed in range(300):
        once = simplified(RandomGraph(seed).graph)
        assert simplified(once) == once, f"seed {seed}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (of("multiply", X, constant(1.0, X)), X),
        (of("multiply", constant(1.0, X), X), X),
        (of("divide", X, constant(1.0, X)), X),
        (of("subtract", X, constant(0.0, X)), X),
        (of("pow", X, constant(1.0, X)), X),
        (of("negative", of("negative", X)), X),
        (of("logical_not", of("logical_not", FLAG)), FLAG),
        (of("where", constant(True, FLAG), X, of("exp", X)), X),
        (of("where", constant(False, FLAG), of("exp", X), X), X),
        (of("where", FLAG, X, X), X),
        (of("astype", X, dtype=float32), X),
        (of("divide", X, constant(8.0, X)), of("multiply", X, constant(0.125, X))),
        (of("reshape", of("reshape", X, shape=(12,)), shape=(3, 4)), X),
        (of("permute_dims", of("permute_dims", X, axes=(1, 0)), axes=(1, 0)), X),
        (of("slice", X, index=((0, 3, 1), (0, 4, 1))), X),
        (of("place", X, index=((0, 3, 1), (0, 4, 1)), shape=(3, 4)), X),
        (of("broadcast_to", X, shape=(3, 4)), X),
        (of("max", X, axis=(0, 1)), of("max", of("reshape", X, shape=(12,)), axis=(0,))),
        (of("sum", of("reshape", X, shape=(3, 4, 1)), axis=(2,)), X),
        (of("add", constant(2.0, X), constant(3.0, X)), constant(5.0, X)),
        (of("sqrt", constant(4.0, X)), constant(2.0, X)),
    ],
    ids=lambda v: v.op,
)
def test_what_is_simplified(value: Value, expected: Value) -> None:
    assert becomes(value, expected)


@pytest.mark.parametrize(
    "value",
    [
        of("add", X, constant(0.0, X)),  # -0 + 0 is 0
        of("subtract", X, constant(-0.0, X)),  # and so is -0 - -0
        of("subtract", constant(0.0, X), X),  # 0 - 0 is 0, -(0) is not
        of("multiply", X, constant(0.0, X)),  # NaN
        of("subtract", X, X),  # inf - inf
        of("divide", X, X),
        of("divide", X, constant(3.0, X)),
        of("divide", X, constant(2.0**-140, X)),  # whose inverse is no float32
        of("equal", X, X),  # NaN
        of("multiply", WHOLE, constant(0, WHOLE)),
        of("maximum", X, X),
    ],
    ids=lambda v: v.op,
)
def test_what_would_not_be_exact_stays(value: Value) -> None:
    assert kept(value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("number", [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0, 2.0**-140, np.inf])
@pytest.mark.parametrize("op", ["add", "subtract", "multiply", "divide", "maximum", "copysign"])
def test_operations_with_a_number_keep_every_bit(op: str, number: float, dtype: Any) -> None:
    array = SPECIAL.astype(dtype)
    x = leaf(array)
    graph = Graph([x], [of(op, x, constant(number, x)), of(op, constant(number, x), x)])
    expected, _ = reference(graph, [array])
    for ours, theirs in zip(Program(graph).run([array]), expected, strict=True):
        number_bits = np.where(np.isnan(ours), dtype(np.nan), ours)
        same_bits(number_bits, np.where(np.isnan(theirs), dtype(np.nan), theirs))


def test_one_thing_is_computed_once() -> None:
    a, b = of("exp", X), of("exp", X)
    assert len(simplified(graph_of(of("add", a, b))).values) == 3
    different = of("add", constant(0.0, X), constant(-0.0, X))
    assert simplified(graph_of(different)) == graph_of(constant(0.0, X))


def test_what_is_repeated_is_computed_before() -> None:
    row = leaf(np.zeros(4, np.float32))
    wide = of("broadcast_to", row, shape=(3, 4))
    value = of("multiply", of("exp", wide), constant(2.0, wide))
    small = of("multiply", of("exp", row), constant(2.0, row))
    assert becomes(value, of("broadcast_to", small, shape=(3, 4)))


def test_a_long_reduction_is_cut_in_parts() -> None:
    x = leaf(np.zeros(8 * LONG, np.float32))
    sums = [v for v in simplified(graph_of(of("sum", x, axis=(0,)))).values if v.op == "sum"]
    assert len(sums) == 2
    assert sums[0].shape[0] > 1
    assert sums[0].inputs[0].shape[-1] >= PART
    short = leaf(np.zeros(LONG - 1, np.float32))
    assert len(simplified(graph_of(of("sum", short, axis=(0,)))).values) == 2


@pytest.mark.parametrize("op", ["argmax", "argmin"])
def test_places_are_not_cut_in_parts(op: str) -> None:
    x = leaf(np.zeros(8 * LONG, np.float32))
    assert kept(of(op, x, axis=(0,)))


def test_nothing_is_left_of_values_without_elements() -> None:
    x = leaf(np.zeros((0, 4), np.float32))
    y = of("sum", of("exp", of("add", x, x)), axis=(0,))
    assert becomes(y, constant(0.0, y))
    z = of("all", of("equal", x, x), axis=(0, 1))
    assert becomes(z, constant(True, z))
    product = of("matmul", of("permute_dims", x, axes=(1, 0)), x)
    assert becomes(product, constant(0.0, product))
    row = leaf(np.zeros((1, 4), np.float32))
    assert becomes(of("concat", x, row, x, axis=0), row)


@pytest.mark.parametrize("op", ["max", "min", "argmax", "argmin"])
def test_an_extreme_of_no_elements_is_an_error(op: str) -> None:
    x = leaf(np.zeros((0, 4), np.float32))
    with pytest.raises(GraphError, match=f"{op} of no elements"):
        Program(graph_of(of(op, x, axis=(0,))))


def test_constants_fold_as_numpy_computes_them() -> None:
    one = Value("constant", (), {"value": 1.0, "dtype": float64}, (), float64)
    value = of("astype", of("divide", one, constant(3.0, one)), dtype=float32)
    (folded,) = simplified(graph_of(value)).outputs
    assert folded.static["value"] == np.float32(1.0 / 3.0).item()
    inverse = of("divide", one, constant(0.0, one))
    assert simplified(graph_of(inverse)).outputs[0].static["value"] == np.inf


def test_outputs_that_become_one_value_have_memory_of_their_own() -> None:
    a, b = np.ones((5, 7), np.float32), np.full((5, 7), 2.0, np.float32)
    x, y = leaf(a), leaf(b)
    twice = [of("add", x, y), of("add", x, y)]
    compared(Graph([x, y], twice), [a, b])
    compared(Graph([x, y], twice), [a, b], {0: 0})
    compared(Graph([x, y], twice), [a, b], {0: 0, 1: 1})
    zeros = [constant(0.0, x), constant(0.0, y)]
    compared(Graph([x, y], zeros), [a, b], {0: 0, 1: 1})


def test_an_output_that_becomes_an_input_is_copied() -> None:
    a, b = np.ones((5, 7), np.float32), np.full((5, 7), 2.0, np.float32)
    x, y = leaf(a), leaf(b)
    (result,) = Program(Graph([x], [of("multiply", x, constant(1.0, x))])).run([a])
    assert not np.shares_memory(result, a)
    compared(Graph([x, y], [y, x]), [a, b], {0: 0, 1: 1})
    compared(Graph([x, y], [x, of("add", x, y)]), [a, b], {0: 0})


def test_the_text_form_keeps_every_static_parameter() -> None:
    x = leaf(np.zeros((4, 5), np.float64))
    odd = of("slice", x, index=((3, None, -1), (1, 5, 2)))
    values = [odd, of("multiply", odd, constant(-np.inf, odd)),
              of("add", odd, constant(np.nan, odd)), of("astype", odd, dtype=bool_),
              of("argmax", odd, axis=(1,)),
              of("argsort", odd, axis=0, descending=True),
              of("astype", odd, dtype=int64)]  # fmt: skip
    graph = graph_of(*values)
    again = verify(parse(str(graph)))
    assert str(again) == str(graph)
    for a, b in zip(graph.values, again.values, strict=True):
        assert sorted(map(repr, a.static.items())) == sorted(map(repr, b.static.items()))
