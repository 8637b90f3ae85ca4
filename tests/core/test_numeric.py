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
    pytest.importorskip("numpy", reason="the python backend has float64 only")
    x = t([0.3, -1.0, 2.0], at.float32)
    got = at.numeric_jacobian(f)(x)
    assert got.dtype is at.float32
    testing.assert_close(got, at.jacobian(f)(x), rtol=3e-3, atol=3e-3)


DOUBLES = {
    "float": lambda np: 0.7,
    "numpy.float64": lambda np: np.float64(0.7),
    "no axes": lambda np: np.array(0.7),
    "one element": lambda np: np.array([0.7]),
}
WAVES = {
    "of the argument": lambda x: at.exp(at.sin(x)),
    "of a number made of it": lambda x: at.exp(at.sin(1.0 * x)),
    "of an element": lambda x: at.exp(at.sin(number(x))),
    "of a list": lambda x: at.exp(at.sin(at.tensor([float(number(x)), 0.0])))[:1],
    "a number too": lambda x: at.exp(at.sin(float(number(x)))).item(),
}


def number(x):
    return x[0] if getattr(x, "shape", ()) else x


@pytest.mark.parametrize("wave", WAVES)
@pytest.mark.parametrize("kind", DOUBLES)
def test_float64_is_float64_all_the_way(kind, wave):
    np = pytest.importorskip("numpy")
    at.use("numpy")  # whose default is float32
    x, exact = DOUBLES[kind](np), math.cos(0.7) * math.exp(math.sin(0.7))
    for transform in (at.numeric_grad, at.numeric_jacobian):
        slope = transform(WAVES[wave])(x)
        assert slope.dtype is at.float64
        assert slope.sum().item() == pytest.approx(exact, rel=1e-9)
    assert at.get_default_dtype() is at.float32


def test_the_default_dtype_is_put_back_after_an_error():
    pytest.importorskip("numpy", reason="the python backend has float64 only")
    at.use("numpy")
    with pytest.raises(ZeroDivisionError):
        at.numeric_grad(lambda x: 1 / (x - x))(2.0)
    assert at.get_default_dtype() is at.float32


def test_random_numbers_of_a_function_of_tensors_are_those_of_grad(backend):
    def noisy(x):
        at.manual_seed(0)
        return (x * at.rand(3)).sum()

    x = t([1.0, 2.0, 3.0])
    testing.assert_close(at.numeric_grad(noisy)(x), at.grad(noisy)(x), rtol=1e-9, atol=1e-9)


def _halfstep(leaf, function, of=lambda p: p, argument=lambda leaf: leaf):
    """Return how far one leaf at 0.5, of what is varied, is moved, by what the function sees."""
    seen = []
    at.numeric_jacobian(lambda p: seen.append(float(of(p))) or function(p))(argument(leaf))
    return max(seen) - 0.5


FINE, COARSE = 2.0 ** (-52 / 3), 2.0 ** (-23 / 3)


def test_the_step_is_that_of_the_dtype(backend):
    same = lambda x: x * 1.0
    assert _halfstep(0.5, same) == pytest.approx(FINE, rel=1e-6)
    assert _halfstep(t(0.5), same) == pytest.approx(FINE, rel=1e-6)
    if backend != "python":  # it has float64 only
        assert _halfstep(t(0.5, at.float32), same) == pytest.approx(COARSE, rel=1e-4)
        coarse = lambda x: at.astype(x, at.float32)
        assert _halfstep(t(0.5), coarse) == pytest.approx(COARSE, rel=1e-4)


def test_the_step_is_that_of_the_dtype_for_arrays():
    np = pytest.importorskip("numpy")
    at.use("numpy")
    same = lambda x: x * 1.0
    for make in (np.array, lambda x, dtype: dtype(x)):
        assert _halfstep(make(0.5, dtype=np.float64), same) == pytest.approx(FINE, rel=1e-6)
        assert _halfstep(make(0.5, dtype=np.float32), same) == pytest.approx(COARSE, rel=1e-4)
        kinds = []
        at.numeric_grad(lambda x, kinds=kinds: kinds.append(type(x)) or x * 1.0)(
            x := make(0.5, dtype=np.float64)
        )
        assert set(kinds) == {type(x)}


def test_in_a_nest_a_tensor_has_a_step_of_its_own_and_a_number_the_coarsest():
    pytest.importorskip("numpy", reason="the python backend has float64 only")
    at.use("numpy")
    single = t([0.3, 0.4], at.float32)

    def of(p):
        return (p["b"] ** 2 + p["a"].sum() * p["b"]).sum()

    def step(x, function=of):
        return _halfstep(x, function, lambda p: p["b"], lambda x: {"a": single, "b": x})

    assert step(t(0.5)) == pytest.approx(FINE, rel=1e-6)
    assert step(t(0.5), lambda p: at.astype(of(p), at.float32)) == pytest.approx(COARSE, rel=1e-4)
    # A number beside a float32 Tensor is a float32, also where the result is a float64 again.
    assert step(0.5, lambda p: at.astype(of(p), at.float64)) == pytest.approx(COARSE, rel=1e-4)
    found = at.numeric_grad(of)({"a": single, "b": t(0.5)})
    assert (found["a"].dtype, found["b"].dtype) == (at.float32, at.float64)
    exact = 2 * 0.5 + single.sum().item()
    assert found["b"].item() == pytest.approx(exact, rel=1e-9)


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
