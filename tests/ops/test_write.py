"""Writing a copy of x: values that broadcast or are cast, places that repeat, what is refused."""

import pytest

import atled as at
from atled.errors import DTypeError, ShapeError
from atled.testing import assert_close, check_grads

f64 = at.float64
ROWS = [0, 2]


WRITERS = {
    "index_add": lambda x, v: at.index_add(x, 0, at.tensor(ROWS), v),
    "index_add, last axis": lambda x, v: at.index_add(x, 1, at.tensor(ROWS), v),
    "index_copy": lambda x, v: at.index_copy(x, 0, at.tensor(ROWS), v),
    "index_fill": lambda x, v: at.index_fill(x, 0, at.tensor(ROWS), v),
    "index_put": lambda x, v: at.index_put(x, [at.tensor(ROWS)], v),
    "index_put, adding": lambda x, v: at.index_put(x, [at.tensor(ROWS)], v, accumulate=True),
    "scatter": lambda x, v: at.scatter(x, 0, at.tensor([[0, 1, 2]]), v),
    "scatter_add": lambda x, v: at.scatter_add(x, 0, at.tensor([[0, 1, 2]]), v),
    "put": lambda x, v: at.put(x, at.tensor(ROWS), v),
    "masked_fill": lambda x, v: at.masked_fill(x, at.tensor([True, False, True]), v),
    "select_scatter": lambda x, v: at.select_scatter(x, v, 0, 1),
    "slice_scatter": lambda x, v: at.slice_scatter(x, v, 0, 0, 2),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_value_that_broadcasts_gets_a_gradient_of_its_own_shape(name, backend):
    v = at.tensor(2.0, dtype=f64).requires_grad_()
    x = at.zeros(3, 3, dtype=f64).requires_grad_()
    y = WRITERS[name](x, v)
    y.sum().backward()
    assert v.grad.shape == ()
    assert float(v.grad) == float((y == 2).sum())
    assert x.grad.shape == (3, 3)
    check_grads(lambda a, b: WRITERS[name](a, b), (at.ones(3, 3, dtype=f64), v.detach()))


@pytest.mark.parametrize("name", WRITERS)
def test_a_value_is_cast_to_the_dtype_of_x_and_its_gradient_back(name):
    pytest.importorskip("numpy", reason="the python backend has one floating and one integer dtype")
    v = at.tensor(2.0, dtype=at.float32).requires_grad_()
    y = WRITERS[name](at.zeros(3, 3, dtype=f64), v)
    y.sum().backward()
    assert y.dtype is f64
    assert v.grad.dtype is at.float32
    assert WRITERS[name](at.zeros(3, 3, dtype=at.float32), v.astype(f64)).dtype is at.float32


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("value", [1.5, "tensor"])
def test_a_float_is_refused_by_integers(name, value, backend):
    v = at.tensor(1.5) if value == "tensor" else value
    with pytest.raises(DTypeError, match="float"):
        WRITERS[name](at.zeros(3, 3, dtype=at.int64), v)


def test_a_number_is_written_in_the_precision_of_x(backend):
    x = at.zeros(3, dtype=f64)
    x[0] = 0.1
    assert x[0].item() == 0.1
    x[at.tensor([False, True, False])] = 0.1
    assert x[1].item() == 0.1
    assert at.index_fill(x, 0, at.tensor([2]), 0.1)[2].item() == 0.1
    assert at.index_add(x, 0, at.tensor([2]), [0.1])[2].item() == 0.1


REPEATED = {
    "index_copy": lambda x, v: at.index_copy(x, 0, at.tensor([1, 1, 0]), v),
    "index_put": lambda x, v: at.index_put(x, [at.tensor([1, 1, 0])], v),
    "scatter": lambda x, v: at.scatter(x, 0, at.tensor([[1, 1], [1, 0], [1, 1]]), v),
    "setitem": lambda x, v: _set(x, at.tensor([1, 1, 0]), v),
    "put": lambda x, v: at.put(x, at.tensor([1, 1, 0, 2, 2, 2]), v),
}


def _set(x, index, v):
    x = x * 1
    x[index] = v
    return x


@pytest.mark.parametrize("name", REPEATED)
def test_an_overwritten_value_has_no_gradient(name, backend):
    v = (at.reshape(at.arange(6.0, dtype=f64), (3, 2)) + 1).requires_grad_()
    x = at.zeros(3, 2, dtype=f64).requires_grad_()
    y = REPEATED[name](x, v)
    y.sum().backward()
    stays = at.tensor([[float(e in y.reshape(-1).tolist()) for e in row] for row in v.tolist()])
    assert_close(v.grad, stays.astype(f64))
    check_grads(REPEATED[name], (x.detach(), v.detach()))


def test_values_that_do_not_fit_are_named():
    with pytest.raises(ShapeError, match=r"index_add.*\(5,\).*\(2, 3\)"):
        at.index_add(at.zeros(3, 3), 0, at.tensor(ROWS), at.ones(5))
    with pytest.raises(ShapeError, match="scatter"):
        at.scatter(at.zeros(3, 3), 0, at.tensor([[0, 1, 2]]), at.ones(1, 2))


def test_index_select_takes_torchs_keywords():
    x = at.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert at.index_select(x, dim=1, index=at.tensor([1])).tolist() == [[2.0], [4.0]]
    assert at.index_select(x, 1, at.tensor([1])).tolist() == [[2.0], [4.0]]
    assert at.narrow(x, dim=1, start=1, length=1).tolist() == [[2.0], [4.0]]


def test_infer_refuses_a_value_of_another_shape():
    from atled.core.op import REGISTRY, Spec

    x, v, i = Spec((3, 2), f64), Spec((), f64), Spec((2,), at.int64)
    for name in ("scatter_nd_add", "scatter_nd_set"):
        with pytest.raises(ShapeError, match=name):
            REGISTRY[name].infer(x, v, i)


def test_integers_of_any_width_meet():
    pytest.importorskip("numpy", reason="the python backend has one floating and one integer dtype")
    x = at.zeros(3, dtype=at.uint8)
    assert at.index_fill(x, 0, at.tensor([1]), 7).tolist() == [0, 7, 0]
    assert at.index_add(x, 0, at.tensor([1, 1]), at.tensor([1, 2])).tolist() == [0, 3, 0]
    with pytest.raises(DTypeError, match="int64"):
        at.index_fill(at.zeros(3, dtype=at.bool), 0, at.tensor([1]), 7)
