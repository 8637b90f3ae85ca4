"""The `python` backend's functions against literal values, and their errors."""

import math

import pytest

from atled.backends.protocol import load
from atled.backends.python import Array
from atled.dtypes import bool_, float64, int64
from atled.errors import DTypeError, ShapeError

xp = load("python")
NAN, INF = math.nan, math.inf
LOWEST, HIGHEST = -(2**63), 2**63 - 1


def same(x, expected, dtype=None):
    """Assert the nested lists (by repr: dtype, nan and the sign of zero count) of an Array."""
    assert isinstance(x, Array)
    assert repr(xp.tolist(x)) == repr(expected)
    if dtype is not None:
        assert x.dtype is dtype


# -- IEEE values where Python raises -------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("log", [0.0, -0.0, -1.0, INF, NAN, 1.0], [-INF, -INF, NAN, INF, NAN, 0.0]),
        ("log", [0, 1], [-INF, 0.0]),
        ("log1p", [-1.0, -2.0, 0.0], [-INF, NAN, 0.0]),
        ("log2", [0.0, 8.0, -1.0], [-INF, 3.0, NAN]),
        ("log10", [0.0, 1000.0, -1.0], [-INF, 3.0, NAN]),
        ("sqrt", [-1.0, 4.0, INF, -0.0], [NAN, 2.0, INF, -0.0]),
        ("exp", [1000.0, -INF, 0.0, NAN], [INF, 0.0, 1.0, NAN]),
        ("exp2", [3.0, 2000.0, -INF], [8.0, INF, 0.0]),
        ("expm1", [1000.0, -INF], [INF, -1.0]),
        ("sin", [INF, -INF, 0.0], [NAN, NAN, 0.0]),
        ("cos", [INF, 0.0], [NAN, 1.0]),
        ("tan", [-INF, 0.0], [NAN, 0.0]),
        ("asin", [2.0, 0.0], [NAN, 0.0]),
        ("acos", [-2.0, 1.0], [NAN, 0.0]),
        ("atan", [INF], [math.pi / 2]),
        ("sinh", [-1000.0, 1000.0, 0.0], [-INF, INF, 0.0]),
        ("cosh", [-1000.0, 1000.0, 0.0], [INF, INF, 1.0]),
        ("tanh", [-INF, 1000.0], [-1.0, 1.0]),
        ("asinh", [-INF, 0.0], [-INF, 0.0]),
        ("acosh", [0.5, 1.0, INF], [NAN, 0.0, INF]),
        ("atanh", [1.0, -1.0, 2.0, 0.0], [INF, -INF, NAN, 0.0]),
        ("erf", [INF, -INF, 0.0, NAN], [1.0, -1.0, 0.0, NAN]),
        ("lgamma", [0.0, -1.0, -INF, INF, 1.0, 1e306], [INF, INF, INF, INF, 0.0, INF]),
        ("floor", [INF, -INF, NAN, -0.5, 2.5, -0.0], [INF, -INF, NAN, -1.0, 2.0, -0.0]),
        ("ceil", [1.5, -0.5, 1e300], [2.0, -0.0, 1e300]),
        ("trunc", [-1.5, INF, -0.5], [-1.0, INF, -0.0]),
        ("round", [0.5, 1.5, 2.5, -2.5, INF, NAN], [0.0, 2.0, 2.0, -2.0, INF, NAN]),
        ("sign", [-3.0, -0.0, 0.0, 2.0, NAN, INF], [-1.0, 0.0, 0.0, 1.0, NAN, 1.0]),
        ("abs", [-0.0, -INF, NAN], [0.0, INF, NAN]),
        ("isnan", [NAN, INF, 0.0], [True, False, False]),
        ("isinf", [NAN, INF, -INF], [False, True, True]),
        ("isfinite", [NAN, INF, 0.0], [False, False, True]),
        ("signbit", [-0.0, 0.0, -INF], [True, False, True]),
        ("logical_not", [0.0, 2.0, NAN], [True, False, False]),
    ],
)
def test_floats(name, x, expected):
    same(getattr(xp, name)(xp.asarray(x)), expected)
    same(getattr(xp, name)(xp.asarray([x, x]).mT), [[v, v] for v in expected])


@pytest.mark.parametrize(
    ("name", "a", "b", "expected"),
    [
        ("divide", [1.0, -1.0, 1.0], [0.0, 0.0, -0.0], [INF, -INF, -INF]),
        ("divide", [0.0, NAN, INF], [0.0, 0.0, INF], [NAN, NAN, NAN]),
        ("divide", [1, 0], [0, 0], [INF, NAN]),
        ("floor_divide", [1.0, -1.0, 0.0, 7.0], [0.0, 0.0, 0.0, -2.0], [INF, -INF, NAN, -4.0]),
        ("remainder", [5.0, -5.0, 1.0, INF], [-3.0, 3.0, 0.0, 2.0], [-1.0, 1.0, NAN, NAN]),
        ("remainder", [-5.0, 5.0], [INF, INF], [INF, 5.0]),
        ("pow", [0.0, -0.0, -0.0, -8.0], [-1.0, -1.0, -2.0, 1 / 3], [INF, -INF, INF, NAN]),
        ("pow", [1e200, -1e200, -1e200], [2.0, 3.0, 2.0], [INF, -INF, INF]),
        ("pow", [NAN, 1.0, INF], [0.0, NAN, -1.0], [1.0, 1.0, 0.0]),
        ("maximum", [NAN, 1.0, 3.0, INF], [1.0, NAN, 2.0, NAN], [NAN, NAN, 3.0, NAN]),
        ("minimum", [NAN, 1.0, 3.0, -INF], [1.0, NAN, 2.0, NAN], [NAN, NAN, 2.0, NAN]),
        ("hypot", [3.0, INF, 1e308], [4.0, NAN, 1e308], [5.0, INF, math.hypot(1e308, 1e308)]),
        ("logaddexp", [-INF, -INF, INF, NAN], [-INF, 1.0, 0.0, 0.0], [-INF, 1.0, INF, NAN]),
        ("logaddexp", [INF, 1000.0, 0.0], [INF, 0.0, NAN], [INF, 1000.0, NAN]),
        ("copysign", [1.0, -2.0, 0.0], [-0.0, 1.0, -1.0], [-1.0, 2.0, -0.0]),
        ("nextafter", [0.0, 1.0], [1.0, 0.0], [5e-324, 1.0 - 2**-53]),
        ("atan2", [0.0, 1.0], [-1.0, 0.0], [math.pi, math.pi / 2]),
        ("logical_and", [0.0, NAN], [1.0, 2.0], [False, True]),
        ("logical_or", [0, 0], [0, 5], [False, True]),
        ("logical_xor", [True, True], [False, True], [True, False]),
        ("equal", [NAN, 0.0], [NAN, -0.0], [False, True]),
    ],
)  # fmt: skip
def test_float_pairs(name, a, b, expected):
    same(getattr(xp, name)(xp.asarray(a), xp.asarray(b)), expected)


def test_logaddexp_is_stable():
    same(xp.logaddexp(xp.asarray([1000.0]), 1000.0), [1000.0 + math.log(2)])


# -- integers: two's complement, floor semantics -------------------------------------------------


@pytest.mark.parametrize(
    ("name", "a", "b", "expected"),
    [
        ("add", [HIGHEST, 1], [1, 1], [LOWEST, 2]),
        ("subtract", [LOWEST], [1], [HIGHEST]),
        ("multiply", [2**62, 3], [4, 5], [0, 15]),
        ("floor_divide", [7, -7, 7, LOWEST], [2, 2, 0, -1], [3, -4, 0, LOWEST]),
        ("remainder", [7, -7, 7, -7], [-2, 2, 0, -2], [-1, 1, 0, -1]),
        ("pow", [2, 3, -2, 2], [64, 40, 63, 0], [0, -6289078614652622815, LOWEST, 1]),
        ("maximum", [1, 5], [3, 2], [3, 5]),
        ("bitwise_left_shift", [1, 3, 1, 1], [63, 1, 64, -1], [LOWEST, 6, 0, 0]),
        ("bitwise_right_shift", [-8, 8, -1, 1], [1, 2, 64, -1], [-4, 2, -1, 0]),
    ],
)
def test_integer_pairs(name, a, b, expected):
    same(getattr(xp, name)(xp.asarray(a), xp.asarray(b)), expected, int64)


def test_integers_of_one_array():
    same(-xp.asarray([LOWEST, 3]), [LOWEST, -3])
    same(xp.abs(xp.asarray([LOWEST, -3])), [LOWEST, 3])
    same(xp.square(xp.asarray([2**32, 3])), [0, 9])
    same(xp.sign(xp.asarray([-5, 0, 7])), [-1, 0, 1], int64)
    same(xp.floor(xp.asarray([1, 2])), [1, 2], int64)
    same(xp.isnan(xp.asarray([1])), [False])
    same(xp.negative(xp.asarray([True])), [-1], int64)
    same(xp.abs(xp.asarray([True])), [True])
    same(xp.sum(xp.asarray([HIGHEST, 1])), LOWEST)
    same(xp.prod(xp.asarray([3] * 40)), 3**40 - 2**64)
    same(xp.prod(xp.asarray([3] * 80)), ((3**80 + 2**63) % 2**64) - 2**63)
    same(xp.cumulative_sum(xp.asarray([HIGHEST, 1, 1]), axis=0), [HIGHEST, LOWEST, LOWEST + 1])
    same(xp.cumulative_prod(xp.asarray([2**62, 2, 2]), axis=0), [2**62, LOWEST, 0])
    same(xp.asarray([[2**62]]) @ xp.asarray([[2]]), [[LOWEST]])


def test_negative_integer_powers_are_refused():
    with pytest.raises(DTypeError, match="pow: 2 to the power -1 is not an integer; convert"):
        xp.pow(xp.asarray([2]), xp.asarray([-1]))
    same(xp.pow(xp.asarray([2]), -1.0), [0.5])


@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_left_shift", "bitwise_right_shift"])
def test_bits_of_floats_are_refused(name):
    with pytest.raises(DTypeError, match=f"{name} is not defined on float64; convert"):
        getattr(xp, name)(xp.asarray([1]), xp.asarray([1.0]))
    with pytest.raises(DTypeError, match="bitwise_invert is not defined on float64"):
        xp.bitwise_invert(xp.asarray([1.0]))


def test_scalars_that_do_not_fit_are_refused():
    with pytest.raises(DTypeError, match="add: an integer of 71 bits does not fit int64"):
        xp.asarray([1]) + 2**70
    with pytest.raises(DTypeError, match="multiply: an integer of 1329 bits does not fit float64"):
        xp.asarray([1.0]) * 10**400
    same(xp.asarray([1.0]) + 2**70, [1.0 + 2**70])


# -- where, astype -------------------------------------------------------------------------------


def test_where_takes_scalars_and_broadcasts():
    c = xp.asarray([True, False])
    same(xp.where(c, 1, 0), [1, 0], int64)
    same(xp.where(c, 1, 0.5), [1.0, 0.5], float64)
    same(xp.where(c, xp.asarray([1.0, 2.0]), 0), [1.0, 0.0])
    same(xp.where(c, True, xp.asarray([[False], [True]])), [[True, False], [True, True]], bool_)
    same(xp.where(xp.asarray(True), xp.asarray([1, 2]), 3), [1, 2])
    same(xp.where(xp.asarray([[True], [False]]), xp.asarray([1, 2]), 0), [[1, 2], [0, 0]])
    with pytest.raises(ShapeError, match=r"where: shapes \(2,\) and \(3,\) do not broadcast"):
        xp.where(c, xp.zeros((3,)), 0.0)


def test_astype():
    x = xp.asarray([1.9, -1.9, NAN, INF, -INF, 1e19, 0.0])
    assert xp.astype(x, dtype=float64) is x
    same(xp.astype(x, dtype=int64), [1, -1, LOWEST, LOWEST, LOWEST, LOWEST, 0])
    same(xp.astype(x, dtype=bool_), [True] * 6 + [False])
    same(xp.astype(xp.asarray([1, 2]), dtype=float64), [1.0, 2.0])
    same(xp.astype(xp.asarray([True]), float64), [1.0])


# -- reductions ----------------------------------------------------------------------------------


def test_reductions_by_hand():
    x = xp.asarray([[1.0, 5.0, 3.0], [4.0, 2.0, 6.0]])
    same(xp.sum(x, axis=None, keepdims=False), 21.0)
    same(xp.sum(x, axis=0, keepdims=True), [[5.0, 7.0, 9.0]])
    same(xp.sum(x, axis=-1), [9.0, 12.0])
    same(xp.sum(x, axis=()), [[1.0, 5.0, 3.0], [4.0, 2.0, 6.0]])
    same(xp.prod(x, axis=(0, 1), keepdims=True), [[720.0]])
    same(xp.max(x.mT, axis=0), [5.0, 6.0])
    same(xp.min(x), 1.0)
    same(xp.argmax(x), 5, int64)
    same(xp.argmax(x, axis=0, keepdims=True), [[1, 0, 1]])
    same(xp.argmin(x, axis=1), [0, 1])
    same(xp.all(x > 1, axis=1), [False, True], bool_)
    same(xp.any(x > 5), True)
    same(xp.cumulative_sum(x, axis=1), [[1.0, 6.0, 9.0], [4.0, 6.0, 12.0]])
    same(xp.cumulative_prod(x, axis=0), [[1.0, 5.0, 3.0], [4.0, 10.0, 18.0]])
    same(xp.sum(xp.asarray([True, True])), 2, int64)
    same(xp.max(xp.asarray([True, False])), True, bool_)


def test_reductions_of_nothing():
    x = xp.zeros((2, 0))
    same(xp.sum(x), 0.0)
    same(xp.sum(x, axis=1), [0.0, 0.0])
    same(xp.prod(x, axis=1, keepdims=True), [[1.0], [1.0]])
    same(xp.all(x), True)
    same(xp.any(x, axis=1), [False, False])
    same(xp.max(x, axis=0), [])
    same(xp.cumulative_sum(x, axis=1), [[], []])
    for name in ("max", "min", "argmax", "argmin"):
        with pytest.raises(
            ShapeError, match=rf"{name}: no elements along axis 1 of shape \(2, 0\)"
        ):
            getattr(xp, name)(x, axis=1)


def test_nan_wins():
    x = xp.asarray([[1.0, NAN, NAN], [2.0, 3.0, 3.0]])
    same(xp.max(x, axis=1), [NAN, 3.0])
    same(xp.min(x, axis=1), [NAN, 2.0])
    same(xp.argmax(x, axis=1), [1, 1])
    same(xp.argmin(x, axis=1), [1, 0])
    same(xp.max(xp.asarray([INF, -INF])), INF)
    same(xp.argmax(xp.asarray([-INF, INF])), 1)


@pytest.mark.parametrize("length", [31, 32, 33, 100])
def test_lanes_of_every_length_add_up(length):
    x = xp.reshape(xp.arange(2 * length, dtype=float64), shape=(2, length))
    same(xp.sum(x, axis=1), [sum(range(length)) * 1.0, sum(range(length, 2 * length)) * 1.0])
    same(xp.sum(x.mT, axis=0), xp.tolist(xp.sum(x, axis=1)))
    same(xp.argmax(x, axis=1), [length - 1] * 2)


def test_axes_that_do_not_exist_are_refused():
    with pytest.raises(ShapeError, match=r"axis 2 does not exist in an array of shape \(2, 3\)"):
        xp.sum(xp.zeros((2, 3)), axis=2)
    with pytest.raises(ShapeError, match=r"axes \(0, -2\) name an axis of shape \(2, 3\) twice"):
        xp.sum(xp.zeros((2, 3)), axis=(0, -2))
    with pytest.raises(ShapeError, match="axis 1 does not exist"):
        xp.argsort(xp.zeros((3,)), axis=1, descending=False)


# -- order ---------------------------------------------------------------------------------------


def test_argsort_is_stable_both_ways():
    x = xp.asarray([2.0, NAN, 1.0, 2.0, INF, NAN])
    same(xp.argsort(x, axis=0, descending=False), [2, 0, 3, 4, 1, 5])
    same(xp.argsort(x, axis=0, descending=True), [1, 5, 4, 0, 3, 2])
    same(xp.argsort(xp.asarray([[1, 0], [0, 1]]), axis=0, descending=False), [[1, 0], [0, 1]])


def test_searchsorted():
    x = xp.asarray([1.0, 2.0, 2.0, 3.0])
    at = xp.asarray([[0.0, 2.0], [3.0, NAN]])
    same(xp.searchsorted(x, at, side="left"), [[0, 1], [3, 4]], int64)
    same(xp.searchsorted(x, at, side="right"), [[0, 3], [4, 4]])
    same(xp.searchsorted(xp.asarray([1.0, NAN]), xp.asarray([NAN, 9.0]), side="left"), [1, 1])
    with pytest.raises(ShapeError, match=r"x1 must have one axis; found shape \(\)"):
        xp.searchsorted(xp.asarray(1.0), at, side="left")
    with pytest.raises(ShapeError, match="side must be 'left' or 'right'; found 'middle'"):
        xp.searchsorted(x, at, side="middle")


def test_nonzero():
    rows, columns = xp.nonzero(xp.asarray([[0.0, 1.0], [NAN, 0.0]]))
    same(rows, [0, 1], int64)
    same(columns, [1, 0])
    assert [i.shape for i in xp.nonzero(xp.zeros((2, 0)))] == [(0,), (0,)]
    with pytest.raises(ShapeError, match="nonzero: a 0-d array has no indices; reshape"):
        xp.nonzero(xp.asarray(1.0))
