"""NumPy's functions on Tensors: the generated table, NumPy code as it stands, and every refusal."""

import inspect
import math

import numpy as np
import pytest
from scipy import special

import atled as at
from atled.core import interop
from atled.core.interop import InteropError
from tests.core import numpy_table

f64 = at.float64


def leaf(data):
    return at.tensor(data, dtype=f64, requires_grad=True)


# -- the table -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "function"), list(numpy_table.callables()))
def test_every_cell_of_the_table(name, function):
    assert numpy_table.judge(name, function)


def test_the_page_is_what_the_table_says():
    page = numpy_table.DOCUMENT.read_text(encoding="utf-8")
    if f"NumPy {numpy_table.VERSION}." not in page:
        pytest.skip("the page is of another version of NumPy, with other names")
    assert page == numpy_table.document()


def test_the_table_would_notice():
    """The check itself must fail: a silent zero, a detached array, a wrong value, a lost write."""

    def constant(x):
        return at.tensor(np.sin(np.asarray(x.detach()))) if isinstance(x, at.Tensor) else np.sin(x)

    def detached(x):
        return np.sin(np.asarray(x.detach() if isinstance(x, at.Tensor) else x))

    def wrong(x):
        return np.sin(x) * (2 if isinstance(x, at.Tensor) else 1)

    def nameless(x):
        if isinstance(x, at.Tensor):
            raise at.GradError("no")
        return np.sin(x)

    for cheat in (constant, detached, wrong, nameless, lambda x: None):
        with pytest.raises(AssertionError):
            numpy_table.judge("sin", cheat)


@pytest.mark.parametrize(
    "f",
    [
        lambda t: np.interp([0.4, 0.6], [0.0, 0.5, 1.0], t[:3]),
        lambda t: np.interp(0.4, [0.0, 0.5, 1.0], t[:3], left=2.0),
        lambda t: np.average([1.0, 2.0, 3.0, 5.0], weights=t),
        lambda t: np.trapezoid([1.0, 2.0, 4.0, 3.0], t),
        lambda t: np.gradient(t, [0.0, 0.5, 0.7, 2.0]),
        lambda t: np.diff([1.0, 2.0], append=t),
        lambda t: np.clip(t, 0.2, None),
        lambda t: np.where(np.array([1, 0, 2, 0]), t, 2 * t),
        lambda t: np.cov(t, [1.0, 0.0, 2.0, 5.0], bias=True),
        lambda t: np.linalg.norm(np.reshape(t, (2, 2)), np.inf),
        lambda t: np.linalg.norm(t, 3),
        lambda t: np.linalg.norm(t, 0),
        lambda t: np.einsum("i,j->ij", t, t),
        lambda t: np.pad(t, (1, 2), mode="edge"),
        lambda t: np.pad(t, 2, constant_values=3.0),
        lambda t: np.quantile(np.reshape(t, (2, 2)), 0.2, axis=(0, 1)),
        lambda t: np.convolve(t, [1.0, 2.0], mode="same"),
        lambda t: np.convolve(t, [1.0, 2.0], mode="valid"),
        lambda t: np.correlate(t, [1.0, 2.0, 0.5]),
        lambda t: np.cumsum(np.reshape(t, (2, 2))),
        lambda t: np.sum(t, keepdims=True),
        lambda t: np.nanmean(np.where(np.array([True, False, True, True]), t, np.nan)),
        lambda t: np.nanstd(np.where(np.array([True, False, True, True]), t, np.nan)),
        lambda t: np.nanmax(np.where(np.array([True, False, True, True]), t, np.nan)),
        lambda t: np.full_like(np.zeros(4), 0) + np.array([1.0, 2, 3, 4]) * t,
        lambda t: np.linspace(0.0, t, 5, axis=1),
        lambda t: np.vstack([t, [1.0, 2.0, 3.0, 4.0]]),
        lambda t: np.block([[np.reshape(t, (2, 2)), np.eye(2)], [np.ones((1, 4))]]),
        lambda t: np.bincount([0, 1, 1, 2], weights=t),
        lambda t: np.repeat(np.reshape(t, (2, 2)), [1, 2], axis=0),
        lambda t: np.delete(t, [0, -1]),
        lambda t: np.insert(t, 2, t[0]),
        lambda t: np.cbrt(t),
        lambda t: np.add.reduce(np.reshape(t, (2, 2))),
        lambda t: np.multiply.reduce(t),
        lambda t: np.maximum.reduce(np.reshape(t, (2, 2)), axis=1, keepdims=True),
        lambda t: np.minimum.accumulate(t),
        lambda t: np.add.accumulate(np.reshape(t, (2, 2)), axis=1),
        lambda t: np.multiply.outer(t, [1.0, 2.0]),
        lambda t: np.divmod(t, 0.2)[1],
        lambda t: special.erf(t) + special.expit(t) + special.gammaln(t),
        lambda t: special.xlogy(t, 2.0) + special.psi(t) + special.entr(t),
        lambda t: np.float64(2.0) * t + np.ones(4) / t - np.ones(4) ** t,
        lambda t: np.ones((2, 4)) @ t,
        lambda t: np.power(t, 3) + np.hypot(t, 1.0) + np.ldexp(t, 3),
        lambda t: np.unique(t),
        lambda t: np.mean(t, axis=0),
        lambda t: np.roll(np.tile(t, 2), 3)[::-1],
        lambda t: np.fft.fftshift(t),
    ],
)
def test_values_and_gradients_equal_numpys(f):
    x = np.array([0.31, 0.62, 0.43, 0.87])
    t = leaf(x)
    y = f(t)
    assert isinstance(y, at.Tensor)
    np.testing.assert_allclose(y.detach().numpy(), f(x), rtol=1e-12, atol=1e-12)
    numeric, v = numpy_table._differences(lambda a: np.asarray(f(a)), x)
    if not y.requires_grad:
        assert not numeric.any()
        return
    (g,) = at.autograd.grad(y, t, at.tensor(v))
    np.testing.assert_allclose(g.numpy(), numeric, rtol=1e-5, atol=1e-7)


# -- programs


def test_jacobian_of_dot_is_the_matrix():
    """HIPS/autograd#423: all zeros there, with only a warning."""
    a = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    for product in (np.dot, np.matmul, lambda m, x: m @ x, lambda m, x: np.einsum("ij,j", m, x)):
        x = leaf([0.5, -1.0])
        y = product(a, x)
        rows = [at.autograd.grad(y[i], x, retain_graph=True)[0].tolist() for i in range(3)]
        assert rows == a.tolist()


def mlp(w1, b1, w2, x, target):
    """A NumPy program that knows nothing of atled."""
    hidden = np.tanh(np.dot(x, w1) + b1)
    out = np.dot(hidden, w2)
    return np.mean(np.sum(np.square(out - target), axis=1)) + 1e-3 * np.linalg.norm(w1) ** 2


def logistic(w, x, labels):
    p = 1 / (1 + np.exp(-np.matmul(x, w)))
    losses = np.where(labels == 1, -np.log(p), -np.log1p(-p))
    return np.sum(losses) / len(labels)


def test_numpy_programs_are_differentiated_unchanged():
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    weights = [rng.normal(size=s) for s in ((3, 4), (4,), (4, 2))]
    tensors = [leaf(w) for w in weights]
    loss = mlp(*tensors, x, target)
    assert math.isclose(loss.item(), mlp(*weights, x, target), rel_tol=1e-12)
    at.testing.check_grads(lambda *w: mlp(*w, x, target), tuple(t.detach() for t in tensors))
    labels = np.array([0, 1, 1, 0, 1])
    at.testing.check_grads(lambda w: logistic(w, x, labels), at.tensor(rng.normal(size=3)))
    at.testing.check_grads(lambda y: np.trapezoid(y * y, dx=0.1), at.tensor(rng.normal(size=6)))


def test_numpy_trains_a_regression():
    rng = np.random.default_rng(1)
    x, truth = rng.normal(size=(50, 2)), np.array([2.0, -1.0])
    w = leaf([0.0, 0.0])
    for _ in range(100):
        loss = np.mean(np.square(np.dot(x, w) - x @ truth))
        (g,) = at.autograd.grad(loss, w)
        w = (w.detach() - 0.2 * g).requires_grad_()
    np.testing.assert_allclose(w.detach().numpy(), truth, atol=1e-6)


def test_every_backend_answers(backend):
    t = at.tensor([0.5, 1.0, 2.0], dtype=f64, requires_grad=True)
    y = np.sum(np.log(np.sqrt(t) * 2.0)) + np.linalg.norm(np.concatenate([t, t]))
    (g,) = at.autograd.grad(y, t)
    assert g.backend.name == backend
    x = np.array([0.5, 1.0, 2.0])
    np.testing.assert_allclose(g.numpy(), 0.5 / x + 2 * x / np.sqrt(2 * (x * x).sum()), rtol=1e-12)


# -- writing


def test_out_is_recorded():
    t, out = leaf([1.0, 2.0]), at.zeros(2, dtype=f64)
    assert np.multiply(t, t, out=out) is out
    np.sum(out).backward()
    assert t.grad.tolist() == [2.0, 4.0]
    total = at.zeros((), dtype=f64)
    assert np.sum(t, out=total) is total
    assert total.requires_grad


@pytest.mark.parametrize(
    "write",
    [
        lambda c, t: c.__iadd__(t),
        lambda c, t: np.add(c, t, out=c),
        lambda c, t: np.sum(t, axis=0, out=c),
        lambda c, t: np.copyto(c, t),
        lambda c, t: np.put(c, [0], t[0]),
        lambda c, t: np.place(c, c == 0, t),
        lambda c, t: c.__setitem__(slice(None), t),
        lambda c, t: exec("c[0] = t[0]", {"c": c, "t": t}),
        lambda c, t: exec("c[0] = 2 * t[1]", {"c": c, "t": t}),
        lambda c, t: exec("c[0] = t[1]", {"c": np.zeros(2, int), "t": t}),
        lambda c, t: exec("c[0] = t[1]", {"c": np.zeros(2, complex), "t": t}),
        lambda c, t: np.full(2, t),
        lambda c, t: np.array([t[0], t[1]]),
    ],
)
def test_a_write_into_a_plain_array_is_refused(write):
    c = np.zeros(2)
    with pytest.raises((at.AtledError, ValueError)) as caught:
        write(c, leaf([1.0, 2.0]))
    told = f"{caught.value} {caught.value.__cause__}"  # of NumPy's ValueError
    assert "at.asarray(c)" in told or "detach()" in told
    assert c.tolist() == [0.0, 0.0]


def test_numbers_can_still_be_read():
    t = leaf([1.5, 2.0])
    c = np.zeros(2)
    c[0] = float(t[0])
    c[1] = t.detach()[1]
    assert c.tolist() == [1.5, 2.0]
    assert (float(t[0]), int(t[1]), complex(t[0])) == (1.5, 2, 1.5 + 0j)
    values = {}
    values[float(t[0])] = t
    assert math.sin(t[0]) == math.sin(1.5)


# -- refusals


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda t: np.frexp(t), "np.frexp has no derivative"),
        (lambda t: np.unwrap(t), "np.unwrap has no derivative"),
        (lambda t: np.linalg.eig(t), r"np.linalg.eig has no derivative"),
        (lambda t: np.fft.rfft(t), r"np.fft.rfft has no derivative"),
        (lambda t: np.sum(t, where=np.array([True, False])), "np.sum has no argument where="),
        (lambda t: np.sum(t, dtype=np.float32), "np.sum has no argument dtype="),
        (lambda t: np.add(t, t, where=np.array([True, False])), "np.add has no argument where="),
        (lambda t: np.reshape(t, (2, 1), order="F"), "np.reshape has no argument order="),
        (lambda t: np.ravel(t, order="F"), "np.ravel has no order='F'"),
        (lambda t: np.pad(t, 1, mode="linear_ramp"), "np.pad has mode"),
        (lambda t: np.percentile(t, 30, method="hazen"), "no method='hazen'"),
        (lambda t: np.percentile([1.0, 2.0], t), "np.percentile has no derivative by q"),
        (lambda t: np.subtract.reduce(t), "np.subtract.reduce has no derivative"),
        (lambda t: np.subtract.accumulate(t), "np.subtract.accumulate has no derivative"),
        (lambda t: np.add.reduceat(t, [0]), "np.add.reduceat has no derivative"),
        (lambda t: np.add.at(t, [0], 1.0), "np.add.at has no derivative"),
        (lambda t: special.jv(1, t), "np.jv has no derivative"),
        (lambda t: np.frompyfunc(math.sin, 1, 1)(t), "has no derivative"),
        (lambda t: np.einsum(t, [0]), "equation as text"),
        (lambda t: np.linalg.norm(np.outer(t, t), "nuc"), "ord='nuc'"),
        (lambda t: np.linalg.norm(np.outer(t, t), 2), "ord=2"),
        (lambda t: np.linalg.matrix_power(np.outer(t, t), -1), "n > 0"),
        (lambda t: np.insert(t, [0, 1], 0.0), "one place"),
        (lambda t: np.correlate(t, [1.0, 2.0, 3.0]), "np.correlate takes"),
        (lambda t: np.nextafter(t, 1.0), "np.nextafter has no derivative"),
    ],
)
def test_a_refusal_names_the_function(call, text):
    with pytest.raises(InteropError, match=text) as caught:
        call(leaf([0.5, 1.5]))
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, at.AtledError)
    assert "test_interop.py" in str(caught.value)


@pytest.mark.parametrize(
    "convert",
    [
        np.asarray,
        np.array,
        np.ascontiguousarray,
        lambda t: t.__array__(),
        lambda t: np.array([t, t]),
        lambda t: np.vectorize(math.sin)(t),
        lambda t: special.logsumexp(t),
        lambda t: np.zeros(2).dot(t),
    ],
)
def test_no_array_is_made_of_what_has_a_gradient(convert):
    with pytest.raises(at.GradError, match=r"np\.asarray\(t\.detach\(\)\)"):
        convert(leaf([0.5, 1.5]))
    assert np.all(np.asarray(leaf([0.5]).detach()) == 0.5)


def test_numpy_of_what_has_a_gradient_says_detach():
    with pytest.raises(at.GradError, match=r"call \.detach\(\) first"):
        leaf([1.0]).numpy()
    assert leaf([1.0]).detach().numpy().tolist() == [1.0]


def test_a_ufunc_of_the_same_name_is_not_taken_for_numpys():
    add = np.frompyfunc(lambda a, b: a - b, 2, 1)
    with pytest.raises(InteropError, match="has no derivative"):
        add(leaf([1.0]), 2.0)


def test_functions_of_an_older_numpy_that_hide_their_arguments(monkeypatch):
    def hidden(function):
        raise ValueError("no signature found")

    monkeypatch.setattr(inspect, "signature", hidden)
    interop._signature.cache_clear()
    t = leaf([1.0, 2.0])
    try:
        assert np.concatenate([t, t], axis=0).shape == (4,)
        assert np.dot(t, t).item() == 5.0
        assert np.where(np.array([True, False]), t, 0.0).tolist() == [1.0, 0.0]
        with pytest.raises(InteropError, match=r"np\.trace does not tell its arguments"):
            np.trace(t)
    finally:
        interop._signature.cache_clear()


def test_another_librarys_arrays_are_left_to_it():
    class Foreign:
        def __array_function__(self, func, types, args, kwargs):
            return "mine"

        def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
            return NotImplemented

    assert np.concatenate([leaf([1.0]), Foreign()]) == "mine"


def test_constants_come_back_as_tensors_or_as_they_are():
    t = leaf([3.0, 1.0, 2.0])
    assert np.shape(t) == (3,)
    assert np.size(t) == 3
    assert np.result_type(t) == np.float64
    assert np.flatnonzero(t > 1.5).tolist() == [0, 2]
    assert np.argmax(t).item() == 0
    assert np.array_repr(t) == "array([3., 1., 2.])"
    assert np.allclose(t, [3.0, 1.0, 2.0]) is True
    assert not np.signbit(t).requires_grad
