"""Pooling of planes and its gradients, element by element, against loops over windows."""

import ctypes
import itertools

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")

from atled.compile import pooling
from atled.compile.native import Library, host
from atled.compile.pooling import Pooling

DTYPES = ["float32", "float64"]


def windows(p):
    """Yield (place in the result, [(number, place in the plane or None)]) of each window."""
    for at in itertools.product(*map(range, p.out)):
        seen = []
        for number, k in enumerate(itertools.product(*map(range, p.kernel))):
            where = [
                i * s - pad + j * d
                for i, s, pad, j, d in zip(at, p.stride, p.padding, k, p.dilation, strict=True)
            ]
            inside = all(0 <= i < n for i, n in zip(where, p.spatial, strict=True))
            seen.append((number, tuple(where) if inside else None))
        yield at, seen


def max_reference(p, x, g):
    """Return maxima, which place won, and the gradient: the first largest, or the last NaN."""
    y, index = np.zeros((p.planes, *p.out), x.dtype), np.zeros((p.planes, *p.out), int)
    gradient = np.zeros(x.shape)
    for plane, (at, seen) in itertools.product(range(p.planes), windows(p)):
        values = [x[plane][where] if where else -np.inf for _, where in seen]
        best = 0
        for number, value in enumerate(values):
            if value > values[best] or np.isnan(value):
                best = number
        y[plane][at], index[plane][at] = values[best], best
        if seen[best][1]:
            gradient[plane][seen[best][1]] += g[plane][at]
    return y, index, gradient


def run(kernel, *arrays):
    """Run a kernel plane by plane, with scratch full of NaN."""
    ((name, units),) = kernel.functions
    names = ", ".join(f"ptr %p{i}" for i in range(len(arrays)))
    text = "\n".join([*sorted(kernel.declarations), *kernel.texts.values()])
    text += f"\ndefine void @test({names}, i64 %begin, i64 %end, ptr %scratch) {{\n"
    text += f"  call void @{name}({names}, i64 %begin, i64 %end, ptr %scratch)\n  ret void\n}}\n"
    kinds = [ctypes.c_void_p] * len(arrays) + [ctypes.c_int64] * 2 + [ctypes.c_void_p]
    function = Library(text).function("test", *kinds)
    scratch = np.full(kernel.scratch_bytes + 64, 255, np.uint8)
    start = scratch.ctypes.data + -scratch.ctypes.data % 64
    for unit in range(units):
        function(*[a.ctypes.data for a in arrays], unit, unit + 1, start)
    assert (scratch[start - scratch.ctypes.data + kernel.scratch_bytes :] == 255).all()


def with_margin(shape, dtype):
    """Return an array that a kernel fills, and what lies after it, which it leaves alone."""
    memory = np.full(int(np.prod(shape)) + 64, 99, dtype)
    return memory[:-64].reshape(shape), memory[-64:]


CASES = {
    "tiles": ((28, 28), (2, 2), (2, 2), (0, 0), (1, 1), ()),
    "rest at the end": ((7, 9), (2, 2), (2, 2), (0, 0), (1, 1), ()),
    "overlapping": ((7, 9), (3, 3), (2, 2), (1, 1), (1, 1), ()),
    "hanging over": ((7, 8), (3, 3), (2, 2), (1, 1), (1, 1), (4, 5)),
    "three by three": ((6, 100), (3, 3), (3, 3), (0, 0), (1, 1), ()),
    "far apart": ((6, 75), (2, 2), (3, 5), (1, 1), (1, 1), ()),
    "each place": ((9, 20), (3, 3), (1, 1), (0, 0), (1, 1), ()),
    "line": ((17,), (3,), (2,), (1,), (1,), ()),
    "tiled line": ((33,), (3,), (3,), (0,), (1,), ()),
    "many places": ((16, 20), (8, 8), (4, 3), (0, 0), (1, 1), ()),
}
DILATED = {
    "dilated": ((17, 40), (3, 2), (1, 3), (1, 1), (2, 1), ()),
    "dilated by the stride": ((17, 40), (3, 3), (2, 2), (0, 0), (2, 2), ()),
}


def make(case, dtype="float32", planes=2, **options):
    *axes, out = {**CASES, **DILATED}[case]
    return Pooling(planes, *axes, out=out, dtype=dtype, **options)


def check_max(p, x):
    rng = np.random.default_rng(1)
    x, g = x.astype(p.dtype), rng.standard_normal((p.planes, *p.out)).astype(p.dtype)
    y, y_after = with_margin(g.shape, p.dtype)
    index, index_after = with_margin(g.shape, f"int{p.index_type.bits}")
    gradient, after = with_margin(x.shape, p.dtype)
    run(pooling.max_pool(p), x, y, index)
    run(pooling.max_pool_gradient(p), g, index, gradient)
    best, places, expected = max_reference(p, x, g)
    assert np.array_equal(y, best, equal_nan=True)
    assert np.array_equal(index, places)
    assert np.allclose(gradient, expected, rtol=1e-6, atol=1e-5)
    assert all((each == 99).all() for each in (y_after, index_after, after))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [*CASES, *DILATED])
def test_max(case, dtype):
    p = make(case, dtype)
    check_max(p, np.random.default_rng(0).standard_normal((p.planes, *p.spatial)))


@pytest.mark.parametrize("case", ["tiles", "overlapping", "hanging over", "line"])
def test_ties_nan_and_infinities(case):
    p = make(case, planes=3)
    x = np.round(np.random.default_rng(0).standard_normal((3, *p.spatial)))
    x[0].flat[[3, 4, 15]] = np.nan
    x[1].flat[[0, 5]] = np.inf
    x[2] = -np.inf
    check_max(p, x)


@pytest.mark.parametrize("vector_bytes", [16, 32])
@pytest.mark.parametrize("case", ["tiles", "overlapping", "three by three"])
def test_narrower_vectors(monkeypatch, case, vector_bytes):
    monkeypatch.setattr(host(), "vector_bytes", vector_bytes)
    p = make(case)
    check_max(p, np.random.default_rng(0).standard_normal((p.planes, *p.spatial)))


def test_windows_of_many_elements_are_refused():
    p = Pooling(1, (20, 20), (20, 20), (1, 1), (0, 0), (1, 1))
    with pytest.raises(ValueError, match="windows of 400 elements; kernels are for 64 at most"):
        pooling.max_pool(p)
