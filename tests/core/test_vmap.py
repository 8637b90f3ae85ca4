"""`vmap`: axes, nests, chunks, leaks, and what a function of one example may and may not do."""

from collections import namedtuple
from dataclasses import dataclass

import pytest

import atled as at
from atled.testing import assert_close

f64 = at.float64


def tensor(data):
    return at.tensor(data, dtype=f64)


def grid(*shape):
    return at.reshape(at.arange(at.zeros(shape).size, dtype=f64), shape)


def dot(a, b):
    return (a * b).sum()


# -- axes


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_any_axis_in_and_out(axis, backend):
    x = grid(2, 3, 4)
    assert at.vmap(lambda x: x * 2, axis, axis)(x).tolist() == (x * 2).tolist()
    y = at.vmap(lambda x: x.sum(axis=0), axis)(x)
    loop = at.stack([part.sum(axis=0) for part in at.unstack(x, axis)])
    assert y.tolist() == loop.tolist()


@pytest.mark.parametrize(("a_axis", "b_axis"), [(0, 0), (1, 0), (0, 1), (1, 1), (-1, -2)])
def test_axes_of_several_arguments(a_axis, b_axis, backend):
    a, b = grid(3, 3), grid(3, 3) + 1
    loop = at.stack([dot(p, q) for p, q in zip(at.unstack(a, a_axis), at.unstack(b, b_axis),
                                               strict=True)])  # fmt: skip
    assert at.vmap(dot, (a_axis, b_axis))(a, b).tolist() == loop.tolist()
    assert at.vmap(dot, [a_axis, b_axis])(a, b).tolist() == loop.tolist()


def test_an_argument_for_all_examples(backend):
    a, b = grid(4, 3), tensor([1.0, 10.0, 100.0])
    assert at.vmap(dot, (0, None))(a, b).tolist() == (a @ b).tolist()
    assert at.vmap(dot, (None, 0))(b, a).tolist() == (a @ b).tolist()
    assert at.vmap(lambda x, name: x + len(name), (0, None))(b, "two").tolist() == [4, 13, 103]


def test_keyword_arguments_are_mapped_over_their_first_axis(backend):
    a, b = grid(3, 2), grid(3, 2) + 1
    found = at.vmap(lambda a, *, b: dot(a, b))(a, b=b)
    assert found.tolist() == (a * b).sum(axis=1).tolist()


Pair = namedtuple("Pair", "a b")


@dataclass
class Point:
    x: object
    y: object


def test_nests_in_and_out(backend):
    p = {"w": grid(3, 2), "b": [tensor(5.0), None]}
    q = Pair(grid(2, 3), Point(grid(3), 7))

    def f(p, q):
        total = dot(p["w"], q.a) + p["b"][0] + q.b.x + q.b.y
        return {"total": total, "pair": Pair(q.a, total * 2), "none": None, "number": 1.5}

    axes = ({"w": 0, "b": None}, Pair(1, Point(0, None)))
    out = at.vmap(f, axes, {"total": 0, "pair": Pair(1, 0), "none": 0, "number": None})(p, q)
    expected = [dot(p["w"][i], q.a[:, i]) + 5.0 + q.b.x[i] + 7 for i in range(3)]
    assert_close(out["total"], at.stack(expected))
    assert out["pair"].a.tolist() == q.a.tolist()
    assert_close(out["pair"].b, at.stack(expected) * 2)
    assert out["none"] is None
    assert out["number"].item() == 1.5
    assert at.vmap(lambda x: 2.0)(grid(3)).tolist() == [2.0] * 3


def test_out_axes_of_what_is_the_same_for_all(backend):
    w = tensor([1.0, 2.0])
    x = grid(3, 2)
    assert at.vmap(lambda x: w, 0, None)(x).tolist() == [1.0, 2.0]
    assert at.vmap(lambda x: w * 2, 0, 1)(x).tolist() == [[2.0] * 3, [4.0] * 3]
    y = at.vmap(lambda x: (x.sum(), w.sum()), 0, (0, None))(x)
    assert y[1].item() == 3.0


@pytest.mark.parametrize("out_axes", [0, 1, None])
def test_the_gradient_of_what_is_the_same_for_all(out_axes, backend):
    """A result that no example changes counts once for each place that it is returned in."""
    w = tensor([1.0, 2.0])
    g = at.grad(lambda w: at.vmap(lambda x: w * w, 0, out_axes)(grid(3, 2)).sum())(w)
    times = 1 if out_axes is None else 3
    assert g.tolist() == [2.0 * times, 4.0 * times]


def test_a_batch_of_no_examples_and_of_one(backend):
    for n in (0, 1):
        x = at.zeros((n, 3), dtype=f64)
        assert at.vmap(lambda x: x.sum())(x).shape == (n,)
        assert at.vmap(at.grad(lambda x: (x * x).sum()))(x).shape == (n, 3)
        assert at.vmap(lambda x: x @ x)(x).shape == (n,)
        assert at.vmap(lambda x: at.softmax(x), 0, 1)(x).shape == (3, n)
        g = at.grad(lambda w, x=x: at.vmap(lambda x: (w * x).sum())(x).sum())(tensor([1.0] * 3))
        assert g.tolist() == [0.0] * 3


def test_examples_without_axes(backend):
    x = tensor([1.0, 2.0, 3.0])
    assert at.vmap(lambda x: x * x)(x).tolist() == [1.0, 4.0, 9.0]
    assert at.vmap(lambda x: x.sum())(x).tolist() == [1.0, 2.0, 3.0]
    assert at.vmap(lambda x: at.stack([x, x]).max())(x).tolist() == [1.0, 2.0, 3.0]
    assert at.vmap(at.vmap(lambda a, b: a * b, (None, 0)), (0, None))(x, x).tolist() == [
        [1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 6.0, 9.0],
    ]  # fmt: skip


def test_deep_nests_of_vmap(backend):
    a, b, c = grid(2), grid(3) + 1, grid(4) + 2
    f = lambda a, b, c: a * b + b * c
    third = at.vmap(f, (None, None, 0))
    second = at.vmap(third, (None, 0, None))
    found = at.vmap(second, (0, None, None))(a, b, c)
    expected = [[[x * y + y * z for z in c.tolist()] for y in b.tolist()] for x in a.tolist()]
    assert found.tolist() == expected


# -- what a function of one example may do


def test_indexing_by_a_value_of_each_example(backend):
    x, i = grid(3, 4), at.tensor([2, 0, -1])
    assert at.vmap(lambda x, i: x[i])(x, i).tolist() == [2.0, 4.0, 11.0]
    assert at.vmap(lambda i: x[i])(i).tolist() == [x[k].tolist() for k in (2, 0, 2)]
    assert at.vmap(lambda i: x[:, i])(i).tolist() == [x[:, k].tolist() for k in (2, 0, 3)]
    assert at.vmap(lambda x, i: x[None, ..., i, None])(x, i).shape == (3, 1, 1)
    assert at.vmap(lambda x, i: at.take(x, i))(x, i).tolist() == [2.0, 4.0, 11.0]
    g = at.vmap(at.grad(lambda x, i: x[i] ** 2))(x, i)
    assert g[0].tolist() == [0.0, 0.0, 4.0, 0.0]
    with pytest.raises(at.IndexingError, match="index 4 is out of range for size 4"):
        at.vmap(lambda x, i: x[i])(x, i + 2)


def test_assignments_to_a_value_of_each_example(backend):
    def f(x, v):
        y = x * 1
        y[0] = v
        y[1:] *= 2
        y += 1
        return y

    x, v = grid(2, 3), tensor([10.0, 20.0])
    assert at.vmap(f)(x, v).tolist() == [f(a, b).tolist() for a, b in zip(x, v, strict=True)]
    gx, gv = at.vmap(at.grad(lambda x, v: f(x, v).sum(), (0, 1)))(x, v)
    assert gx.tolist() == [[0.0, 2.0, 2.0]] * 2
    assert gv.tolist() == [1.0, 1.0]


def test_values_that_are_the_same_for_all_can_be_read(backend):
    w = tensor(2.0)

    def f(x):
        return x * 2 if w > 1 else x

    assert at.vmap(f)(grid(2)).tolist() == [0.0, 2.0]


def test_one_hot_bincount_and_masks(backend):
    labels = at.tensor([1, 0, 2])
    assert at.vmap(lambda k: at.one_hot(k, 3))(labels).tolist() == at.one_hot(labels, 3).tolist()
    with pytest.raises(at.IndexingError, match="must not be negative"):
        at.vmap(lambda k: at.one_hot(k, 3))(labels - 1)
    rows = at.tensor([[0, 2, 2], [1, 1, 1]])
    counts = at.vmap(lambda r: at.bincount(r, minlength=4))(rows)
    assert counts.tolist() == [[1, 0, 2, 0], [0, 3, 0, 0]]
    with pytest.raises(at.IndexingError, match="out of range for size 2"):
        at.vmap(lambda r: at.bincount(r, minlength=2))(rows)
    with pytest.raises(at.TransformError, match="a value was asked for"):
        at.vmap(lambda r: at.bincount(r))(rows)
    masks = at.tensor([[True, False, True], [False, True, False]])
    filled = at.vmap(at.masked_scatter, (0, 0, None))(grid(2, 3), masks, tensor([7.0, 8.0]))
    assert filled.tolist() == [[7.0, 1.0, 8.0], [3.0, 7.0, 5.0]]
    with pytest.raises(at.ShapeError, match="more places, but 1 elements"):
        at.vmap(at.masked_scatter, (0, 0, None))(grid(2, 3), masks, tensor([7.0]))


def test_writes_that_meet_at_one_place(backend):
    x, index, src = at.zeros((2, 3), dtype=f64), at.tensor([[0, 0, 2], [1, 1, 1]]), grid(2, 3) + 1
    put = at.vmap(lambda x, i, s: at.scatter(x, 0, i, s))(x, index, src)
    assert put.tolist() == [[2.0, 0.0, 3.0], [0.0, 6.0, 0.0]]
    added = at.vmap(lambda x, i, s: at.scatter_add(x, 0, i, s))(x, index, src)
    assert added.tolist() == [[3.0, 0.0, 3.0], [0.0, 15.0, 0.0]]
    for how, row in (("amax", [2.0, 0.0, 3.0]), ("mean", [1.0, 0.0, 1.5]), ("prod", [0.0] * 3)):
        found = at.vmap(lambda x, i, s, how=how: at.scatter_reduce(x, 0, i, s, how))(x, index, src)
        assert found[0].tolist() == row
    alone = at.vmap(lambda x, i, s: at.scatter_reduce(x, 0, i, s, "prod", False))(x, index, src)
    assert alone.tolist() == [[2.0, 0.0, 3.0], [0.0, 120.0, 0.0]]


def test_backward_inside(backend):
    w = tensor([1.0, 2.0]).requires_grad_()

    def f(x):
        return (w * x).sum()

    at.vmap(f)(grid(3, 2)).sum().backward()
    assert w.grad.tolist() == [6.0, 9.0]


def test_per_sample_gradients(backend):
    w, x, y = grid(3), grid(4, 3), grid(4)

    def loss(w, x, y):
        return (dot(w, x) - y) ** 2

    found = at.vmap(at.grad(loss), (None, 0, 0))(w, x, y)
    assert_close(found, at.stack([at.grad(loss)(w, x[i], y[i]) for i in range(4)]))


# -- chunks


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 7, 100])
def test_chunks_give_equal_results(chunk_size, backend):
    x = grid(5, 7)

    def f(x, w):
        return (at.sin(x) * w).sum(), x

    whole = at.vmap(f, (1, None), (0, -1))(x, tensor(2.0))
    parts = at.vmap(f, (1, None), (0, -1), chunk_size=chunk_size)(x, tensor(2.0))
    assert_close(parts, whole, 0.0, 0.0)
    same = at.vmap(lambda x, w: w * 2, (1, None), None, chunk_size=chunk_size)(x, tensor(2.0))
    assert same.item() == 4.0
    g = at.grad(lambda x: at.vmap(f, (1, None), (0, -1), chunk_size=chunk_size)(x, 2.0)[0].sum())
    assert_close(g(x), at.cos(x) * 2)


def test_a_chunk_is_as_large_as_asked(backend):
    sizes = []

    def f(x):
        sizes.append(1)
        return x

    at.vmap(f, chunk_size=2)(grid(5))
    assert len(sizes) == 3


# -- errors

X = at.tensor([[1.0, 2.0], [3.0, 4.0]])
ERRORS = [
    (lambda: at.vmap(dot, (0,))(X, X), at.ShapeError, r"vmap\(dot\): in_axes has 1 entries for 2"),
    (lambda: at.vmap(dot, (None, None))(X, X), at.ShapeError, "no argument is mapped"),
    (lambda: at.vmap(dot)(X, X[:1]), at.ShapeError, r"equally long; found lengths \[2, 1\]"),
    (lambda: at.vmap(at.sin, 2)(X), at.ShapeError, "axis 2 is out of range for 2"),
    (lambda: at.vmap(at.sin)(X[0, 0]), at.ShapeError, "axis 0 is out of range for 0"),
    (lambda: at.vmap(at.sin, 0, 2)(X), at.ShapeError, "axis 2 is out of range for 2"),
    (lambda: at.vmap(at.sin, (True,))(X), TypeError, "an axis is an integer or None; found True"),
    (lambda: at.vmap(at.sin, "0")(X), TypeError, "an axis is an integer or None; found '0'"),
    (lambda: at.vmap(sum, ([0],))([X, X]), at.ShapeError, "does not fit an argument with 2 leaves"),
    (lambda: at.vmap(sum, ({"a": 0},))([X]), at.ShapeError, "needs an entry for each part"),
    (lambda: at.vmap(sum, ({"b": 0},))({"a": X}), at.ShapeError, "needs an entry for each part"),
    (lambda: at.vmap(lambda x: (x, x), 0, (0,))(X), at.ShapeError, "out_axes: "),
    (lambda: at.vmap(at.sin, 0, None)(X), at.TransformError, "out_axes is None for a result that"),
    (lambda: at.vmap(at.add)(X, 1.0), at.TransformError, "is a Tensor or an array; found float"),
    (lambda: at.vmap(lambda x: "no")(X), at.TransformError, "Tensors and numbers .*found a str"),
    (lambda: at.vmap(at.sin, chunk_size=0), ValueError, "chunk_size is at least 1; found 0"),
    (lambda: at.vmap(at.sin, randomness="any"), ValueError, "randomness is one of"),
    (lambda: at.vmap(lambda x: x if x.sum() > 0 else -x)(X), at.TransformError,
     r"a value was asked for inside vmap\(<lambda>\).*2 examples.*at\.where"),
    (lambda: at.vmap(lambda x: x * float(x.sum()))(X), at.TransformError, "a value was asked for"),
    (lambda: at.vmap(lambda x: x * x.sum().item())(X), at.TransformError, "a value was asked for"),
    (lambda: at.vmap(lambda x: at.tensor(x.tolist()))(X), at.TransformError, "a value was asked"),
    (lambda: at.vmap(lambda x: x[x > 1])(X), at.TransformError, r"at\.where\(mask, x, other\)"),
    (lambda: at.vmap(at.nonzero)(X), at.TransformError, "how many elements are nonzero differs"),
    (lambda: at.vmap(at.unique_values)(X), at.TransformError, "nonzero inside vmap"),
    (lambda: at.vmap(lambda x: at.repeat(x, x.astype(at.int64)))(X), at.TransformError, "a value"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "error", "text"), ERRORS)
def test_errors_say_what_was_found(wrong, error, text):
    with pytest.raises(error, match=text):
        wrong()


def test_the_array_of_a_batch_is_no_array():
    np = pytest.importorskip("numpy", reason="asks for NumPy's arrays")
    at.use("numpy")
    for ask in (lambda x: x.numpy(), lambda x: x.array, np.asarray):
        with pytest.raises(at.TransformError, match="was asked for inside"):
            at.vmap(lambda x, ask=ask: at.asarray(ask(x)))(at.ones((2, 2)))


def test_a_rule_cannot_ask_for_a_truth(backend):
    def f(x):
        with pytest.raises(at.TransformError, match="the truth of a Tensor was asked for"):
            bool(x._value)
        return x

    at.vmap(f)(grid(2))


def test_axes_of_a_dict_go_by_its_keys(backend):
    nest = {"a": grid(3, 2), "b": grid(2, 3)}
    found = at.vmap(lambda p: p["a"] + p["b"], ({"b": 1, "a": 0},))(nest)
    assert found.tolist() == (nest["a"] + nest["b"].T).tolist()


def test_a_leaked_tensor_says_where_it_was_born(backend):
    kept = []

    def remember(x):
        kept.append(x * 2)
        return x

    at.vmap(remember)(grid(3, 2))
    for use in (lambda x: x + 1, at.sin, lambda x: x.sum(), lambda x: at.vmap(at.sin)(x)):
        with pytest.raises(at.TransformError, match=r"leaked out of vmap\(remember\)"):
            use(kept[0])
    with pytest.raises(at.TransformError, match=r"test_vmap\.py"):
        kept[0] + 1


def test_a_failed_function_leaves_everything_as_it_was(backend):
    def fails(x):
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        at.vmap(fails)(grid(3))
    assert at.vmap(at.sin)(at.zeros(2, dtype=f64)).tolist() == [0.0, 0.0]
    x = at.zeros(2, dtype=f64)
    x += 1
    assert x.tolist() == [1.0, 1.0]


def test_a_search_in_a_row_of_each_example(backend):
    rows = tensor([[0.0, 1.0, 1.0, 3.0], [-1.0, 1.0, float("nan"), float("nan")]])
    sought = tensor([[1.0, 3.5, float("nan")], [0.0, 5.0, float("nan")]])
    answers = {"left": [[1, 4, 4], [1, 2, 2]], "right": [[3, 4, 4], [1, 2, 4]]}  # NumPy's
    for side, expected in answers.items():
        found = at.vmap(lambda r, s, side=side: at.searchsorted(r, s, side=side))(rows, sought)
        assert found.tolist() == expected
    none = at.vmap(at.searchsorted)(at.zeros((2, 0), dtype=f64), sought)
    assert none.tolist() == [[0] * 3] * 2


def test_membership_in_a_row_of_each_example(backend):
    x, known = grid(2, 3), tensor([[1.0, 7.0], [3.0, 5.0]])
    assert at.vmap(at.isin)(x, known).tolist() == [[False, True, False], [True, False, True]]


def test_a_tensor_from_outside_cannot_be_changed_for_each_example(backend):
    total = at.zeros(2, dtype=f64)

    def add(x):
        nonlocal total
        total += x
        return x

    with pytest.raises(at.TransformError, match="changed in place to a value that differs"):
        at.vmap(add)(grid(3, 2))
    assert total.tolist() == [0.0, 0.0]


def test_dtypes_of_batches(backend):
    for dtype in (at.float32, at.float64, at.int64, at.bool):
        if dtype in at.current_backend().dtypes:
            x = at.ones((2, 3), dtype=dtype)
            assert at.vmap(lambda x: x[0])(x).dtype is dtype
            assert at.vmap(lambda x: x.sum())(x).dtype is x.sum().dtype
            assert at.vmap(lambda x: x * 2)(x).dtype is (x * 2).dtype
