"""Reading and writing x[...]: every kind of index against NumPy, with gradients, and the errors."""

import math

import pytest

import atled as at

np = pytest.importorskip("numpy")

f64 = at.float64
DATA = np.arange(24.0).reshape(2, 3, 4) + 1
MASK = DATA[:, :, 0] > 5

INDICES = {
    "int": 1,
    "negative int": -1,
    "slice": np.s_[:, 1:],
    "step": np.s_[:, ::2],
    "negative step": np.s_[:, ::-1, ::-2],
    "negative step, bounds": np.s_[:, 2:0:-1],
    "empty slice": np.s_[:, 2:1],
    "beyond": np.s_[:, 1:100, -100:2],
    "ellipsis": np.s_[..., 1],
    "ellipsis between": np.s_[1, ..., 2],
    "ellipsis of nothing": np.s_[..., 0, 0, 0],
    "none": np.s_[:, None, 1],
    "none and ellipsis": np.s_[None, ..., None],
    "all ints": (1, 2, 3),
    "list": [1, 0, 1],
    "array": np.array([[0, 1], [1, 1]]),
    "negative array": np.array([-1, -2]),
    "array behind": np.s_[:, [2, 0]],
    "arrays together": np.s_[:, [2, 0], [3, 1]],
    "arrays broadcast": np.s_[:, [[2], [0]], [3, 1]],
    "arrays apart": np.s_[[1, 0], :, [3, 1]],
    "array and int": np.s_[[1, 0], 2],
    "int and array": np.s_[1, :, [3, 1]],
    "array and slice": np.s_[[1, 0], ::2],
    "array and none": np.s_[[1, 0], None],
    "mask": DATA > 7,
    "mask of two axes": MASK,
    "mask of the last axis": np.s_[:, :, [True, False, True, True]],
    "mask and int": np.s_[MASK, 1],
    "mask and array": np.s_[[True, False], [0, 2]],
    "no true": DATA > 100,
    "repeated": np.s_[[0, 0, 1, 0], [1, 1, 2, 1]],
    "empty list": np.array([], dtype=int),
    "numpy int": np.int64(1),
}


def ours(index):
    """Return an index with atled's Tensors for NumPy's arrays."""
    if isinstance(index, tuple):
        return tuple(ours(i) for i in index)
    return at.tensor(index) if isinstance(index, np.ndarray) else index


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_reading_equals_numpy(index, backend):
    x = at.tensor(DATA, dtype=f64, requires_grad=True)
    y, expected = x[ours(index)], DATA[index]
    assert y.shape == expected.shape
    assert y.tolist() == expected.tolist()
    weights = np.arange(expected.size, dtype=float).reshape(expected.shape) + 1
    (g,) = at.autograd.grad(y, x, at.tensor(weights, dtype=f64))
    gradient = np.zeros_like(DATA)
    np.add.at(gradient, index, weights)
    assert g.tolist() == gradient.tolist()


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
@pytest.mark.parametrize("whole", [True, False])
def test_writing_equals_numpy(index, whole, backend):
    part = DATA[index]
    value = -np.arange(1.0, part.size + 1).reshape(part.shape) if whole else np.array(-1.0)
    expected = DATA.copy()
    expected[index] = value
    x = at.tensor(DATA, dtype=f64, requires_grad=True)
    v = at.tensor(value, dtype=f64, requires_grad=True)
    y = x * 1
    y[ours(index)] = v
    assert y.tolist() == expected.tolist()
    assert x.tolist() == DATA.tolist()
    places = np.arange(DATA.size, dtype=float).reshape(DATA.shape) + 1
    gx, gv = at.autograd.grad(y, (x, v), at.tensor(places, dtype=f64), materialize_grads=True)
    kept = places.copy()
    kept[index] = 0
    assert gx.tolist() == kept.tolist()
    writer = np.full(DATA.shape, -1)  # which element of the value was written last at each place
    writer[index] = np.arange(part.size).reshape(part.shape)
    taken = np.zeros(part.size)
    np.add.at(taken, writer[writer >= 0], places[writer >= 0])
    taken = taken.reshape(part.shape) if whole else taken.sum()
    assert gv.tolist() == taken.tolist()


def test_second_order_through_reads_and_writes():
    def f(x, v):
        y = x * x
        y[[0, 2]] = v * x[::-1][:2]
        y[y > 2] = 0.5 * v[0] ** 2
        return y[[1, 1, 2]] ** 3

    x = at.tensor([0.5, 1.2, 0.7], dtype=f64)
    at.testing.check_grads(f, (x, at.tensor([1.5, -0.5], dtype=f64)))


def test_reads_of_a_name_after_a_write():
    x = at.tensor([1.0, 2.0], dtype=f64, requires_grad=True)
    c = at.zeros(3, dtype=f64)
    c[0] = x[0]
    before = c * c
    c[0] = c[0] + x[1]
    c[1:] += x
    (before[0] + c[0] * c[2]).backward()
    assert x.grad.tolist() == [2.0 + 2.0, 2.0 + 3.0]


def test_a_value_broadcasts_and_takes_the_dtype(backend):
    x = at.zeros(2, 3)
    x[:, 1] = 2
    x[1] = at.tensor([1, 2, 3])
    x[0] = [7.0, 8.0, 9.0]
    assert x.tolist() == [[7.0, 8.0, 9.0], [1.0, 2.0, 3.0]]
    assert x.dtype is at.current_backend().default_float
    n = at.zeros(2, dtype=at.int64)
    n[0] = True
    assert n.tolist() == [1, 0]


def test_a_float_written_into_integers_is_cut_as_in_pytorch():
    n = at.zeros(2, dtype=at.int64)
    n[0] = 1.7
    assert n.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("index", "text"),
    [
        (2, "index 2 is out of range for axis 0"),
        (-3, "index -3 is out of range"),
        ((0, 3), "index 3 is out of range for axis 1"),
        ((0, 0, 0), "3 indices for a Tensor of 2"),
        ((..., ...), "one ellipsis"),
        ([0, 2], "index 2 is out of range for size 2"),
        ([0.5], "indices must be integers"),
        (slice(0.5), "slice parts must be integers"),
        (slice(None, None, 0), "step not 0"),
        (True, "single True or False"),
        ([True, False, True], r"a boolean index of shape \(3,\) meets axes of shape \(2,\)"),
        (([0, 1], [0, 1, 2]), "do not broadcast"),
    ],
)
def test_errors_say_what_is_wrong(index, text, backend):
    x = at.zeros(2, 3)
    with pytest.raises(at.AtledError, match=text) as caught:
        x[index]
    with pytest.raises(at.AtledError, match=text):
        x[index] = 0.0
    assert isinstance(caught.value, (IndexError, ValueError))
    assert x.tolist() == [[0.0] * 3] * 2


def test_a_value_that_does_not_fit_is_refused(backend):
    x = at.zeros(2, 3)
    with pytest.raises(at.ShapeError, match=r"shape \(2,\) does not fit a part of \(3,\)"):
        x[0] = at.ones(2)
    assert x.tolist() == [[0.0] * 3] * 2


def test_a_write_into_a_leaf_is_refused_if_its_gradient_would_be_lost():
    x = at.zeros(2, requires_grad=True)
    with pytest.raises(at.GradError, match="in-place"):
        x[0] = at.ones(1, requires_grad=True)[0]


def test_diagonals(backend):
    """`diagonal`, `diag`, `trace` and einsum's repeated letters raised a KeyError."""
    x = at.tensor(DATA, dtype=f64)
    for offset in (-2, 0, 1, 5):
        assert at.diagonal(x, offset, 1, 2).tolist() == np.diagonal(DATA, offset, 1, 2).tolist()
    assert at.diag(at.tensor([1.0, 2.0]), -1).tolist() == np.diag([1.0, 2.0], -1).tolist()
    assert at.diag(x[0], 1).tolist() == np.diag(DATA[0], 1).tolist()
    assert at.trace(x[0]).item() == np.trace(DATA[0])
    assert at.einsum("ii->i", x[0, :, :3]).tolist() == np.diagonal(DATA[0]).tolist()
    at.testing.check_grads(lambda a: at.trace(a) * at.diag(at.diag(a)), x[0, :, :3])
    with pytest.raises(at.ShapeError, match="a vector or a matrix"):
        at.diag(x)


def test_indexing_by_a_tensor_of_one_integer(backend):
    x = at.tensor([1.0, 2.0, 3.0])
    assert x[at.tensor(1)].item() == 2.0
    assert x[at.argmax(x)].item() == 3.0
    assert math.isclose(x[at.tensor([2])].item(), 3.0)
