"""What the torch backend computes, against NumPy."""

import functools
import itertools

import pytest

np = pytest.importorskip("numpy", reason="the torch backend is compared with NumPy")
special = pytest.importorskip("scipy.special", reason="the reference for erf and its like")
torch = pytest.importorskip("torch", reason="tests the torch backend")

from atled import dtypes as dt  # noqa: E402
from atled.backends.protocol import NAMED, REQUIRED, load, use  # noqa: E402
from atled.config import settings  # noqa: E402
from atled.errors import DTypeError, ShapeError  # noqa: E402
from tests.backends.torch_checks import (  # noqa: E402
    CHECKED,
    RTOL,
    SHAPES,
    SPECIAL,
    T,
    draw,
    same,
    xp,
)

pytestmark = pytest.mark.slow  # `make check` leaves them out, `make test` does not


@pytest.fixture(autouse=True)
def quiet_and_restored():
    kept = settings.backend, settings.device, settings.default_dtype
    with np.errstate(all="ignore"):
        yield
    settings.backend, settings.device, settings.default_dtype = kept


def test_every_function_of_the_contract_is_there():
    backend = load("torch")
    assert [n for n in [*REQUIRED, *NAMED] if n not in dir(backend)] == []


# -- elementwise ---------------------------------------------------------------------------

DOMAIN = {
    "sqrt": (0, 9), "log": (0.1, 9), "log2": (0.1, 9), "log10": (0.1, 9), "log1p": (-0.9, 9),
    "asin": (-1, 1), "acos": (-1, 1), "acosh": (1, 9), "atanh": (-0.9, 0.9),
}  # fmt: skip
FLOATING = """
sqrt exp expm1 exp2 log log1p log2 log10 sin cos tan asin acos atan
sinh cosh tanh asinh acosh atanh
""".split()
EXACT = "abs negative sign square floor ceil trunc round isnan isinf isfinite signbit".split()
NUMPY = {"pow": "power", "bitwise_invert": "invert", "bitwise_left_shift": "left_shift",
         "bitwise_right_shift": "right_shift", "round": "rint"}  # fmt: skip


def numpy_function(name):
    return getattr(np, NUMPY.get(name, name))


@pytest.mark.parametrize("name", FLOATING + EXACT)
def test_unary(name):
    f, reference = getattr(xp, name), numpy_function(name)
    for shape, dtype in itertools.product(SHAPES, (np.float32, np.float64)):
        x = draw(name, shape, *DOMAIN.get(name, (-3, 3)), dtype=dtype)
        want = reference(x.astype(np.float64))
        want = want if want.dtype == bool else want.astype(dtype)
        same(f(T(x)), want, rtol=RTOL[T(x).dtype], atol=1e-15)
    same(f(T(SPECIAL)), reference(np.array(SPECIAL)), rtol=1e-14)
    if name in ("abs", "negative", "sign", "square", "floor", "ceil", "trunc", "round"):
        for dtype in (np.int64, np.int8):
            same(f(T(np.arange(-3, 4, dtype=dtype))), reference(np.arange(-3, 4)).astype(dtype))


FLOAT_BINARY = """
add subtract multiply divide pow atan2 maximum minimum remainder floor_divide copysign hypot
logaddexp nextafter equal not_equal less less_equal greater greater_equal
""".split()
INT_BINARY = """
add subtract multiply maximum minimum equal not_equal less less_equal greater greater_equal
bitwise_and bitwise_or bitwise_xor remainder floor_divide
""".split()


@pytest.mark.parametrize("name", FLOAT_BINARY)
def test_binary_floats(name):
    f, reference = getattr(xp, name), numpy_function(name)
    tolerance = {"rtol": 1e-14, "atol": 1e-15}
    for m, n in [((), ()), ((3,), ()), ((4, 1), (3,)), ((2, 0), (1, 1)), ((5,), (5,))]:
        a, b = draw(name, m, 0.1, 9), draw(name + "b", n)
        same(f(T(a), T(b)), reference(a, b), **tolerance)
    a, b = (np.array(v) for v in zip(*itertools.product(SPECIAL, SPECIAL), strict=True))
    same(f(T(a), T(b)), reference(a, b), **tolerance)
    if name in ("remainder", "copysign"):
        y, want = f(T(a), T(b)).numpy(), reference(a, b)
        number = ~np.isnan(want)
        assert (np.signbit(y) == np.signbit(want))[number].all()


@pytest.mark.parametrize("name", FLOAT_BINARY)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_scalars_are_weak_on_both_sides(name, dtype):
    f = getattr(xp, name)
    x = torch.tensor([0.5, 1.0, 2.0, -1.5], dtype=dtype)
    for scalar in (2, 0.5, True, -1.5, np.inf, 1e300):
        beside = torch.tensor(scalar, dtype=torch.float64).to(dtype)
        for y, z in ((f(x, scalar), f(x, beside)), (f(scalar, x), f(beside, x))):
            torch.testing.assert_close(y, z, equal_nan=True)
            assert y.dtype in (dtype, torch.bool)


@pytest.mark.parametrize("name", INT_BINARY)
def test_binary_integers(name):
    f, reference = getattr(xp, name), numpy_function(name)
    for dtype in (np.int64, np.int32, np.uint8):
        a = np.array([[7], [6], [0], [100]], dtype)
        b = np.array([3, 1, 0, 5], dtype)
        same(f(T(a), T(b)), reference(a, b))
        same(f(T(a), 3), reference(a, dtype(3)))
        same(f(3, T(a)), reference(dtype(3), a))
    a, b = np.array([[-7], [7], [-(2**63)]]), np.array([-2, 0, 3, -1])
    same(f(T(a), T(b)), reference(a, b))


@pytest.mark.parametrize("name", ["bitwise_left_shift", "bitwise_right_shift"])
def test_shifts(name):
    a, b = np.array([[1], [-5], [77]]), np.array([0, 1, 5, 63, 64])
    same(getattr(xp, name)(T(a), T(b)), numpy_function(name)(a, b))
    same(getattr(xp, name)(T(a), 2), numpy_function(name)(a, 2))
    same(getattr(xp, name)(2, T(b)), numpy_function(name)(2, b))


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor"])
def test_logical(name):
    a, b = np.array([[True], [False]]), np.array([True, False])
    same(getattr(xp, name)(T(a), T(b)), getattr(np, name)(a, b))
    same(getattr(xp, name)(T(a), True), getattr(np, name)(a, True))
    same(getattr(xp, name)(False, T(b)), getattr(np, name)(False, b))


def test_inversions():
    same(xp.logical_not(T([True, False])), [False, True])
    same(xp.bitwise_invert(T([True, False])), [False, True])
    same(xp.bitwise_invert(T([0, 5, -1])), [-1, -6, 0])


def test_integer_division_gives_the_default_float():
    same(xp.divide(T([1, 2]), T([3, 0])), np.array([1 / 3, np.inf], np.float32))
    same(xp.divide(1, T([3])), np.array([1 / 3], np.float32))
    settings.default_dtype = dt.float64
    same(xp.divide(T([1, 2]), 3), np.array([1, 2]) / 3)
    same(xp.divide(1, T([3])), np.array([1 / 3]))
    same(xp.maximum(T([1, 3]), 2.5), [2.5, 3.0])


def test_a_scalar_that_an_integer_array_cannot_hold_is_refused():
    with pytest.raises(DTypeError, match="300 does not fit uint8"):
        xp.maximum(T(np.array([1], np.uint8)), 300)
    with pytest.raises(DTypeError, match="nan does not fit int64"):
        xp.full((2,), float("nan"), dtype=dt.int64)


def test_where():
    c = np.array([[True], [False]])
    a, b = draw("a", (2, 3), dtype=np.float32), draw("b", (3,), dtype=np.float32)
    same(xp.where(T(c), T(a), T(b)), np.where(c, a, b))
    same(xp.where(T(c), T(a), 2), np.where(c, a, np.float32(2)))
    same(xp.where(T(c), -1e300, T(b)), np.where(c, np.float32(-np.inf), b))
    same(xp.where(T(c), 1.0, 2), np.array([[1], [2]], np.float32))
    same(xp.where(T(c), 1, 2), [[1], [2]])
    half = T(b).to(torch.float16)
    assert xp.where(T(c), half, -1e9).dtype is torch.float16
    with pytest.raises(RuntimeError, match="size of tensor"):
        xp.where(T(c), T(b), torch.ones(5))


def test_special_functions():
    for dtype, tolerance in ((np.float32, 2e-6), (np.float64, 2e-14)):
        for f, reference, lo, hi in (
            (xp.erf, special.erf, -4, 4),
            (xp.erf, special.erf, -1e-6, 1e-6),
            (xp.erfinv, special.erfinv, -0.999, 0.999),
            (xp.lgamma, special.gammaln, -5, 50),
        ):
            x = draw("special", 500, lo, hi, dtype)
            want = reference(x.astype(np.float64)).astype(dtype)
            same(f(T(x)), want, rtol=tolerance, atol=tolerance if f is xp.lgamma else 0)
        for n in range(5):
            x = np.concatenate([draw("p", 99, 0.1, 30, dtype), np.array([np.inf, np.nan], dtype)])
            want = special.polygamma(n, x.astype(np.float64)).astype(dtype)
            same(xp.polygamma(T(x), n=n), want, rtol=8 * tolerance, atol=tolerance)
    edges = np.array([0.0, -1.0, -2.5, np.inf])
    same(xp.lgamma(T(edges)), special.gammaln(edges), rtol=1e-14)
    same(xp.erfinv(T([-1.0, 1.0, 1.5])), [-np.inf, np.inf, np.nan])
    assert xp.polygamma(torch.ones(2, dtype=torch.float16), n=1).dtype is torch.float16


# -- creation and dtypes -------------------------------------------------------------------


def test_creation():
    same(xp.zeros((2, 3)), np.zeros((2, 3), np.float32))
    same(xp.ones(2, dtype=dt.int8), np.ones(2, np.int8))
    same(xp.ones((2,), dtype=torch.float64, device="cpu"), np.ones(2))
    same(xp.full((2,), True), [True, True])
    same(xp.full(2, 7), [7, 7])
    same(xp.full((1,), 10**400, dtype=dt.float32), np.array([np.inf], np.float32))
    same(xp.full((), 0.5, dtype=dt.float64), 0.5)
    same(xp.full((1,), -1e300), np.array([-np.inf], np.float32))
    same(xp.full((1,), 2**70, dtype=dt.float64), [2.0**70])
    same(xp.arange(4), [0, 1, 2, 3])
    same(xp.arange(5, 0, -2), [5, 3, 1])
    same(xp.arange(5, 0), np.zeros(0, np.int64))
    same(xp.arange(2, 2), np.zeros(0, np.int64))
    same(xp.arange(0, 1, 0.25), np.arange(0, 1, 0.25, dtype=np.float32))
    same(xp.arange(3, dtype=dt.float64), np.arange(3.0))
    x = T(draw("like", (2, 3)))
    same(xp.zeros_like(x), np.zeros((2, 3)))
    same(xp.ones_like(x, dtype=dt.int32), np.ones((2, 3), np.int32))
    same(xp.full_like(x, 2, dtype=dt.bool_), np.full((2, 3), True))
    same(xp.full_like(x, 2), np.full((2, 3), 2.0))
    settings.default_dtype = dt.float64
    same(xp.zeros((1,)), np.zeros(1))
    with pytest.raises(RuntimeError, match="negative dimension"):
        xp.full((-1,), 1.0)
    with pytest.raises(DTypeError, match="no uint32; it has bool, int8"):
        xp.zeros((1,), dtype=dt.uint32)


def test_astype():
    x = T(np.array([1.7, -1.7, 0.0], np.float32))
    assert xp.astype(x, dtype=dt.float32) is x
    same(xp.astype(x, dtype=dt.int64), [1, -1, 0])
    same(xp.astype(x, dtype=dt.bool_), [True, True, False])
    for known, native in xp.dtypes.items():
        assert xp.dtype_of(xp.astype(x.abs(), dtype=known)) is known
        assert xp.native(known) is native


# -- reductions and scans --------------------------------------------------------------------

AXES = [None, 0, 1, (0,), (0, 2), (0, 1, 2), ()]


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "all", "any"])
def test_reductions(name):
    f, reference = getattr(xp, name), getattr(np, name)
    cases = [draw(name, (3, 4, 2)), draw(name, (3, 4, 2)) > 0, np.arange(24).reshape(3, 4, 2) % 5]
    cases += [c.astype(t) for c, t in ((cases[2], np.uint8), (cases[2], np.int32))]
    widened = {"dtype": np.int64} if name in ("sum", "prod") else {}
    for x, axis, keepdims in itertools.product(cases, AXES, (False, True)):
        static = {"axis": axis, "keepdims": keepdims}
        want = reference(x, **static, **(widened if x.dtype.kind != "f" else {}))
        same(f(T(x), **static), want, rtol=1e-14)
    same(f(T(2.0), axis=None, keepdims=True), reference(2.0))
    if name in ("max", "min"):
        x = np.array([[1.0, np.nan, 5.0] * 20, [1.0, 2.0, 3.0] * 20])
        same(f(T(x), axis=1, keepdims=False), reference(x, axis=1))


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_empty_reductions_without_a_value_are_refused(name):
    f = getattr(xp, name)
    for axis in (None, 0):
        with pytest.raises(ShapeError, match=rf"{name} of no elements .* \(0, 3\)"):
            f(torch.ones(0, 3), axis=axis, keepdims=False)
    assert f(torch.ones(0, 3), axis=1, keepdims=False).shape == (0,)
    with pytest.raises(IndexError, match="out of range"):
        f(torch.ones(2), axis=4, keepdims=False)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_argmax_takes_the_first_of_equals_and_the_first_nan(name):
    f, reference = getattr(xp, name), getattr(np, name)
    x = np.random.default_rng(0).integers(0, 3, (64, 999)).astype(np.float32)
    holes = x.copy()
    holes[:, 500::7] = np.nan
    for case in (x, holes, x.astype(np.int64), x > 1):
        for axis, keepdims in itertools.product((None, 0, 1), (False, True)):
            static = {"axis": axis, "keepdims": keepdims}
            same(f(T(case), **static), reference(case, **static))


SCANS = [
    ("cumulative_sum", np.cumsum), ("cumulative_prod", np.cumprod)
]  # fmt: skip


@pytest.mark.parametrize(("name", "reference"), SCANS)
def test_scans(name, reference):
    for x in (draw(name, (3, 0)), draw(name, (3, 4)), np.arange(12, dtype=np.int8).reshape(3, 4),
              draw(name, (3, 4)) > 0):  # fmt: skip
        for axis in (0, 1):
            dtype = None if x.dtype.kind == "f" else np.int64
            same(getattr(xp, name)(T(x), axis=axis), reference(x, axis, dtype=dtype), rtol=1e-14)


def test_softmax_and_its_relatives():
    x = draw("softmax", (3, 4, 2), -20, 20)
    for axis in (0, 2, (1,), (0, 2), (0, 1, 2), ()):
        same(xp.softmax(T(x), axis=axis), special.softmax(x, axis), rtol=1e-13)
        same(xp.log_softmax(T(x), axis=axis), special.log_softmax(x, axis), rtol=1e-13, atol=1e-14)
        for keepdims in (False, True):
            want = special.logsumexp(x, axis, keepdims=keepdims)
            same(xp.logsumexp(T(x), axis=axis, keepdims=keepdims), want, rtol=1e-13)
    same(xp.logsumexp(T([-np.inf, -np.inf]), axis=0, keepdims=False), -np.inf)
    same(xp.softmax(T(np.ones((2, 0))), axis=(0, 1)), np.ones((2, 0)))
    same(xp.log_softmax(T(np.ones((2, 0))), axis=(0, 1)), np.ones((2, 0)))
    same(xp.sigmoid(T([-800.0, 0.0, 800.0])), [0.0, 0.5, 1.0])


# -- movement and indexing -------------------------------------------------------------------


def test_movement():
    x = draw("move", (2, 3, 4))
    same(xp.reshape(T(x), shape=(4, 6)), x.reshape(4, 6))
    same(xp.reshape(T(x[0, 0, 0]), shape=(1, 1)), x[:1, :1, 0])
    same(xp.permute_dims(T(x), axes=(2, 0, 1)), x.transpose(2, 0, 1))
    same(xp.permute_dims(T(1.0), axes=()), 1.0)
    same(xp.broadcast_to(T(x), shape=(5, 2, 3, 4)), np.broadcast_to(x, (5, 2, 3, 4)))
    same(xp.broadcast_to(T(x[:, :1]), shape=(2, 0, 4)), np.zeros((2, 0, 4)))
    same(xp.concat(T(x), T(x[:, :1]), T(x[:, :0]), axis=1), np.concatenate([x, x[:, :1]], 1))


RUNS = [
    (0, 7, 1), (1, 6, 2), (0, 0, 1), (5, 2, 1), (6, None, -1), (6, None, -3), (5, 1, -2),
    (1, 5, -1), (0, None, -1), (-1, None, -2), (9, None, -1), (2, 99, 4)
]  # fmt: skip


@pytest.mark.parametrize("run", RUNS)
def test_slice_and_its_transpose(run):
    x = draw("slice", (7, 3))
    index = (run, (2, None, -1))
    want = x[slice(*run), ::-1]
    same(xp.slice(T(x), index=index), want)
    v = draw("place", want.shape)
    out = np.zeros((7, 3))
    out[slice(*run), ::-1] = v
    same(xp.place(T(v), index=index, shape=(7, 3)), out)
    same(xp.slice(T(1.0), index=()), 1.0)
    same(xp.place(T(1.0), index=(), shape=()), 1.0)


@pytest.mark.parametrize("shape", [(), (0,), (4,), (2, 3)])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_gather_and_scatter(shape, k):
    x = draw("gather", (3, 4, 2))
    rng = np.random.default_rng(k)
    index = tuple(rng.integers(0, n, shape) for n in x.shape[:k])
    v = draw("v", shape + x.shape[k:])
    same(xp.gather_nd(T(x), *map(T, index)), x[index])
    same(xp.gather_nd(T(x), *[T(i.astype(np.uint8)) for i in index]), x[index])
    added = x.copy()
    np.add.at(added, index, v)
    same(xp.scatter_nd_add(T(x), T(v), *map(T, index)), added, rtol=1e-15)
    strided = T(x.transpose(2, 1, 0).copy()).permute(2, 1, 0)
    same(xp.scatter_nd_add(strided, T(v), *map(T, index)), added, rtol=1e-15)
    places = rng.permutation(np.prod(x.shape[:k]))[: np.prod(shape, dtype=int)]
    if len(places) == np.prod(shape):  # enough of them: no place twice
        index = np.unravel_index(places.reshape(shape), x.shape[:k])
        x[index] = v
        same(xp.scatter_nd_set(strided, T(v), *map(T, index)), x)


def test_scatter_adds_in_order_however_many():
    rng = np.random.default_rng(0)
    index, v = rng.integers(0, 50, 100_000), rng.random(100_000, np.float32)
    want = np.zeros(50, np.float32)
    np.add.at(want, index, v)
    for _ in range(3):
        same(xp.scatter_nd_add(torch.zeros(50), T(v), T(index)), want)


# -- sorting, products -----------------------------------------------------------------------


def test_argsort_is_stable_both_ways():
    x = np.random.default_rng(0).integers(0, 5, (3, 200))
    for case in (x, x.astype(np.float32), x.astype(np.uint8)):
        for axis in (0, 1):
            want = np.argsort(case, axis=axis, kind="stable")
            same(xp.argsort(T(case), axis=axis, descending=False), want)
            want = np.argsort(-case.astype(np.int64), axis=axis, kind="stable")
            same(xp.argsort(T(case), axis=axis, descending=True), want)
    same(xp.argsort(T([np.nan, 1.0, np.inf]), axis=0, descending=False), [1, 2, 0])


def test_searchsorted_and_nonzero():
    edges, x = np.arange(0.0, 10.0)[::2], np.round(draw("s", (4, 3), 0, 10))
    for side, v in itertools.product(("left", "right"), (x, x.T, x[0, 0], x[:0])):
        same(xp.searchsorted(T(edges), T(v), side=side), np.searchsorted(edges, v, side))
    wide = torch.arange(10.0, dtype=torch.float64)[::2]  # not contiguous: torch would warn
    same(xp.searchsorted(wide, T(x).mT, side="left"), np.searchsorted(edges, x.T))
    for y, want in zip(xp.nonzero(T(x > 5)), np.nonzero(x > 5), strict=True):
        same(y, want)


def test_matmul():
    for m, n in [((2, 3), (3, 4)), ((5, 1, 2, 3), (6, 3, 2)), ((2, 0), (0, 3)), ((0, 2), (2, 1))]:
        a, b = draw("a", m), draw("b", n)
        same(xp.matmul(T(a), T(b)), a @ b, rtol=1e-13, atol=1e-14)
        a, b = a.astype(np.int64), b.astype(np.int64)
        same(xp.matmul(T(a), T(b)), a @ b)


GEOMETRY = [
    ((2, 4, 9), (6, 2, 3), {"stride": (2,), "padding": (1,), "dilation": (2,), "groups": 2}),
    ((2, 3, 8, 7), (4, 3, 3, 2),
     {"stride": (2, 3), "padding": (1, 0), "dilation": (1, 2), "groups": 1}),
    ((1, 2, 5, 4, 6), (4, 1, 2, 2, 3),
     {"stride": (1, 2, 1), "padding": (0, 1, 1), "dilation": (1, 1, 2), "groups": 2}),
]  # fmt: skip


def correlate(x, w, stride, padding, dilation, groups):
    """Convolve by the definition."""
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    size = [d * (k - 1) + 1 for d, k in zip(dilation, w.shape[2:], strict=True)]
    axes = tuple(range(2, x.ndim))
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axes)
    windows = windows[(slice(None),) * 2 + tuple(slice(None, None, s) for s in stride)]
    windows = windows[(...,) + tuple(slice(None, None, d) for d in dilation)]
    parts = zip(np.split(windows, groups, 1), np.split(w, groups, 0), strict=True)
    inner = [1, *range(-len(axes), 0)], [1, *range(2, w.ndim)]
    return np.concatenate([np.moveaxis(np.tensordot(a, b, inner), -1, 1) for a, b in parts], 1)


@pytest.mark.parametrize(("m", "n", "static"), GEOMETRY)
def test_convolution_and_its_transposes(m, n, static):
    x, w = draw("x", m), draw("w", n)
    y = correlate(x, w, **static)
    same(xp.conv(T(x), T(w), **static), y, rtol=1e-12, atol=1e-13)
    g = draw("g", y.shape)
    to_x = xp.conv_input(T(g), T(w), shape=m, **static)
    to_w = xp.conv_weight(T(x), T(g), shape=n, **static)
    assert (tuple(to_x.shape), tuple(to_w.shape)) == (m, n)
    inner = (g * y).sum()  # <g, x * w> is linear in x and in w
    assert np.isclose((to_x.numpy() * x).sum(), inner)
    assert np.isclose((to_w.numpy() * w).sum(), inner)
    v = draw("v", m)
    assert np.isclose((to_x.numpy() * v).sum(), (g * correlate(v, w, **static)).sum())


def test_nothing_is_ever_recorded():
    w = xp.asarray(torch.nn.Parameter(torch.ones(3, 3)))
    y = xp.matmul(xp.sigmoid(w), w)
    y = xp.sum(xp.scatter_nd_add(y, w[:1], torch.tensor([1])), axis=None, keepdims=False)
    assert torch.is_grad_enabled()
    assert y.grad_fn is None
    assert not y.requires_grad


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_on_a_device(kind):
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if not there[kind]():
        pytest.skip(f"this machine has no {kind} device")
    with use("torch", kind):
        x, w = draw("x", (64, 32), dtype=np.float32), draw("w", (32, 16), dtype=np.float32)
        a = xp.asarray(x)
        assert xp.device_of(a).startswith(f"{kind}:")
        near = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
        near(xp.to_numpy(xp.matmul(a, xp.asarray(w))), x @ w)
        near(xp.to_numpy(xp.maximum(0.5, a)), np.maximum(0.5, x))
        near(xp.to_numpy(xp.softmax(a, axis=(0, 1))).sum(), 1)
        assert xp.tolist(xp.argmax(xp.floor(a), axis=1)) == np.argmax(np.floor(x), 1).tolist()
        ints = xp.arange(-3, 4)
        assert xp.tolist(xp.floor_divide(7, ints)) == [-3, -4, -7, 0, 7, 3, 2]
        index = xp.asarray([3, 3, 0])
        want = x.copy()
        np.add.at(want, (index.cpu().numpy(),), x[:3])
        near(xp.to_numpy(xp.scatter_nd_add(a, a[:3], index)), want)
        static = {"stride": (1,), "padding": (1,), "dilation": (1,), "groups": 1}
        kernel = draw("k", (4, 1, 3), dtype=np.float32)
        y = xp.conv(a.reshape(64, 1, 32), xp.asarray(kernel), **static)
        np.testing.assert_allclose(y.cpu().numpy(), correlate(x[:, None], kernel, **static),
                                   rtol=1e-2, atol=1e-2)  # torch may use TF32  # fmt: skip


def test_the_tests_above_called_every_function(request):
    whole = {item.name for item in request.session.items if item.path == request.path}
    if not whole >= {"test_matmul", "test_movement", "test_creation", "test_astype"}:
        pytest.skip("only a part of this file runs")
    assert sorted({*REQUIRED, *NAMED} - CHECKED) == []
