"""Convolutions of every kind, and both gradients, against sums over places of the kernel."""

import ctypes
from math import prod

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")

from atled.compile import convolution
from atled.compile.convolution import Convolution
from atled.compile.native import Library, host

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}  # of the largest element


def reference(c, axes, x, w, g):
    """Return conv(x, w), conv_input(g, w) and conv_weight(x, g), place by place, in float64."""
    stride, padding, dilation = (each[-axes:] for each in (c.stride, c.padding, c.dilation))
    around = [(0, 0), (0, 0), *[(p, p) for p in padding]]
    wide = np.pad(x.astype(np.float64), around)
    y, wide_gradient, w_gradient = np.zeros(g.shape), np.zeros(wide.shape), np.zeros(w.shape)
    i, o = c.channels // c.groups, c.out_channels // c.groups
    summed = [0, *range(2, axes + 2)]
    for place in np.ndindex(*w.shape[2:]):
        inside = [
            slice(k * d, k * d + s * (m - 1) + 1, s)
            for k, d, s, m in zip(place, dilation, stride, g.shape[2:], strict=True)
        ]
        for group in range(c.groups):
            seen = (slice(None), slice(group * i, group * i + i), *inside)
            out = (slice(None), slice(group * o, group * o + o))
            part = (out[1], slice(None), *place)
            y[out] += np.einsum("ni...,oi->no...", wide[seen], w[part])
            wide_gradient[seen] += np.einsum("no...,oi->ni...", g[out], w[part])
            w_gradient[part] += np.tensordot(g[out], wide[seen], [summed, summed])
    inner = tuple([slice(p, p + n) for p, n in zip(padding, x.shape[2:], strict=True)])
    return y, wide_gradient[(slice(None), slice(None), *inner)], w_gradient


def run(kernel, *arrays, step=None):
    """Run a kernel's functions on arrays, with scratch full of NaN; `step` units a call."""
    names = ", ".join(f"ptr %p{i}" for i in range(len(arrays)))
    text = "\n".join([*sorted(kernel.declarations), *kernel.texts.values()])
    for name, _ in kernel.functions:
        text += f"\ndefine void @test_{name}({names}, i64 %begin, i64 %end, ptr %scratch) {{\n"
        text += (
            f"  call void @{name}({names}, i64 %begin, i64 %end, ptr %scratch)\n  ret void\n}}\n"
        )
    library = Library(text)
    scratch = np.full(kernel.scratch_bytes + 64, 255, np.uint8)
    start = scratch.ctypes.data + -scratch.ctypes.data % 64
    kinds = [ctypes.c_void_p] * len(arrays) + [ctypes.c_int64] * 2 + [ctypes.c_void_p]
    for name, units in kernel.functions:
        function = library.function(f"test_{name}", *kinds)
        for begin in range(0, units, step or units):
            end = min(begin + (step or units), units)
            function(*[a.ctypes.data for a in arrays], begin, end, start)
    assert (scratch[start - scratch.ctypes.data + kernel.scratch_bytes :] == 255).all()


def empty(shape, dtype):
    """Return an array full of NaN, with a margin that a kernel must leave alone."""
    return np.full(prod(shape) + 64, np.nan, dtype)


def check(c, axes, step=None):
    """Compare the three functions with the reference."""
    rng = np.random.default_rng(0)
    w_shape = (c.out_channels, c.channels // c.groups, *c.kernel[-axes:])
    shapes = [(c.images, c.channels, *c.spatial[-axes:]), w_shape]
    shapes.append((c.images, c.out_channels, *c.out[-axes:]))
    x, w, g = (rng.standard_normal(shape).astype(c.dtype) for shape in shapes)
    weight = convolution.weight_gradient(c)
    partials = np.full(weight.buffer_bytes, 255, np.uint8)
    y, x_gradient, w_gradient = (empty(shapes[i], c.dtype) for i in (2, 0, 1))
    run(convolution.forward(c), x, w, y, step=step)
    run(convolution.input_gradient(c), g, w, x_gradient, step=step)
    run(weight, x, g, w_gradient, partials, step=step)
    found = (y, x_gradient, w_gradient)
    for got, expected in zip(found, reference(c, axes, x, w, g), strict=True):
        inside, after = got[: expected.size].reshape(expected.shape), got[expected.size :]
        assert np.isnan(after).all()
        assert np.abs(inside - expected).max() <= TOLERANCE[c.dtype] * np.abs(expected).max()


CASES = {
    "line": ((2, 3, 4), (5,), (3,), (1,), (1,), (1,), 1),
    "grouped": ((2, 4, 4), (6, 5), (3, 2), (2, 1), (1, 0), (1, 2), 2),
    "one channel": ((3, 1, 8), (28, 28), (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "strided": ((3, 5, 7), (19, 23), (3, 5), (2, 2), (2, 1), (1, 1), 1),
    "depthwise": ((2, 6, 6), (19, 23), (3, 5), (3, 3), (2, 1), (2, 1), 6),
    "places alone": ((2, 6, 9), (9, 7), (1, 1), (1, 1), (0, 0), (1, 1), 1),
    "every other place": ((2, 6, 9), (9, 7), (1, 1), (2, 2), (0, 0), (1, 1), 3),
    "padding and more": ((9, 2, 3), (4, 4), (3, 3), (1, 1), (3, 3), (1, 1), 1),
    "volume": ((2, 3, 4), (6, 7, 9), (2, 3, 3), (1, 2, 1), (1, 0, 1), (2, 1, 1), 1),
    "rest at the end": ((1, 2, 3), (8, 20), (2, 2), (3, 3), (0, 0), (1, 1), 1),
    "one row": ((1, 2, 3), (3, 40), (3, 3), (1, 1), (0, 1), (1, 1), 1),
}


def make(case, dtype="float32"):
    (images, channels, outputs), *axes, groups = CASES[case]
    return Convolution(images, channels, outputs, *axes, groups=groups, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_against_the_definition(case, dtype):
    check(make(case, dtype), len(CASES[case][1]), step=1 if dtype == "float64" else None)


@pytest.mark.parametrize("vector_bytes", [16, 32])
@pytest.mark.parametrize("case", ["strided", "grouped"])
def test_narrower_vectors(monkeypatch, case, vector_bytes):
    monkeypatch.setattr(host(), "vector_bytes", vector_bytes)
    convolution.matrix.product.cache_clear()
    check(make(case), 2)
    convolution.matrix.product.cache_clear()


@pytest.mark.parametrize("case", ["one channel", "strided", "padding and more", "volume"])
def test_blocks_of_rows(monkeypatch, case):
    monkeypatch.setattr(convolution, "PATCHES", 2000)
    c = make(case)
    assert c.rows < c.out[0]
    check(c, len(CASES[case][1]))


@pytest.mark.parametrize("step", [1, None])
@pytest.mark.parametrize("case", ["line", "grouped", "one channel", "places alone", "volume"])
def test_few_images_are_divided(monkeypatch, case, step):
    monkeypatch.setattr(convolution, "UNIT", 1)
    c = make(case)
    assert c.pieces > 1
    check(c, len(CASES[case][1]), step)


def test_a_large_image_is_shared_by_threads():
    c = Convolution(1, 64, 64, (56, 56), (3, 3), (1, 1), (1, 1), (1, 1))
    for function in (convolution.forward, convolution.input_gradient, convolution.weight_gradient):
        assert function(c).functions[0][1] >= 8


def test_more_images_than_partials():
    c = Convolution(21, 2, 3, (5, 6), (3, 3), (1, 1), (1, 1), (1, 1))
    assert convolution.weight_gradient(c).functions[0][1] == convolution.PARTIALS
    check(c, 2)


def test_the_same_sums_whatever_the_units_of_a_call():
    c = Convolution(21, 2, 3, (5, 6), (3, 3), (1, 1), (1, 1), (1, 1))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((21, 2, 5, 6)).astype(np.float32)
    g = rng.standard_normal((21, 3, 5, 6)).astype(np.float32)
    kernel, results = convolution.weight_gradient(c), []
    for step in (1, 3, None):
        w = np.zeros((3, 2, 3, 3), np.float32)
        run(kernel, x, g, w, np.zeros(kernel.buffer_bytes, np.uint8), step=step)
        results.append(w)
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()


def test_names_tell_convolutions_apart():
    kernels = [
        function(make(case, dtype))
        for case in CASES
        for dtype in TOLERANCE
        for function in (
            convolution.forward,
            convolution.input_gradient,
            convolution.weight_gradient,
        )
    ]
    names = [name for kernel in kernels for name, _ in kernel.functions]
    assert len(set(names)) == len(names)
    for kernel in kernels:
        assert {name for name, _ in kernel.functions} <= set(kernel.texts)
