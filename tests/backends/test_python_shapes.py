"""The `python` backend's movement, indexing and matrix product against literal values."""

import math
import struct

import pytest

from atled.backends.protocol import load
from atled.backends.python import Array
from atled.dtypes import float64, int64
from atled.errors import DTypeError, IndexingError, ShapeError

xp = load("python")
NAN, INF = math.nan, math.inf
LOWEST, HIGHEST = -(2**63), 2**63 - 1


def same(x, expected, dtype=None):
    """Assert the nested lists (by repr: dtype, nan and the sign of zero count) of an Array."""
    assert isinstance(x, Array)
    assert repr(xp.tolist(x)) == repr(expected)
    if dtype is not None:
        assert x.dtype is dtype


# -- movement ------------------------------------------------------------------------------------


def test_movement_by_hand():
    x = xp.asarray([[1, 2, 3], [4, 5, 6]])
    same(xp.reshape(x.mT, shape=(2, 3)), [[1, 4, 2], [5, 3, 6]])
    same(xp.permute_dims(x, axes=(1, 0)), [[1, 4], [2, 5], [3, 6]])
    same(xp.broadcast_to(xp.asarray([[1], [2]]), shape=(2, 2, 2)), [[[1, 1], [2, 2]]] * 2)
    assert xp.broadcast_to(x, shape=(2, 3)) is x
    same(xp.concat(x, x[:, :1] + 0.5, axis=1), [[1.0, 2.0, 3.0, 1.5], [4.0, 5.0, 6.0, 4.5]])
    same(xp.concat(x[:0], x, axis=0), [[1, 2, 3], [4, 5, 6]])
    same(xp.slice(x, index=((0, 1, 1), (2, None, -2))), [[3, 1]])
    same(
        xp.place(xp.asarray([[7, 8]]), index=((1, 2, 1), (2, None, -2)), shape=(2, 3)),
        [[0, 0, 0], [8, 0, 7]],
    )
    same(xp.place(xp.asarray(3.0), index=(), shape=()), 3.0)


def test_movement_errors():
    x = xp.zeros((2, 3))
    with pytest.raises(
        ShapeError, match=r"reshape: 6 elements of shape \(2, 3\) do not fill \(4,\)"
    ):
        xp.reshape(x, shape=(4,))
    with pytest.raises(ShapeError, match=r"do not fill \(-2, -3\)"):
        xp.reshape(x, shape=(-2, -3))
    with pytest.raises(
        ShapeError, match=r"permute_dims: axes \(0,\) are not the 2 axes of \(2, 3\)"
    ):
        xp.permute_dims(x, axes=(0,))
    with pytest.raises(ShapeError, match=r"shape \(2, 3\) cannot be broadcast to \(3, 3\)"):
        xp.broadcast_to(x, shape=(3, 3))
    with pytest.raises(ShapeError, match=r"shape \(2, 3\) cannot be broadcast to \(3,\)"):
        xp.broadcast_to(x, shape=(3,))
    with pytest.raises(ShapeError, match="concat: expected at least one array; found none"):
        xp.concat(axis=0)
    with pytest.raises(ShapeError, match=r"concat: shapes \(2, 3\), \(3, 2\) differ off axis 0"):
        xp.concat(x, x.mT, axis=0)
    with pytest.raises(ShapeError, match=r"differ off axis 1"):
        xp.concat(x, xp.zeros((2,)), axis=1)
    with pytest.raises(ShapeError, match=r"slice: 1 entries for the 2 axes of \(2, 3\)"):
        xp.slice(x, index=((0, 1, 1),))
    with pytest.raises(ShapeError, match=r"place: .* of \(4,\) has shape \(1,\); x has \(3,\)"):
        xp.place(xp.zeros((3,)), index=((0, 1, 1),), shape=(4,))
    with pytest.raises(ShapeError, match=r"add: shapes \(2, 3\) and \(2,\) do not broadcast"):
        x + xp.zeros((2,))
    with pytest.raises(ShapeError, match=r"logical_and: shapes \(3,\) and \(2,\) do not broadcast"):
        xp.logical_and(xp.zeros((3,)), xp.zeros((2,)))


# -- gather, scatter, matmul ---------------------------------------------------------------------


def test_gather_and_scatter_by_hand():
    x = xp.asarray([[1.0, 2.0], [3.0, 4.0]])
    i, j = xp.asarray([1, 0, 1]), xp.asarray([0, 1, 0])
    same(xp.gather_nd(x, i), [[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]])
    same(xp.gather_nd(x.mT, i, j), [2.0, 3.0, 2.0])
    same(xp.gather_nd(x, xp.asarray(1)), [3.0, 4.0])
    assert xp.gather_nd(x, xp.zeros((0, 2), dtype=int64)).shape == (0, 2, 2)
    same(xp.scatter_nd_add(x, xp.asarray([10.0, 20.0, 30.0]), i, j), [[1.0, 22.0], [43.0, 4.0]])
    same(xp.scatter_nd_add(x, xp.ones((3, 2)), i), [[2.0, 3.0], [5.0, 6.0]])
    same(xp.scatter_nd_set(x, xp.asarray([10.0, 20.0, 30.0]), i, j), [[1.0, 20.0], [30.0, 4.0]])
    same(xp.scatter_nd_set(x, xp.asarray([[7, 8]]), xp.asarray([0])), [[7.0, 8.0], [3.0, 4.0]])
    same(x, [[1.0, 2.0], [3.0, 4.0]])
    same(xp.scatter_nd_add(xp.asarray([HIGHEST]), 1, xp.asarray([0])), [LOWEST])
    same(xp.scatter_nd_add(xp.asarray([True, False]), True, xp.asarray([0])), [True, False])


@pytest.mark.parametrize("name", ["gather_nd", "scatter_nd_add", "scatter_nd_set"])
def test_bad_indices_are_refused(name):
    def call(x, *indices):
        return getattr(xp, name)(x, *((0.0,) if "scatter" in name else ()), *indices)

    x, good = xp.zeros((2, 3)), xp.asarray([0])
    with pytest.raises(IndexingError, match=rf"{name}: indices from 0 to 3 leave axis 1 of shape"):
        call(x, xp.asarray([0, 0]), xp.asarray([0, 3]))
    with pytest.raises(IndexingError, match=r"from -1 to 0 leave axis 0 .* must lie in \[0, 2\)"):
        call(x, xp.asarray([0, -1]))
    with pytest.raises(DTypeError, match=f"{name}: indices must be int64; found float64"):
        call(x, xp.asarray([0.0]))
    with pytest.raises(
        ShapeError, match=r"expected one to 2 index arrays .* found 2: \(1,\), \(\)"
    ):
        call(x, good, xp.asarray(0))
    with pytest.raises(ShapeError, match=r"found 3: \(1,\), \(1,\), \(1,\)"):
        call(x, good, good, good)
    with pytest.raises(ShapeError, match="found 0"):
        call(x)


def test_scattered_values_must_fit():
    with pytest.raises(ShapeError, match=r"shape \(4,\) cannot be broadcast to \(1, 3\)"):
        xp.scatter_nd_add(xp.zeros((2, 3)), xp.zeros((4,)), xp.asarray([0]))


@pytest.mark.parametrize("k", [0, 1, 2, 3, 5, 9])
def test_matmul_by_hand(k):
    a = [[float(1 + i + 2 * j) for j in range(k)] for i in range(3)]
    b = [[float(i - j) for j in range(2)] for i in range(k)]
    expected = [[float(sum(p * b[t][j] for t, p in enumerate(r))) for j in range(2)] for r in a]
    a, b = xp.reshape(xp.asarray(a), shape=(3, k)), xp.reshape(xp.asarray(b), shape=(k, 2))
    same(xp.matmul(a, b), expected, float64)
    same(
        xp.matmul(xp.astype(a, int64), xp.astype(b, int64)),
        [[*map(int, r)] for r in expected],
        int64,
    )
    stacked = xp.broadcast_to(a, shape=(2, 1, 3, k)) @ xp.broadcast_to(b, shape=(3, k, 2))
    same(stacked, [[expected] * 3] * 2)
    same(xp.broadcast_to(a, shape=(2, 3, k)) @ b, [expected] * 2)


def test_matmul_edges():
    same(xp.asarray([[True, True]]) @ xp.asarray([[True], [True]]), [[2]], int64)
    same(xp.asarray([[INF, 0.0, 1.0]]) @ xp.asarray([[0.0], [1.0], [1.0]]), [[NAN]])
    same(xp.asarray([[INF, 1.0, 1.0]]) @ xp.asarray([[1.0], [-1.0], [1.0]]), [[INF]])
    assert (xp.zeros((0, 2)) @ xp.zeros((2, 3))).shape == (0, 3)
    for a, b in (((2,), (2, 2)), ((2, 2), (2,)), ((2, 3), (2, 3))):
        with pytest.raises(ShapeError, match=r"matmul: shapes .* and .* do not fit: expected"):
            xp.matmul(xp.zeros(a), xp.zeros(b))
    with pytest.raises(ShapeError, match=r"matmul: shapes \(2,\) and \(3,\) do not broadcast"):
        xp.matmul(xp.zeros((2, 1, 1)), xp.zeros((3, 1, 1)))


def test_sums_do_not_depend_on_strides():
    values = [math.sin(i) * 10.0 ** (i % 7) for i in range(120)]
    x = xp.reshape(xp.asarray(values), shape=(4, 30))
    copied = xp.asarray([list(c) for c in zip(*x.tolist(), strict=True)])
    for a, b in ((xp.sum(x.mT, axis=1), xp.sum(copied, axis=1)), (xp.sum(x.mT), xp.sum(copied))):
        assert struct.pack(f"{a.size}d", *a.flat()) == struct.pack(f"{b.size}d", *b.flat())
