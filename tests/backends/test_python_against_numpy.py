"""The `python` backend against NumPy: random shapes, views and special values."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atled.backends.protocol import load
from atled.dtypes import bool_, by_name, float64, int64
from atled.errors import DTypeError

np = pytest.importorskip("numpy")

pytestmark = pytest.mark.slow  # `make check` leaves them out, `make test` does not
xp = load("python")

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -2.5, 3.0, 1e-300, 1e300, math.inf, -math.inf, math.nan]
# Multiples of 1/8: their sums are exact, in any order.
EXACT = st.integers(-800, 800).map(lambda n: n / 8)
ELEMENTS = {
    float64: st.one_of(st.sampled_from(SPECIAL), st.floats(-50, 50)),
    int64: st.one_of(st.integers(-5, 5), st.sampled_from([2**63 - 1, -(2**63), 2**40, 62, 64])),
    bool_: st.booleans(),
}
NUMPY = {float64: "float64", int64: "int64", bool_: "bool"}
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)
quick = settings(max_examples=25, deadline=None, derandomize=True)


@st.composite
def arrays(draw, shape=SHAPES, dtypes=(float64, int64, bool_), elements=None):
    """Draw an Array, often a view that is not dense, and the same array of NumPy."""
    shape = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    dtype = draw(st.sampled_from(dtypes))
    order = draw(st.permutations(range(len(shape))))
    steps = [draw(st.sampled_from([1, 1, 2, -1, -2])) for _ in shape]
    # Storage whose permutation, then slices, have the shape that is wanted.
    whole = [n * abs(s) for n, s in zip(shape, steps, strict=True)]
    stored = [0] * len(shape)
    for i, axis in enumerate(order):
        stored[axis] = whole[i]
    size = math.prod(stored)
    values = ELEMENTS[dtype] if elements is None else elements
    flat = draw(st.lists(values, min_size=size, max_size=size))
    base = np.array(flat, dtype=NUMPY[dtype]).reshape(stored)
    key = tuple(slice(None, None, s) for s in steps)
    x = xp.permute_dims(xp.asarray(base), axes=tuple(order))[key]
    return x, base.transpose(order)[key]


@st.composite
def pairs(draw, dtypes=(float64, int64, bool_)):
    """Draw two arrays whose shapes broadcast, with their NumPy arrays."""
    shape = draw(SHAPES)

    def narrowed():
        kept = shape[draw(st.integers(0, len(shape))) :] if draw(st.booleans()) else shape
        return tuple(draw(st.sampled_from([n, n, 1])) for n in kept)

    return draw(arrays(narrowed(), dtypes)), draw(arrays(narrowed(), dtypes))


def agree(x, expected, rtol=0.0, atol=0.0):
    """Assert shape, dtype and elements; nan equals nan."""
    found = xp.to_numpy(x)
    assert (found.shape, found.dtype) == (np.shape(expected), np.asarray(expected).dtype)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, equal_nan=True)


FLOATING = [
    "sqrt", "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "asin",
    "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
]  # fmt: skip


@pytest.mark.parametrize("name", FLOATING)
@quick
@given(data=st.data())
def test_floating(name, data):
    x, a = data.draw(arrays(dtypes=(float64, int64)))
    if name in ("sin", "cos", "tan"):
        a = np.where(np.abs(a) < 1e4, a, 0)  # huge arguments: NumPy's own are less exact
        x = xp.asarray(a)
    with np.errstate(all="ignore"):
        agree(getattr(xp, name)(x), getattr(np, name)(a.astype(float)), rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize(
    "name", ["floor", "ceil", "trunc", "round", "abs", "negative", "square", "sign"]
)
@quick
@given(pair=arrays(dtypes=(float64, int64)))
def test_exact(name, pair):
    x, a = pair
    with np.errstate(all="ignore"):
        agree(getattr(xp, name)(x), getattr(np, name)(a))
    if name in ("floor", "ceil", "trunc", "round"):
        agree(xp.signbit(getattr(xp, name)(x)), np.signbit(getattr(np, name)(a)))


@pytest.mark.parametrize("name", ["isnan", "isinf", "isfinite", "signbit", "logical_not"])
@quick
@given(pair=arrays(dtypes=(float64,)))
def test_predicates(name, pair):
    agree(getattr(xp, name)(pair[0]), getattr(np, name)(pair[1]))


@pytest.mark.parametrize(
    "name",
    ["add", "subtract", "multiply", "divide", "floor_divide", "remainder", "maximum", "minimum"],
)
@quick
@given(both=pairs(dtypes=(float64, int64)))
def test_arithmetic(name, both):
    (x, a), (y, b) = both
    with np.errstate(all="ignore"):
        agree(getattr(xp, name)(x, y), getattr(np, name)(a, b))


@pytest.mark.parametrize("name", ["pow", "atan2", "hypot", "logaddexp", "copysign", "nextafter"])
@quick
@given(both=pairs(dtypes=(float64,)))
def test_floating_pairs(name, both):
    (x, a), (y, b) = both
    with np.errstate(all="ignore"):
        agree(getattr(xp, name)(x, y), getattr(np, name)(a, b), rtol=1e-13)


@quick
@given(both=pairs(dtypes=(int64,)))
def test_integer_powers(both):
    (x, a), (y, b) = both
    with np.errstate(all="ignore"):
        agree(xp.pow(x, xp.remainder(y, 70)), np.power(a, np.remainder(b, 70)))


@pytest.mark.parametrize(
    "name",
    [
        "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
        "logical_and", "logical_or", "logical_xor",
    ],
)  # fmt: skip
@quick
@given(both=pairs())
def test_comparisons_and_logic(name, both):
    (x, a), (y, b) = both
    agree(getattr(xp, name)(x, y), getattr(np, name)(a, b))


@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor"])
@quick
@given(both=pairs(dtypes=(int64, bool_)))
def test_bits(name, both):
    (x, a), (y, b) = both
    agree(getattr(xp, name)(x, y), getattr(np, name)(a, b))
    agree(~x, ~a)


@quick
@given(both=pairs(dtypes=(int64,)))
def test_shifts(both):
    (x, a), (y, b) = both
    agree(x << y, a << b)
    agree(x >> y, a >> b)


@pytest.mark.parametrize("name", ["add", "multiply", "subtract", "divide", "maximum", "less"])
@pytest.mark.parametrize("scalar", [True, 3, 2.5, -math.inf])
@pytest.mark.parametrize("dtype", [float64, int64])
def test_scalars_are_weak(name, scalar, dtype):
    a = np.array([[1, 2], [3, -4]]).astype(NUMPY[dtype])
    x = xp.asarray(a).mT
    agree(getattr(xp, name)(x, scalar), getattr(np, name)(a.T, scalar))
    agree(getattr(xp, name)(scalar, x), getattr(np, name)(scalar, a.T))


@quick
@given(data=st.data())
def test_where(data):
    (x, a), (y, b) = data.draw(pairs())
    kept = np.broadcast_shapes(a.shape, b.shape)
    c, k = data.draw(arrays(kept[data.draw(st.integers(0, len(kept))) :], (bool_,)))
    agree(xp.where(c, x, y), np.where(k, a, b))


@pytest.mark.parametrize("dtype", [float64, int64, bool_])
@quick
@given(pair=arrays())
def test_astype(dtype, pair):
    x, a = pair
    if dtype is int64 and a.dtype == float:
        x, a = xp.where(xp.abs(x) < 1e9, x, 0), np.where(np.abs(a) < 1e9, a, 0)
    agree(xp.astype(x, dtype=dtype), a.astype(NUMPY[dtype]))


def draw_axes(data, ndim):
    return data.draw(st.none() | st.lists(st.integers(0, ndim - 1), unique=True).map(tuple)
                     if ndim else st.none())  # fmt: skip


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "all", "any"])
@quick
@given(data=st.data(), keepdims=st.booleans())
def test_reductions(name, data, keepdims):
    elements = EXACT if name == "sum" else None
    x, a = data.draw(st.one_of(arrays(dtypes=(float64,), elements=elements), arrays(
        dtypes=(int64, bool_))))  # fmt: skip
    axis = draw_axes(data, a.ndim)
    if name in ("max", "min") and a.size == 0:
        return
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(a, axis=axis, keepdims=keepdims)
    agree(getattr(xp, name)(x, axis=axis, keepdims=keepdims), expected, rtol=1e-14)


@pytest.mark.parametrize(
    "name", ["argmax", "argmin", "cumulative_sum", "cumulative_prod", "argsort"]
)
@quick
@given(data=st.data())
def test_along_an_axis(name, data):
    shape = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
    elements = EXACT if name == "cumulative_sum" else None
    x, a = data.draw(st.one_of(arrays(shape, (float64,), elements), arrays(shape, (int64,))))
    axis = data.draw(st.integers(0, a.ndim - 1))
    with np.errstate(all="ignore"):
        if name == "argsort":
            agree(xp.argsort(x, axis=axis, descending=False), np.argsort(a, axis, stable=True))
        else:
            expected = getattr(np, name)(a, axis=axis)
            agree(getattr(xp, name)(x, axis=axis), expected, rtol=1e-14)


@quick
@given(data=st.data(), side=st.sampled_from(["left", "right"]))
def test_searchsorted(data, side):
    _, a = data.draw(arrays(st.tuples(st.integers(0, 9)), (float64, int64)))
    y, b = data.draw(arrays(dtypes=(NUMPY_KEYS[a.dtype.name],)))
    a = np.sort(a)
    agree(xp.searchsorted(xp.asarray(a), y, side=side), np.searchsorted(a, b, side=side))


NUMPY_KEYS = {name: dtype for dtype, name in NUMPY.items()}


@quick
@given(pair=arrays(st.lists(st.integers(0, 4), min_size=1, max_size=3).map(tuple)))
def test_nonzero(pair):
    found = xp.nonzero(pair[0])
    for x, expected in zip(found, np.nonzero(pair[1]), strict=True):
        agree(x, expected)


@quick
@given(data=st.data())
def test_movement(data):
    x, a = data.draw(arrays())
    axes = tuple(data.draw(st.permutations(range(a.ndim))))
    agree(xp.permute_dims(x, axes=axes), np.permute_dims(a, axes))
    agree(xp.reshape(x, shape=(1, a.size)), a.reshape(1, a.size))
    wide = (3, *(5 if n == 1 else n for n in a.shape))
    agree(xp.broadcast_to(x, shape=wide), np.broadcast_to(a, wide))
    agree(xp.sum(xp.broadcast_to(x, shape=wide) == x), np.sum(np.broadcast_to(a, wide) == a))


@quick
@given(data=st.data())
def test_slice_and_place_undo_each_other(data):
    x, a = data.draw(arrays())
    index = []
    for n in a.shape:
        found = data.draw(st.slices(n)).indices(n)
        index.append((found[0], None if found[1] < 0 else found[1], found[2]))
    key = tuple(slice(*i) for i in index)
    taken = xp.slice(x, index=tuple(index))
    agree(taken, a[key])
    expected = np.zeros_like(a)
    expected[key] = a[key]
    agree(xp.place(taken, index=tuple(index), shape=a.shape), expected)


@quick
@given(data=st.data(), axis=st.integers(0, 1), dtypes=st.permutations([float64, int64, bool_]))
def test_concat(data, axis, dtypes):
    parts = [data.draw(arrays((3, n) if axis else (n, 3), dtypes[:2])) for n in (2, 0, 1)]
    expected = np.concat([a for _, a in parts], axis=axis)
    agree(xp.concat(*(x for x, _ in parts), axis=axis), expected)


@quick
@given(data=st.data(), k=st.integers(1, 3))
def test_gather_and_scatter(data, k):
    x, a = data.draw(arrays((3, 2, 4), (float64, int64), elements=st.integers(-9, 9)))
    shape = data.draw(SHAPES)
    found = [data.draw(arrays(shape, (int64,), st.integers(0, n - 1))) for n in a.shape[:k]]
    indices, at = [i for i, _ in found], tuple(i for _, i in found)
    agree(xp.gather_nd(x, *indices), a[at])
    v, b = data.draw(arrays(shape + a.shape[k:], (NUMPY_KEYS[a.dtype.name],), st.integers(-9, 9)))
    added, written = a.copy(), a.copy()
    np.add.at(added, at, b)
    for place in np.ndindex(shape):  # in order; NumPy's own assignment orders repeats freely
        written[tuple(i[place] for i in at)] = b[place]
    agree(xp.scatter_nd_add(x, v, *indices), added)
    agree(xp.scatter_nd_set(x, v, *indices), written)


@quick
@given(data=st.data(), n=st.integers(0, 3), k=st.integers(0, 7), m=st.integers(0, 3))
def test_matmul(data, n, k, m):
    stacks = st.sampled_from([((), ()), ((2,), ()), ((), (2,)), ((3, 1), (2,)), ((1,), (2,))])
    left, right = data.draw(stacks)
    x, a = data.draw(arrays((*left, n, k), (float64, int64), st.integers(-9, 9)))
    y, b = data.draw(arrays((*right, k, m), (float64, int64), st.integers(-9, 9)))
    agree(x @ y, a @ b)


def test_matmul_of_floats():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(64, 64)), rng.normal(size=(64, 32))
    agree(xp.asarray(a) @ xp.asarray(b), a @ b, rtol=1e-12, atol=1e-13)


# -- the border ----------------------------------------------------------------------------------


@quick
@given(pair=arrays())
def test_arrays_cross_the_border(pair):
    x, a = pair
    agree(x, a)
    agree(xp.asarray(a), a)
    assert repr(xp.tolist(x)) == repr(a.tolist())
    agree(xp.asarray(x), a)
    if a.size:
        agree(xp.asarray(a.tolist(), dtype=by_name(a.dtype.name)), a)


def test_asarray_never_shares_memory():
    for a in (np.ones((2, 3)), np.ones((2, 3), dtype=np.int64), np.ones((2, 3), dtype=bool)):
        x = xp.asarray(a)
        a[...] = 0
        assert xp.tolist(xp.sum(x)) == 6


@pytest.mark.parametrize(
    ("dtype", "widened"),
    [
        ("float32", float64),
        ("float16", float64),
        ("int8", int64),
        ("uint64", int64),
        (">f8", float64),
    ],
)
def test_asarray_widens_other_dtypes(dtype, widened):
    a = np.array([[1, 2, 0]], dtype=dtype)
    x = xp.asarray(a)
    assert x.dtype is widened
    agree(x, a.astype(NUMPY[widened]))
    assert xp.asarray(a[:, :0]).dtype is widened
    assert xp.asarray(a[:, :0]).shape == (1, 0)


def test_asarray_refuses_what_it_cannot_hold():
    with pytest.raises(DTypeError, match="an integer of 64 bits does not fit int64"):
        xp.asarray(np.array([2**64 - 1], dtype=np.uint64))
    with pytest.raises(DTypeError, match="no dtype is called 'complex128'"):
        xp.asarray(np.array([1j]))


def test_asarray_reads_scalars_of_numpy():
    agree(xp.asarray(np.float64(1.5)), np.float64(1.5))
    agree(xp.asarray([np.int64(2), 3]), np.array([2, 3]))
    assert xp.asarray(np.bool_(True)).dtype is bool_


def test_numpy_arrays_do_not_swallow_an_array():
    with pytest.raises(TypeError, match="unsupported operand"):
        np.ones(2) * xp.ones((2,))
    agree(np.float64(2.0) * xp.ones((2,)), np.array([2.0, 2.0]))


def test_to_numpy_shares_only_dense_memory():
    x = xp.asarray([[1.0, 2.0], [3.0, 4.0]])
    assert np.shares_memory(xp.to_numpy(x), xp.to_numpy(xp.reshape(x, shape=(4,))))
    xp.to_numpy(x.mT)[0, 0] = 9.0
    zeros = xp.zeros((2, 2))
    xp.to_numpy(zeros)[0, 0] = 9.0
    assert xp.tolist(x)[0][0] == 1.0
    assert xp.tolist(zeros) == [[0.0, 0.0], [0.0, 0.0]]
