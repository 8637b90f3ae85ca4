"""Central differences: right, numeric in any case, and refused where there are no values."""

import math
from dataclasses import dataclass

import pytest

import atled as at
from atled import testing
from atled.errors import DTypeError, NotScalarError, ShapeError, TraceError, TransformError
from atled.tree import flatten


def t(data, dtype=at.float64, **options):
    return at.tensor(data, dtype=dtype, **options)


def f(x):
    return at.exp(at.sin(x)) * at.sum(x * x)


@dataclass
class Point:
    x: object
    y: object


def test_the_gradient_is_that_of_grad(backend):
    x = t([0.3, -1.0, 200.0])
    g = lambda x: (x[0] * x[1] ** 2 + at.sqrt(x[2])) * 1.0
    testing.assert_close(at.numeric_grad(g)(x), at.grad(g)(x), rtol=1e-8, atol=1e-9)


def test_the_jacobian_is_that_of_jacobian(backend):
    x = t([[0.3, -1.0], [2.0, 0.5]])
    got = at.numeric_jacobian(f)(x)
    assert got.shape == (2, 2, 2, 2)
    testing.assert_close(got, at.jacobian(f)(x), rtol=1e-8, atol=1e-9)


def test_float32_takes_a_larger_step():
    x = t([0.3, -1.0, 2.0], at.float32)
    got = at.numeric_jacobian(f)(x)
    assert got.dtype is at.float32
    testing.assert_close(got, at.jacobian(f)(x), rtol=3e-3, atol=3e-3)


def test_arguments_and_results_are_nested_as_in_jacobian(backend):
    def g(p, k, q):
        return {"a": p["u"] * q.x * k, "b": (p["u"].sum() + q.y**2, p["v"] * 1.0)}

    args = {"u": t([1.0, 2.0]), "v": t(3.0), "name": "n"}, 2, Point(t(4.0), t([5.0, 6.0]))
    got, expected = (j(g, argnums=(0, -1))(*args) for j in (at.numeric_jacobian, at.jacobian))
    assert got["a"][0]["name"] is None
    for a, b in zip(_leaves(got),
                    _leaves(expected), strict=True):  # fmt: skip
        testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def _leaves(nest):
    return [x for x in flatten(nest)[0] if x is not None]


def test_floats_and_arrays_stay_what_they_are():
    np = pytest.importorskip("numpy")
    special = pytest.importorskip("scipy.special")
    at.use("numpy")
    seen = []

    def g(x, a):
        seen.append((type(x), type(a)))
        return math.exp(x) * special.gammaln(a).sum()

    x, a = 0.5, np.array([2.0, 3.5])
    by_x, by_a = at.numeric_grad(g, argnums=(0, 1))(x, a)
    assert set(seen) == {(float, np.ndarray)}
    assert by_x.item() == pytest.approx(math.exp(x) * special.gammaln(a).sum(), rel=1e-9)
    assert by_a.tolist() == pytest.approx(list(math.exp(x) * special.digamma(a)), rel=1e-9)


def test_a_function_that_has_no_derivative_by_atled():
    np = pytest.importorskip("numpy")
    at.use("numpy")
    x = t([1.0, 2.0], requires_grad=True)
    got = at.numeric_jacobian(lambda x: np.sinh(x.numpy()))(x)
    testing.assert_close(got, at.jacobian(at.sinh)(x.detach()), rtol=1e-8, atol=1e-9)


def test_nothing_is_recorded_also_inside_of_a_transform():
    x = t(2.0, requires_grad=True)
    found = at.numeric_grad(lambda x: x**3)(x)
    assert not found.requires_grad
    # its own derivative is zero: it is a number
    slope = at.grad(lambda x: x * at.numeric_grad(lambda y: y**3)(x))(t(2.0))
    assert slope.item() == pytest.approx(12.0)


def test_the_step_is_relative_to_large_values_and_can_be_chosen():
    x = t([1e6])
    testing.assert_close(at.numeric_grad(lambda x: (x**2).sum())(x), 2 * x, rtol=1e-8, atol=0)
    widths = []
    at.numeric_grad(lambda x: widths.append(x) or x * 1.0, eps=0.25)(2.0)
    assert widths == [2.0, 2.5, 1.5] or widths == [2.0, 2.0, 2.5, 1.5]


def test_integer_leaves_are_constants(backend):
    got = at.numeric_grad(lambda p: p["x"] * p["k"])({"x": t(2.0), "k": at.tensor(3)})
    assert got["x"].item() == pytest.approx(3.0)
    assert got["k"] is None


def test_an_empty_argument():
    got = at.numeric_jacobian(lambda x, y: y * 2.0)(t([]), t([1.0, 2.0]))
    assert got.shape == (2, 0)


REFUSED = [
    (lambda: at.numeric_grad(at.sin)(t([1.0, 2.0])), NotScalarError, r"found shape \(2,\)"),
    (lambda: at.numeric_grad(lambda x: (x, x))(t(1.0)), NotScalarError, "found 2 results"),
    (lambda: at.numeric_grad(at.sin)(at.tensor(3)), DTypeError, "nothing to vary"),
    (lambda: at.numeric_grad(at.sin)("text"), DTypeError, "nothing to vary"),
    (lambda: at.numeric_grad(at.sin, 1)(t(1.0)), TransformError, "argnums asks for argument 1"),
    (lambda: at.numeric_grad(at.sin, eps=0.0)(t(1.0)), ValueError, "eps is a positive number"),
    (lambda: at.numeric_grad(lambda x: "no")(t(1.0)), DTypeError, "found a str"),
    (lambda: at.numeric_grad(lambda x: x > 0)(t(1.0)), DTypeError, "a result is bool"),
    (
        lambda: at.numeric_jacobian(lambda x: x[: 1 + int(x[0] > 1)])(t([1.0, 2.0])),
        ShapeError,
        "depend on the values",
    ),
    (
        lambda: at.vmap(at.numeric_grad(lambda x: x * x))(t([1.0, 2.0])),
        TransformError,
        r"inside vmap\(.*call it outside, in a loop",
    ),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_is_refused(number):
    call, error, message = REFUSED[number]
    with pytest.raises(error, match=message):
        call()


def test_inside_of_compile_it_is_refused():
    pytest.importorskip("llvmlite")
    at.use("numpy")
    compiled = at.compile(lambda x: at.numeric_grad(lambda x: x * x)(x))
    with pytest.raises(TraceError, match="numeric_grad"):
        compiled(t(1.0))
