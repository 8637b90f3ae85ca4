"""Sorting, searching and sets: order of equals, NaN, against NumPy and torch; gradients."""

import math

import pytest

import atled as at

np = pytest.importorskip("numpy")

f64 = at.float64
TIES = [[2.0, 1.0, 2.0, 0.0], [3.0, 3.0, 1.0, 3.0]]


def test_sorting_is_stable_both_ways(backend):
    x = at.tensor(TIES, dtype=f64)
    assert at.argsort(x, axis=1).tolist() == [[3, 1, 0, 2], [2, 0, 1, 3]]
    assert at.argsort(x, axis=1, descending=True).tolist() == [[0, 2, 1, 3], [0, 1, 3, 2]]
    assert at.sort(x, axis=0, descending=True)[0].tolist() == [3.0, 3.0, 2.0, 3.0]
    assert at.msort(x)[0].tolist() == [2.0, 1.0, 1.0, 0.0]


def test_nan_sorts_last(backend):
    x = at.tensor([2.0, math.nan, 1.0], dtype=f64)
    assert at.sort(x)[:2].tolist() == [1.0, 2.0]
    assert math.isnan(at.sort(x)[2].item())


def test_gradients_follow_the_elements(backend):
    x = at.tensor([[0.3, -1.0, 2.0], [0.5, 0.4, 0.1]], dtype=f64)
    for f in (
        lambda x: at.sort(x) ** 2,
        lambda x: at.sort(x, axis=0, descending=True) ** 2,
        lambda x: at.topk(x, 2).values ** 2,
        lambda x: at.topk(x, 2, axis=0, largest=False).values ** 2,
        lambda x: at.kthvalue(x, 2).values ** 2,
        lambda x: at.median(x, axis=1) ** 2,
        lambda x: at.mode(x).values ** 2,
        lambda x: at.unique_values(x) ** 2,
        lambda x: at.unique_all(x).values ** 2,
        lambda x: at.unique_consecutive(x) ** 2,
        lambda x: at.cummax(x).values ** 2,
        lambda x: at.quantile(x, [0.2, 0.9], axis=1) ** 2,
    ):
        at.testing.check_grads(f, x)


def test_topk_and_kthvalue(backend):
    x = at.tensor(TIES, dtype=f64)
    values, indices = at.topk(x, 2)
    assert values.tolist() == [[2.0, 2.0], [3.0, 3.0]]
    assert indices.tolist() == [[0, 2], [0, 1]]
    assert at.kthvalue(x, 2).values.tolist() == [1.0, 3.0]
    assert at.kthvalue(x, 1, axis=0, keepdims=True).values.shape == (1, 4)
    with pytest.raises(at.ShapeError, match="k = 5 of axis 1"):
        at.topk(x, 5)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("keepdims", [True, False])
def test_median_and_quantiles_equal_numpy(axis, keepdims, backend):
    data = np.random.default_rng(0).normal(size=(4, 5))
    x = at.tensor(data, dtype=f64)
    pairs = [(at.median(x, axis, keepdims), np.median(data, axis, keepdims=keepdims))]
    for q in (0.0, 0.3, [0.1, 1.0]):
        for how in ("linear", "lower", "higher", "nearest", "midpoint"):
            theirs = np.quantile(data, q, axis, method=how, keepdims=keepdims)
            pairs.append((at.quantile(x, q, axis, keepdims, how), theirs))
    for mine, theirs in pairs:
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-13)


def test_searching(backend):
    edges = at.tensor([1.0, 2.0, 2.0, 3.0], dtype=f64)
    x = [0.0, 2.0, 5.0]
    assert at.searchsorted(edges, x).tolist() == [0, 1, 4]
    assert at.searchsorted(edges, x, side="right").tolist() == [0, 3, 4]
    assert at.bucketize(x, edges).tolist() == [0, 1, 4]
    assert at.bucketize(x, edges, right=True).tolist() == [0, 3, 4]
    with pytest.raises(at.ShapeError, match="one-dimensional"):
        at.searchsorted(at.zeros(2, 2), x)


def test_running_extremes_take_the_last_of_equals(backend):
    x = at.tensor([1.0, 3.0, 3.0, 2.0, 3.0], dtype=f64)
    assert at.cummax(x).indices.tolist() == [0, 1, 2, 2, 4]
    assert at.cummin(-x).indices.tolist() == [0, 1, 2, 2, 4]
    n = at.tensor([[3, 1], [3, 5]])
    assert at.cummin(n, axis=0).values.tolist() == [[3, 1], [3, 1]]


def test_mode(backend):
    x = at.tensor([[1.0, 3.0, 1.0, 3.0], [5.0, 4.0, 4.0, 5.0], [2.0, 9.0, 9.0, 9.0]], dtype=f64)
    values, indices = at.mode(x)
    assert values.tolist() == [1.0, 4.0, 9.0]
    assert indices.tolist() == [2, 2, 3]
    assert at.mode(x, axis=0, keepdims=True).values.shape == (1, 4)


def test_sets_equal_numpy(backend):
    data = np.array([[3, 1, 3], [2, 1, 3]])
    found, expected = at.unique_all(at.tensor(data)), np.unique_all(data)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.tolist() == theirs.tolist()
    assert at.unique_inverse(at.tensor(data)).inverse_indices.tolist() == expected[2].tolist()
    assert at.unique_counts(at.tensor(data)).counts.tolist() == [2, 1, 3]
    assert at.unique(at.tensor(data)).tolist() == [1, 2, 3]
    assert at.isin(at.tensor(data), [3, 7]).tolist() == np.isin(data, [3, 7]).tolist()
    nothing = at.isin(at.tensor(data), at.zeros(0, dtype=at.int64))
    assert nothing.tolist() == [[False] * 3] * 2


def test_unique_consecutive(backend):
    x = at.tensor([1, 1, 2, 2, 2, 1])
    values, inverse, counts = at.unique_consecutive(x, return_inverse=True, return_counts=True)
    assert values.tolist() == [1, 2, 1]
    assert inverse.tolist() == [0, 0, 1, 1, 1, 2]
    assert counts.tolist() == [2, 3, 1]
    assert at.unique_consecutive(x).tolist() == [1, 2, 1]


def test_counting(backend):
    assert at.bincount(at.tensor([1, 3, 1])).tolist() == [0, 2, 0, 1]
    assert at.bincount(at.tensor([1, 3, 1]), [0.5, 1.0, 2.0], 6).tolist() == [0, 2.5, 0, 1, 0, 0]
    assert at.bincount(at.zeros(0, dtype=at.int64), minlength=2).tolist() == [0, 0]
    x = at.tensor([0.0, 0.5, 1.0, 2.0, 3.0, 3.0], dtype=f64)
    assert at.histc(x, bins=3).tolist() == [2.0, 1.0, 3.0]
    assert at.histc(x, 2, 0.0, 2.0).tolist() == [2.0, 2.0]
    assert at.histc(at.ones(2), 2).tolist() == [0.0, 2.0]


def test_logcumsumexp_over_any_range(backend):
    """It underflowed to -inf where a later element was 800 larger."""
    x = at.tensor([0.0, 0.0, 1000.0, -1000.0], dtype=f64)
    assert at.logcumsumexp(x).tolist() == [0.0, math.log(2), 1000.0, 1000.0]
    assert at.logcumsumexp(at.zeros(0)).shape == (0,)


def test_order_equals_torch():
    torch = pytest.importorskip("torch")
    rows = torch.tensor(TIES, dtype=torch.float64)
    x = at.tensor(TIES, dtype=f64)
    for mine, theirs in (
        (at.cummax(x, axis=1), torch.cummax(rows, 1)),
        (at.cummin(x, axis=1), torch.cummin(rows, 1)),
        (at.mode(x), torch.mode(rows)),
    ):
        assert mine.values.tolist() == theirs.values.tolist()
        assert mine.indices.tolist() == theirs.indices.tolist()
