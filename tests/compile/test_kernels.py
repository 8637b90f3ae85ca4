"""Edges of native kernels: special numbers, every dtype, odd sizes, lanes, threads.

Random programs stand in `test_random_graphs.py`, the accuracy of functions in
`test_mathematics.py`.
"""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atled as at

pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")

from atled.compile import threads
from atled.compile.native import host
from atled.compile.program import Program
from atled.core.graph import Graph, Value
from atled.dtypes import bool_, by_name, float32, int32
from tests.compile.programs import (
    Fence,
    compared,
    graph_of,
    leaf,
    reference,
    same_bits,
    tensors,
    traced,
)

of = Value.of

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e-40,
           -1e-40, 1e-30, 1e30, 3.4e38, 88.8, -104.0, 2.0**23 + 0.5, 2.0**31, 0.1, 7.0]  # fmt: skip
UNARY = """
negative abs sign sqrt square exp expm1 exp2 log log1p log2 log10 sin cos tan asin acos atan sinh
cosh tanh asinh acosh atanh floor ceil trunc round erf sigmoid isnan isinf isfinite signbit
""".split()
BINARY = """
add subtract multiply divide pow atan2 maximum minimum remainder floor_divide copysign hypot
logaddexp nextafter equal not_equal less less_equal greater greater_equal
""".split()
WHOLE = "int8 int16 int32 int64 uint8 uint16 uint32 uint64".split()
OF_WHOLE = """
add subtract multiply maximum minimum remainder floor_divide bitwise_and bitwise_or bitwise_xor
bitwise_left_shift bitwise_right_shift pow equal not_equal less less_equal greater greater_equal
""".split()
OF_BOOL = """
add multiply maximum minimum bitwise_and bitwise_or bitwise_xor logical_and logical_or logical_xor
equal not_equal less less_equal greater greater_equal
""".split()
REDUCTIONS = "sum prod max min argmax argmin".split()


def floats(*shape: int, dtype: Any = np.float32) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(dtype)


def pairs(values: Any) -> list[Any]:
    """Return each value with each other, as two arrays."""
    return [np.ascontiguousarray(side.ravel()) for side in np.meshgrid(values, values)]


def run(op: str, *arrays: Any, **static: Any) -> tuple[Any, Any]:
    """Return what an operation gives compiled, and with NumPy."""
    inputs = [leaf(x) for x in arrays]
    graph = Graph(inputs, [of(op, *inputs, **static)])
    (expected,), _ = reference(graph, arrays)
    return Program(graph).run(list(arrays))[0], expected


# -- numbers


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("op", UNARY + BINARY)
def test_special_numbers(op: str, dtype: Any) -> None:
    values = np.array(SPECIAL, dtype)
    arrays = [values] if op in UNARY else pairs(values)
    found, expected = run(op, *arrays)
    if found.dtype == np.bool_:
        assert found.tolist() == expected.tolist()
        return
    near = 1e-6 if dtype is np.float32 else 1e-14
    np.testing.assert_allclose(found, expected, rtol=near, atol=0)
    known = ~np.isnan(expected)
    assert (np.signbit(found) == np.signbit(expected))[known].all()


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("op", OF_WHOLE)
def test_whole_numbers(op: str, name: str) -> None:
    info = np.iinfo(name)
    some = [0, 1, 2, 3, 7, 63, 100, info.max, info.max - 1, info.min, info.min + 1]
    x, y = pairs(np.array(some + ([-1, -2, -7] if info.min else []), name))
    if op == "pow":
        y = np.abs(y % 5).astype(name)
    if "shift" in op:
        y = np.abs(y % 70).astype(name)
    found, expected = run(op, x, y)
    same_bits(found, expected)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("op", ["negative", "abs", "sign", "square", "bitwise_invert"])
def test_operations_on_one_whole_number(op: str, name: str) -> None:
    info = np.iinfo(name)
    same_bits(*run(op, np.array([0, 1, 2, 100, info.max, info.min, info.min + 1], name)))


@pytest.mark.parametrize("op", [*OF_BOOL, "bitwise_invert", "logical_not"])
def test_booleans(op: str) -> None:
    x, y = pairs(np.array([True, False] * 3))
    same_bits(*run(op, x, y) if op in OF_BOOL else run(op, x))


@pytest.mark.parametrize("to", ["bool", "float32", "float64", *WHOLE])
@pytest.mark.parametrize("name", ["bool", "float32", "float64", *WHOLE])
def test_conversions(name: str, to: str) -> None:
    values = np.array([0, 1, 2, 7, 100, 0, 1, 127], name)
    if name[0] == "f":
        values = np.array([0.0, -0.0, 0.5, 1.5, 2.5, 99.9, 127.0], name)
    elif name != "bool":
        values = np.append(values, np.array([np.iinfo(name).max, np.iinfo(name).min], name))
    same_bits(*run("astype", values, dtype=by_name(to)))


# -- reductions


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions_of_special_numbers(op: str, axis: int) -> None:
    x = floats(5, 37)
    x[1, 5], x[2, :], x[3, 7], x[3, 20], x[4, :] = np.nan, np.inf, 9.0, 9.0, np.nan
    zeros = np.array([[0.0, -0.0, 0.0], [-0.0, 0.0, -0.0]], np.float32)
    ties = np.random.default_rng(0).integers(0, 3, (40, 50)).astype(np.float32)
    for array in (x, x.T.copy(), zeros, ties, np.full((3, 20), -np.inf, np.float32)):
        value = leaf(array)
        turned = of("permute_dims", value, axes=(1, 0))
        compared(graph_of(of(op, value, axis=(axis,)), of(op, turned, axis=(axis,))), [array])


@pytest.mark.parametrize("name", [*WHOLE, "bool"])
def test_reductions_of_whole_numbers(name: str) -> None:
    x = np.random.default_rng(0).integers(0, 100, (5, 37)).astype(name)
    value = leaf(x)
    ops = ["all", "any", "argmax", "argmin", "max", "min"] if name == "bool" else REDUCTIONS
    values = [of(op, value, axis=(axis,)) for op in ops for axis in (0, 1)]
    values += [of(op, value, axis=(0, 1)) for op in ops if not op.startswith("arg")]
    compared(Graph([value], values), [x])


LARGE = [
    ((1_000_000,), (0,)), ((999_983,), (0,)), ((1000, 1001), (0,)), ((1000, 1001), (1,)),
    ((1000, 1001), (0, 1)), ((3, 333_333), (1,)), ((333_333, 3), (0,)), ((64, 4099), (1,)),
    ((17, 50_003), (1,)), ((2, 250_000, 2), (1,)), ((2, 3, 4, 5, 6), (0, 2, 4)), ((1, 1), (0, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "axes"), LARGE)
def test_large_reductions(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x, whole = floats(*shape), (floats(*shape, dtype=np.float64) * 10).astype(np.int32)
    arrays = [x, whole, whole > 3]
    f, i, b = (leaf(a) for a in arrays)
    values = [of(op, v, axis=axes) for op in ("sum", "max", "min") for v in (f, i)]
    values += [of("all", b, axis=axes), of("any", b, axis=axes)]
    if len(axes) == 1:
        values += [of(op, v, axis=axes) for op in ("argmax", "argmin") for v in (f, i, b)]
    compared(Graph([f, i, b], values), arrays)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 16, 17, 33])
def test_rows_along_any_axis(n: int, axis: int) -> None:
    def function(x: Any) -> Any:
        y = at.softmax(x, axis=axis)
        centred = x - x.mean(axis=axis, keepdims=True)
        z = centred / at.sqrt((centred**2).mean(axis=axis, keepdims=True) + 0.1)
        return [y, z, *at.autograd.grad((y * y).sum() + (z**3).sum(), [x])]

    for shape in ((n, 5, 3), (3, n, 17), (2, 33, n)):
        compared(*traced(function, *tensors(floats(*shape))))


# -- movement


def test_permutations_of_five_axes() -> None:
    dice = random.Random(1)
    for _ in range(20):
        x = floats(*[dice.choice((1, 2, 3, 4, 5, 7, 8)) for _ in range(5)])
        axes = dice.sample(range(5), 5)
        turned = of("permute_dims", leaf(x), axes=tuple(axes))
        flat = of("exp", of("reshape", turned, shape=(x.size,)))
        compared(graph_of(turned, flat, of("sum", turned, axis=(dice.randrange(5),))), [x])


@pytest.mark.parametrize("step", [-3, -2, -1, 2, 3, 5])
@pytest.mark.parametrize("n", [1, 5, 16, 33])
def test_slices_in_steps(n: int, step: int) -> None:
    def function(x: Any) -> Any:
        y, z = x[::step], x[:, ::step]
        total = (y**2).sum() + (z**3).sum() + (x[::step, ::-1] * 2).exp().sum()
        rows = at.exp(y.mT)
        return [y * 2, z.argmax(axis=1), rows.sum(axis=0), rows.sum(axis=1),
                *at.autograd.grad(total, [x])]  # fmt: skip

    compared(*traced(function, *tensors(floats(n, n))))


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1), (0,), (3, 0), (2, 1, 3)])
def test_small_shapes(shape: tuple[int, ...]) -> None:
    def function(x: Any, y: Any) -> Any:
        z = at.tanh(x * y + 1) / 3
        results = [z, z.sum(), z.reshape(-1) if z.size else z, at.stack([z, x]), z > 0]
        return [*results, *at.autograd.grad(z.sum(), [x, y])]

    compared(*traced(function, *tensors(floats(*shape), floats())))


@pytest.mark.parametrize("to", [bool_, int32, float32], ids=lambda d: d.name)
@pytest.mark.parametrize("name", ["int64", "float64"])
def test_a_store_of_one_narrowed_lane_stays_within_its_array(name: str, to: Any) -> None:
    """LLVM 20 stores the whole int64 for the only lane of a vector of int32."""
    for n in (1, 9, 17, 33):  # one more than vectors of any width hold
        arrays = [np.arange(n).astype(name), np.arange(4 * n).reshape(4, n).astype(name)]
        row, x = inputs = [leaf(a) for a in arrays]
        total = of("add", x, of("broadcast_to", row, shape=(4, n)))
        compared(Graph(inputs, [of("astype", total, dtype=to)]), arrays)


# -- lanes and threads


def everything(x: Any, w: Any, b: Any) -> Any:
    """Return values and gradients through products, rows, columns, scans, places and indices."""
    h = at.tanh(x @ w + b)
    rows, columns = at.softmax(h, axis=-1), at.softmax(h, axis=0)
    joined = at.concat([at.pad(h, [(1, 1), (0, 3)])[1:-1, :-3], h * 2], 1)
    picked = at.take(h, [0, 3, 5, 3], axis=0).sum(axis=0)
    total = (rows * columns).sum() + h.cumulative_sum(axis=0).mean() + joined.std()
    total = total + (picked**2).sum() + x.max(axis=0).sum() + x.sum() * x.mean()
    return [total, h, rows, columns, joined, *at.autograd.grad(total, [x, w, b])]


@pytest.fixture
def any_threads() -> Iterator[None]:
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


@pytest.mark.usefixtures("any_threads")
def test_results_do_not_depend_on_the_number_of_threads() -> None:
    graph, arrays = traced(everything, *tensors(floats(333, 129), floats(129, 65), floats(65)))
    program = compared(graph, arrays)
    assert not program.is_small
    expected = program.run(list(arrays))
    for count in (1, 2, 5):
        threads.set_num_threads(count)
        for _ in range(3):
            for a, b in zip(program.run(list(arrays)), expected, strict=True):
                same_bits(a, b, f"with {count} threads")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_elementwise_results_do_not_depend_on_the_width_of_vectors(
    dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = pairs(np.append(np.array(SPECIAL, dtype), floats(20, dtype=dtype)))
    inputs = [leaf(x), leaf(y)]
    values = [of(op, inputs[0]) for op in UNARY] + [of(op, *inputs) for op in BINARY]
    graph = Graph(inputs, values)
    expected = Program(graph).run([x, y])
    for width in (8, 16, 32, 64):
        monkeypatch.setattr(host(), "vector_bytes", width)
        for v, a, b in zip(values, Program(graph).run([x, y]), expected, strict=True):
            if a.dtype != np.bool_:  # the sign of a NaN is not said
                a, b = (np.where(np.isnan(r), 1, r) for r in (a, b))
            same_bits(a, b, f"{v.op} with vectors of {width} bytes")


@pytest.mark.parametrize("width", [8, 16, 32, 64])
def test_programs_for_any_width_of_vectors(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host(), "vector_bytes", width)
    compared(*traced(everything, *tensors(floats(33, 19), floats(19, 7), floats(7))))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "darwin", reason="the baseline is an x86-64's")
def test_the_least_processor_gives_the_same() -> None:
    if not host().triple.startswith("x86_64"):
        pytest.skip("the baseline is an x86-64's")
    test = f"{Path(__file__)}::test_rows_along_any_axis"
    ours = {**os.environ, "ATLED_CPU": "x86-64"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        env=ours, capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


# -- the check itself


def test_the_fence_finds_a_write_beside_an_array() -> None:
    fence = Fence()
    x = fence.empty((5,), np.float32)
    fence.check()
    np.lib.stride_tricks.as_strided(x, (6,))[5] = 1.0
    with pytest.raises(AssertionError, match="beside an array of 20 bytes"):
        fence.check()


def test_programs_live_within_the_fence() -> None:
    x = floats(5)
    with Fence() as fence:
        program = Program(graph_of(of("exp", leaf(x))))
    (y,) = program.run([x])
    assert any(np.shares_memory(whole, y) for whole, _, _ in fence.kept)
