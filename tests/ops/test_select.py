"""where, gather and scatter, masks, nonzero, one_hot: against NumPy, and torch if there."""

import pytest

import atled as at
from atled.errors import ShapeError
from atled.testing import check_grads

np = pytest.importorskip("numpy")

f64 = at.float64
X = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
INDEX = [[0, 2, 0], [1, 0, 1]]
SRC = [[10.0, 20.0, 30.0], [40.0, 50.0, 60.0]]


def pair(data):
    torch = pytest.importorskip("torch")
    return at.tensor(data, dtype=f64, requires_grad=True), torch.tensor(
        data, dtype=torch.float64, requires_grad=True
    )


def agree(mine, theirs, *leaves):
    """Compare a result and the gradients of Σ y² by each (atled's, torch's) pair of leaves."""
    np.testing.assert_allclose(mine.detach().numpy(), theirs.detach().numpy(), rtol=1e-12)
    at.sum(mine * mine).backward()
    (theirs * theirs).sum().backward()
    for ours, its in leaves:
        np.testing.assert_allclose(ours.grad.numpy(), its.grad.numpy(), rtol=1e-12)


# -- where and masks


def test_where_of_numbers_and_tensors(backend):
    c = at.tensor([True, False])
    assert at.where(c, 1, 0).tolist() == [1, 0]
    assert at.where(c, 1.5, at.tensor([1, 2])).tolist() == [1.5, 2.0]
    assert at.where(c, at.tensor([1, 2]), at.tensor([0.5, 0.5])).tolist() == [1.0, 0.5]
    assert at.where(c, at.tensor([[1.0], [2.0]]), 0.0).tolist() == [[1.0, 0.0], [2.0, 0.0]]
    with pytest.raises(at.DTypeError, match="must be boolean; found int64"):
        at.where(at.tensor([1, 0]), 1.0, 2.0)


def test_masks(backend):
    x = at.tensor(X, dtype=f64, requires_grad=True)
    picked = at.masked_select(x, x > 2)
    assert picked.tolist() == [3.0, 4.0, 5.0, 6.0]
    assert at.masked_fill(x, x > 2, -1.0).tolist() == [[1.0, 2.0, -1.0], [-1.0, -1.0, -1.0]]
    filled = at.masked_scatter(x, at.tensor([True, False, True]), [7.0, 8.0, 9.0, 10.0, 11.0])
    assert filled.tolist() == [[7.0, 2.0, 8.0], [9.0, 5.0, 10.0]]
    at.sum(picked + 0 * at.sum(filled)).backward()
    assert x.grad.tolist() == [[0.0, 0.0, 1.0], [1.0, 1.0, 1.0]]


def test_nonzero(backend):
    x = at.tensor([[0, 2], [3, 0]])
    assert [part.tolist() for part in at.nonzero(x)] == [[0, 1], [1, 0]]
    assert at.argwhere(x).tolist() == [[0, 1], [1, 0]]
    assert [part.shape for part in at.nonzero(at.zeros(0, 2))] == [(0,), (0,)]


def test_one_hot(backend):
    assert at.one_hot(at.tensor([0, 2])).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert at.one_hot(at.tensor([[1]]), 2).tolist() == [[[0, 1]]]
    for wrong in ([3], [-1]):
        with pytest.raises(at.IndexingError, match="one_hot"):
            at.one_hot(at.tensor(wrong), 3)


# -- gather and scatter


def test_take(backend):
    x = at.tensor(X, dtype=f64)
    assert at.take(x, [5, 0]).tolist() == [6.0, 1.0]
    assert at.take(x, [[0, 2], [1, 1]], axis=1).shape == (2, 2, 2)
    assert at.take(x, [-1], axis=0).tolist() == [X[1]]
    assert x.index_select(1, at.tensor([2, 0])).tolist() == [[3.0, 1.0], [6.0, 4.0]]
    assert at.take_along_axis(x, at.tensor([[2], [0]]), axis=1).tolist() == [[3.0], [4.0]]
    assert at.take_along_axis(x, at.tensor([[1, 0, 1]]), axis=0).tolist() == [[4.0, 2.0, 6.0]]
    for wrong in ([3], [-4]):
        with pytest.raises(at.IndexingError, match="out of range for size 3"):
            at.take(x, wrong, axis=1)
    with pytest.raises(at.IndexingError, match="must be integers"):
        at.take(x, [0.5], axis=1)


def test_gather_and_scatter_equal_torch():
    torch = pytest.importorskip("torch")
    i, j = at.tensor(INDEX), torch.tensor(INDEX)
    x, tx = pair(X)
    agree(at.gather(x, 1, i), torch.gather(tx, 1, j), (x, tx))
    for name in ("scatter_add", "index_add", "index_copy"):
        (x, tx), (s, ts) = pair(X), pair(SRC)
        index = (i, j) if name == "scatter_add" else (at.tensor([1, 0]), torch.tensor([1, 0]))
        dim = 1 if name == "scatter_add" else 0
        agree(getattr(at, name)(x, dim, index[0], s),
              getattr(torch, name)(tx, dim, index[1], ts), (x, tx), (s, ts))  # fmt: skip
    (x, tx), (s, ts) = pair(X), pair(SRC)
    once = [[2, 0, 1], [0, 1, 2]]
    agree(x.scatter(1, at.tensor(once), s), tx.scatter(1, torch.tensor(once), ts), (x, tx), (s, ts))


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("dim", [0, 1])
def test_scatter_reduce_equals_torch(reduce, include, dim):
    torch = pytest.importorskip("torch")
    index = INDEX if dim == 1 else [[0, 1, 0], [1, 1, 0]]
    (x, tx), (s, ts) = pair([[1.0, 2.5, 3.0], [4.0, 50.0 if include else 51.0, 6.5]]), pair(SRC)
    mine = at.scatter_reduce(x, dim, at.tensor(index), s, reduce, include)
    theirs = torch.scatter_reduce(tx, dim, torch.tensor(index), ts, reduce, include_self=include)
    agree(mine, theirs, (x, tx), (s, ts))


def test_scatter_reduce_edges(backend):
    x = at.tensor([1.0, 2.0], dtype=f64)
    empty = at.zeros(0, dtype=at.int64)
    assert at.scatter_reduce(x, 0, empty, at.zeros(0, dtype=f64), "amax").tolist() == [1.0, 2.0]
    n = at.tensor([1, 5])
    assert at.scatter_reduce(n, 0, [0, 0], at.tensor([3, 2]), "amax").tolist() == [3, 5]
    assert at.scatter_reduce(n, 0, [0, 0], at.tensor([3, 3]), "mean").tolist() == [2, 5]
    for reduce in ("prod", "amax", "mean"):
        at.testing.check_grads(
            lambda x, s, how=reduce: at.scatter_reduce(x, 0, [0, 1, 0], s, how),
            (x, at.tensor([0.0, 3.0, 4.0], dtype=f64)),
        )


def test_put_and_index_put(backend):
    x = at.tensor(X, dtype=f64)
    assert at.put(x, [0, -1], [7.0, 8.0]).tolist() == [[7.0, 2.0, 3.0], [4.0, 5.0, 8.0]]
    assert at.put(x, [0, 0], 1.0, accumulate=True)[0].tolist() == [3.0, 2.0, 3.0]
    v = at.tensor([1.0, 2.0], dtype=f64, requires_grad=True)
    twice = at.put(x, [0, 0], v)
    assert twice[0, 0].item() == 2.0
    twice[0, 0].backward()
    assert v.grad.tolist() == [0.0, 1.0]
    added = at.index_put(x, ([0, 0], [1, 1]), [1.0, 2.0], accumulate=True)
    assert added[0].tolist() == [1.0, 5.0, 3.0]


def test_index_fill(backend):
    assert at.index_fill(at.tensor(X), 1, at.tensor([0, 2]), -1.0).tolist() == [
        [-1.0, 2.0, -1.0],
        [-1.0, 5.0, -1.0],
    ]


def test_a_smaller_index_and_source(backend):
    x = at.tensor(X, dtype=f64)
    assert at.gather(x, 1, at.tensor([[2]])).tolist() == [[3.0]]
    assert at.scatter(x, 0, at.tensor([[1, 0]]), 0.0).tolist() == [[1.0, 0.0, 3.0], [0.0, 5.0, 6.0]]
    for wrong, text in (([[0, 0, 0, 0]], "leave a Tensor"), ([0], "as many axes")):
        with pytest.raises(at.ShapeError, match=text):
            at.gather(x, 0, at.tensor(wrong))
    with pytest.raises(at.IndexingError, match="out of range"):
        at.gather(x, 1, at.tensor([[3]]))


# -- arranging: names with an equal in NumPy


SIX = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    "mine",
    [
        lambda m, a: m.hstack([a, a]),
        lambda m, a: m.hstack([a[0], a[1]]),
        lambda m, a: m.vstack([a[0], a]),
        lambda m, a: m.dstack([a, a]),
        lambda m, a: m.column_stack([a[0], a.T]),
        lambda m, a: m.hsplit(a, 3),
        lambda m, a: m.hsplit(a[0], [1]),
        lambda m, a: m.vsplit(a, 2),
        lambda m, a: m.dsplit(a[None], [1, 2]),
        lambda m, a: m.atleast_2d(a, a[0], a[0, 0]),
        lambda m, a: m.atleast_3d(a, a[0]),
        lambda m, a: m.repeat(a, [2, 0, 1], axis=1),
        lambda m, a: m.inner(a, a),
        lambda m, a: m.diff(a, prepend=5.0, append=a),
    ],
)
def test_arranging_equals_numpy(mine, backend):
    results = mine(at, at.tensor(SIX, dtype=f64)), mine(np, SIX)
    ours, expected = (r if isinstance(r, (list, tuple)) else (r,) for r in results)
    assert [y.tolist() for y in ours] == [y.tolist() for y in expected]


def test_tensor_split_and_triangles(backend):
    x = at.tensor(SIX, dtype=f64)
    for cut in (2, 5, [1], [-1, 9]):
        expected = [part.tolist() for part in np.array_split(SIX, cut, axis=1)]
        assert [part.tolist() for part in at.tensor_split(x, cut, axis=1)] == expected
    assert at.tensor_split(x, at.tensor([1]), axis=1)[0].shape == (2, 1)
    assert at.tril_indices(3, 4, 1).tolist() == [i.tolist() for i in np.tril_indices(3, 1, 4)]
    assert at.triu_indices(3, offset=-1).tolist() == [i.tolist() for i in np.triu_indices(3, -1)]
    assert at.broadcast_shapes((2, 1), 3) == (2, 3)
    assert at.broadcast_shapes() == ()
    assert [t.shape for t in at.broadcast_tensors(x, x[:, :1])] == [(2, 3), (2, 3)]


def test_products_skip_what_beta_removes(backend):
    x = at.full((2, 2), float("nan"))
    assert at.addmm(x, at.ones(2, 3), at.ones(3, 2), beta=0).tolist() == [[3.0, 3.0]] * 2


# -- cutting into pieces


@pytest.mark.parametrize("used", [[0], [1, 2], [0, 3], [3], [0, 1, 2, 3]])
@pytest.mark.parametrize("cut", ["unstack", "split", "iterate"])
def test_pieces_that_are_not_used_have_zero_gradients(cut, used, backend):
    def f(x):
        pieces = {
            "unstack": lambda: at.unstack(x, 1),
            "split": lambda: at.split(x, [2, 0, 1, 1], 1),
            "iterate": lambda: list(x.T),
        }[cut]()
        return [pieces[i] ** 2 for i in used]

    check_grads(f, at.reshape(at.arange(8.0, dtype=f64), (2, 4)))


def test_n_rows_are_one_node_with_n_outputs():
    """A node a row would pull back one whole array of zeros a row: n² work."""
    x = at.ones(5, 3).requires_grad_()
    rows = list(x)
    hubs = {row.grad_fn.next_functions[0][0] if hasattr(row.grad_fn, "next_functions") else None
            for row in rows}  # fmt: skip
    assert len(hubs) == 1
    assert [len(p) for p in (at.unstack(at.ones(0, 2)), at.split(at.ones(0, 2), 3))] == [0, 1]
    with pytest.raises(ShapeError, match="split"):
        at.split(x, 0)
