"""`grad`, `vjp`, `jvp`, `linearize`, `hvp`: nothing mixes, connections stay, errors speak.

Source of the confusion examples: Siskind and Pearlmutter, Perturbation confusion and referential
transparency (2005); Nesting forward-mode AD in a functional framework (2008).
"""

import math
import sys
from collections import namedtuple
from dataclasses import dataclass

import pytest

import atled as at
from atled.testing import assert_close

f64 = at.float64


def number(x):
    return at.tensor(x, dtype=f64)


def derivative(f):
    """Forward mode at a number."""
    return lambda x: at.jvp(f, (x,), (at.ones_like(x),))[1]


DERIVATIVES = [at.grad, derivative]
PAIRS = [(a, b) for a in DERIVATIVES for b in DERIVATIVES]


@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_perturbations_do_not_mix(outer, inner, backend):
    one = number(1.0)
    assert outer(lambda x: x * inner(lambda y: x + y)(one))(one).item() == 1.0
    assert outer(lambda x: x * inner(lambda y: x * y)(number(2.0)))(one).item() == 2.0
    assert outer(lambda x: x * inner(lambda y: x)(one))(one).item() == 0.0
    assert outer(lambda x: inner(lambda y: x * y * y)(x))(number(3.0)).item() == 12.0
    product = outer(lambda x: inner(lambda y: at.sin(x * y))(number(0.5)))(number(2.0))
    assert product.item() == pytest.approx(math.cos(1.0) - math.sin(1.0), rel=1e-14)


@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_a_derivative_of_a_curried_function(outer, inner, backend):
    """The bug of Manzyuk et al., Perturbation confusion in forward AD (2019)."""

    def shifted(u):
        return lambda f: lambda x: f(x + u)

    # d/du at u = 0 of (shift by u) of (shift by u) of exp, at x: twice the derivative
    def twice(u):
        return shifted(u)(shifted(u)(at.exp))(number(0.3))

    assert outer(twice)(number(0.0)).item() == pytest.approx(2 * math.exp(0.3), rel=1e-14)
    second = outer(lambda u: inner(lambda v: shifted(u)(shifted(v)(at.exp))(number(0.3)))(u))
    assert second(number(0.0)).item() == pytest.approx(2 * math.exp(0.3), rel=1e-14)


def test_minimum_in_a_minimum(backend):
    """Siskind and Pearlmutter's saddle point: min over x of max over y, by inner derivatives."""

    def f(x, y):
        return x * x - y * y + x * y

    def best(x):  # where ∂f/∂y = 0: y = x/2, by one Newton step in y
        y = number(0.0)
        slope = at.grad(lambda z: f(x, z))
        return y - slope(y) / at.grad(slope)(y)

    outer = at.grad(lambda x: f(x, best(x)))
    assert best(number(3.0)).item() == 1.5
    assert outer(number(3.0)).item() == pytest.approx(2 * 3.0 * 1.25, rel=1e-14)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("mode", DERIVATIVES)
def test_derivatives_of_any_order(mode, depth, backend):
    f = at.exp
    for _ in range(depth):
        f = mode(f)
    assert f(number(0.5)).item() == pytest.approx(math.exp(0.5), rel=1e-13)


def test_closures_over_outer_variables_at_every_depth(backend):
    def f(a):
        def g(b):
            def h(c):
                return a * a * b * c * c + a * b

            return at.grad(h)(b * a) * b  # ∂c: 2a²bc at c = ab, times b: 2a³b³

        return at.jvp(g, (a,), (at.ones_like(a),))[1]  # ∂b at b = a: 6a³b² = 6a⁵, a total in a

    assert f(number(2.0)).item() == 6 * 2.0**5
    assert at.grad(f)(number(2.0)).item() == 2 * 3 * 3 * 2.0**4 + 6 * 2 * 2.0**4


def test_each_order_of_modes_agrees(backend):
    def f(x):
        return at.sin(x) * x**3

    values = []
    for third in DERIVATIVES:
        for second in DERIVATIVES:
            for first in DERIVATIVES:
                values.append(third(second(first(f)))(number(0.7)).item())
    x = 0.7
    exact = 6 * math.sin(x) + 18 * x * math.cos(x) - 9 * x * x * math.sin(x) - x**3 * math.cos(x)
    assert values == pytest.approx([exact] * 8, rel=1e-13)


# -- what stays connected


def test_a_captured_parameter_gets_its_gradient_through_grad(backend):
    w = at.tensor([2.0, 3.0], dtype=f64, requires_grad=True)
    g = at.grad(lambda x: (w * x**2).sum())(at.tensor([1.0, 4.0], dtype=f64))
    assert g.requires_grad
    g.sum().backward()
    assert w.grad.tolist() == [2.0, 8.0]


def test_a_captured_parameter_gets_its_gradient_through_jvp_and_vjp(backend):
    w = number(3.0).requires_grad_()
    y, t = at.jvp(lambda x: w * x * x, (number(2.0),), (number(1.0),))
    (y + t).backward()
    assert w.grad.item() == 4.0 + 4.0
    w.grad = None
    y, pullback = at.vjp(lambda x: w * x * x, number(2.0))
    (g,) = pullback(number(1.0))
    g.backward()
    assert w.grad.item() == 4.0


def test_an_argument_that_requires_a_gradient_stays_connected(backend):
    x = number(2.0).requires_grad_()
    g = at.grad(lambda x: x**3)(x)
    g.backward()
    assert g.item() == 12.0
    assert x.grad.item() == 12.0


def test_a_cotangent_that_requires_a_gradient_stays_connected(backend):
    v = number(5.0).requires_grad_()
    _, pullback = at.vjp(lambda x: x**3, number(2.0))
    pullback(v)[0].backward()
    assert v.grad.item() == 12.0
    v.grad = None
    at.jvp(lambda x: x**3, (number(2.0),), (v,))[1].backward()
    assert v.grad.item() == 12.0


def test_results_of_constants_are_constants(backend):
    x = at.tensor([1.0, 2.0], dtype=f64)
    value, g = at.value_and_grad(lambda x: (x * x).sum())(x)
    assert not value.requires_grad
    assert not g.requires_grad
    assert not x.requires_grad
    y, t = at.jvp(lambda x: x * x, (x,), (x,))
    assert not y.requires_grad
    assert not t.requires_grad


def test_backward_inside_of_a_transform_is_its_own_affair(backend):
    def f(x):
        inner = number(3.0).requires_grad_()
        (inner**2).backward()
        return x * inner.grad

    assert at.grad(f)(number(1.0)).item() == 6.0


def test_no_grad_outside_and_inside(backend):
    x = number(2.0)
    with at.no_grad():
        assert at.grad(lambda x: x**3)(x).item() == 12.0
        w = number(1.0).requires_grad_()
        assert not at.grad(lambda x: w * x**3)(x).requires_grad
        assert at.grad(at.grad(lambda x: x**3))(x).item() == 12.0

    def partly(x):
        with at.no_grad():
            constant = x * x
        return constant * x

    assert at.grad(partly)(x).item() == 4.0
    assert at.jvp(partly, (x,), (number(1.0),))[1].item() == 4.0


def test_detach_and_stop_gradient_are_constants_to_every_transform(backend):
    x = number(3.0)
    assert at.grad(lambda x: x * x.detach())(x).item() == 3.0
    assert at.jvp(lambda x: x * at.stop_gradient(x), (x,), (number(1.0),))[1].item() == 3.0
    assert at.grad(at.grad(lambda x: x * at.stop_gradient(x) ** 2))(x).item() == 0.0
    nest = {"a": [at.tensor([1.0]), 2], "b": None}
    assert at.stop_gradient(nest)["a"][1] == 2


# -- arguments and results


@dataclass
class Point:
    x: object
    y: object


Pair = namedtuple("Pair", "a b")


def test_arguments_nest(backend):
    def f(p, q, *, scale):
        return scale * (p["u"] * q.x + p["v"][0] * q.y.a * q.y.b)

    p = {"u": number(2.0), "v": [number(3.0), None]}
    q = Point(number(5.0), Pair(number(7.0), number(11.0)))
    gp, gq = at.grad(f, (0, 1))(p, q, scale=2.0)
    assert gp["u"].item() == 10.0
    assert gp["v"][0].item() == 154.0
    assert gp["v"][1] is None
    assert type(gq) is Point
    assert type(gq.y) is Pair
    assert [gq.x.item(), gq.y.a.item(), gq.y.b.item()] == [4.0, 66.0, 42.0]


def test_text_and_none_are_no_variables(backend):
    def f(p):
        assert p["name"] == "sum"
        return p["x"] * 2

    g = at.grad(f)({"x": number(1.0), "name": "sum", "none": None})
    assert g["x"].item() == 2.0
    assert g["name"] is None
    assert g["none"] is None


def test_argnums(backend):
    def f(a, b, c):
        return a * b**2 * c**3

    args = number(2.0), number(3.0), number(5.0)
    assert at.grad(f, -1)(*args).item() == 2 * 9 * 3 * 25
    ga, gc = at.grad(f, (0, -1))(*args)
    assert [ga.item(), gc.item()] == [9 * 125, 2 * 9 * 3 * 25]
    (gb,) = at.grad(f, (1,))(*args)
    assert gb.item() == 2 * 2 * 3 * 125
    assert at.grad(f, [1, 0])(*args)[0].item() == gb.item()


def test_python_floats_and_arrays(backend):
    assert at.grad(lambda x: x**2)(3.0).item() == 6.0
    np = pytest.importorskip("numpy", reason="its arrays are arguments here")
    g = at.grad(lambda x: (at.asarray(x) ** 2).sum())(np.array([1.0, 2.0]))
    assert isinstance(g, at.Tensor)
    assert g.dtype is f64
    assert g.tolist() == [2.0, 4.0]


def test_unused_arguments_have_zero_gradients(backend):
    x, y = at.ones((2, 3), dtype=f64), number(2.0)
    gx, gy = at.grad(lambda x, y: y * y, (0, 1))(x, y)
    assert gx.tolist() == [[0.0] * 3] * 2
    assert gy.item() == 4.0
    assert at.grad(lambda x: 3.0)(y).item() == 0.0
    assert at.jvp(lambda x: y, (x,), (x,))[1].item() == 0.0
    _, pullback = at.vjp(lambda x: number(1.0), x)
    assert pullback(number(1.0))[0].tolist() == [[0.0] * 3] * 2


def test_results_that_are_arguments(backend):
    x = at.tensor([1.0, 2.0], dtype=f64)
    y, t = at.jvp(lambda x: (x, x), (x,), (x * 3,))
    assert [v.tolist() for v in (*y, *t)] == [[1.0, 2.0], [1.0, 2.0], [3.0, 6.0], [3.0, 6.0]]
    _, pullback = at.vjp(lambda x: (x, x), x)
    assert pullback((x, x))[0].tolist() == [2.0, 4.0]
    assert at.grad(lambda x: x)(number(3.0)).item() == 1.0


def test_aux(backend):
    def f(x):
        return (x * x).sum(), {"twice": 2 * x, "text": "as it is", "n": 3}

    x = at.tensor([1.0, 2.0], dtype=f64)
    g, aux = at.grad(f, has_aux=True)(x)
    assert g.tolist() == [2.0, 4.0]
    assert aux["twice"].tolist() == [2.0, 4.0]
    assert not aux["twice"].requires_grad
    assert (aux["text"], aux["n"]) == ("as it is", 3)
    (value, aux), g = at.value_and_grad(f, has_aux=True)(x)
    assert (value.item(), aux["n"], g.tolist()) == (5.0, 3, [2.0, 4.0])
    _, t, aux = at.jvp(f, (x,), (x,), has_aux=True)
    assert (t.item(), aux["text"]) == (10.0, "as it is")
    _, pullback, aux = at.vjp(f, x, has_aux=True)
    assert (pullback(number(1.0))[0].tolist(), aux["n"]) == ([2.0, 4.0], 3)


def test_aux_carries_an_outer_derivative(backend):
    def outer(x):
        _, aux = at.grad(lambda y: (y * x, x * x * y), has_aux=True)(number(5.0))
        return aux

    assert at.grad(outer)(number(3.0)).item() == 30.0


def test_a_pullback_and_a_pushforward_run_many_times(backend):
    x = at.tensor([1.0, 2.0], dtype=f64)
    calls = []

    def f(x):
        calls.append(1)
        return at.sin(x) * x[0]

    _, pullback = at.vjp(f, x)
    _, push = at.linearize(f, x)
    rows = [pullback(at.tensor(row, dtype=f64))[0].tolist() for row in ([1.0, 0], [0, 1.0])]
    columns = [push(at.tensor(c, dtype=f64)).tolist() for c in ([1.0, 0], [0, 1.0])]
    assert len(calls) == 2
    for i in range(2):
        for k in range(2):
            assert rows[i][k] == pytest.approx(columns[k][i], rel=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_are_kept(dtype, backend):
    if dtype == "float32" and backend == "python":
        pytest.skip("the python backend has float64 only")
    x = at.tensor([1.0, 2.0], dtype=dtype)
    assert at.grad(lambda x: (x * x).sum())(x).dtype.name == dtype
    assert at.jvp(at.sin, (x,), (at.tensor([1.0, 0.0], dtype=f64),))[1].dtype.name == dtype
    assert at.hvp(lambda x: (x**3).sum(), x, x).dtype.name == dtype


def test_none_is_a_zero_cotangent_and_tangent(backend):
    x, y = number(2.0), number(3.0)
    _, pullback = at.vjp(lambda x: (x * x, x * 3), x)
    assert pullback((None, number(1.0)))[0].item() == 3.0
    assert at.jvp(lambda x, y: x * y, (x, y), (None, number(1.0)))[1].item() == 2.0


def test_hvp_of_several_arguments(backend):
    def f(a, b):
        return (a * a * b).sum()

    a, b = at.tensor([1.0, 2.0], dtype=f64), at.tensor([3.0, 4.0], dtype=f64)
    u, v = at.tensor([1.0, 0.0], dtype=f64), at.tensor([0.0, 1.0], dtype=f64)
    ha, hb = at.hvp(f, (a, b), (u, v))
    assert ha.tolist() == [6.0, 4.0]  # 2b u + 2a v
    assert hb.tolist() == [2.0, 0.0]  # 2a u


def test_transforms_keep_the_function_s_name_and_take_methods(backend):
    class Model:
        def loss(self, x):
            """Say how bad x is."""
            return x * x

    g = at.grad(Model().loss)
    assert g.__name__ == "loss"
    assert g.__doc__ == "Say how bad x is."
    assert g(number(3.0)).item() == 6.0


# -- long chains


@pytest.mark.slow
@pytest.mark.parametrize("transform", ["grad", "jvp", "second"])
def test_long_chains_need_no_stack(transform, backend):
    length = 100_000 if backend == "numpy" else 5_000
    limit = sys.getrecursionlimit()

    def chain(x):
        for _ in range(length // (10 if transform == "second" else 1)):
            x = x + 1.0
        return x * x

    x = number(0.5)
    if transform == "grad":
        assert at.grad(chain)(x).item() == 2 * (length + 0.5)
    elif transform == "jvp":
        assert at.jvp(chain, (x,), (number(1.0),))[1].item() == 2 * (length + 0.5)
    else:
        assert at.grad(at.grad(chain))(x).item() == 2.0
    assert sys.getrecursionlimit() == limit


# -- errors


@dataclass
class Unknown:
    """No leaf that can be differentiated."""

    x: object


ERRORS = [
    (lambda x: at.grad(lambda x: x)(x), at.NotScalarError, r"shape \(2,\)\. Reduce it"),
    (lambda x: at.grad(lambda x: (x, x))(x), at.NotScalarError, "found 2 results"),
    (lambda x: at.grad(lambda x: (x > 0).sum())(x), at.DTypeError, "the result is int64"),
    (lambda x: at.grad(lambda x: x)(at.tensor(1)), at.DTypeError, "argument 0 holds int64"),
    (lambda x: at.grad(lambda x: x)(1), at.DTypeError, "argument 0 holds int64.*leave it out"),
    (lambda x: at.grad(lambda x: x)("text"), at.TransformError, "nothing to differentiate"),
    (lambda x: at.grad(lambda x: x)(object()), at.TransformError, "holds a object"),
    (lambda x: at.grad(lambda x: x)(at.nn.Linear(2, 2)), at.TransformError, "functional_call"),
    (lambda x: at.grad(lambda x: "text")(x), at.TransformError, "found a str"),
    (lambda x: at.grad(lambda x: x, 1)(x), at.TransformError, "argument 1; the call has 1"),
    (lambda x: at.grad(lambda x: x, -2)(x), at.TransformError, "argument -2; the call has 1"),
    (lambda x: at.grad(lambda x: x, (0, 1.0))(x), TypeError, "argnums is an integer or a tuple"),
    (lambda x: at.grad(lambda x: x, (True,))(x), TypeError, "found True"),
    (lambda x: at.grad(lambda x: x.sum(), has_aux=True)(x), TypeError, r"pair \(result, aux\)"),
    (lambda x: at.jvp(at.sin, x, x), TypeError, r"at\.jvp\(f, \(x,\), \(t,\)\)"),
    (lambda x: at.jvp(at.sin, (x,), ()), at.ShapeError, "as many tangents; found 0"),
    (lambda x: at.jvp(at.sin, (x,), (x[0],)), at.ShapeError, r"tangent of argument 0 has shape"),
    (lambda x: at.jvp(at.sin, (x,), ([x, x],)), at.ShapeError, "must be nested as"),
    (lambda x: at.vjp(at.sin, x)[1](x[0]), at.ShapeError, "cotangent has shape"),
    (lambda x: at.vjp(at.sin, x)[1]((x, x)), at.ShapeError, "nested as what it belongs to"),
    (lambda x: at.linearize(at.sin, x)[1](), at.ShapeError, "1 argument"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "error", "text"), ERRORS)
def test_errors_say_what_was_found(wrong, error, text, backend):
    with pytest.raises(error, match=text):
        wrong(at.tensor([1.0, 2.0], dtype=f64))


@pytest.mark.parametrize("transform", [at.grad, at.jacobian], ids=["grad", "jacobian"])
def test_a_variable_that_leaked_says_where_it_was_born(transform, backend):
    kept = []

    def f(x):
        kept.append(x * 2)
        return (x * x).sum()

    transform(f)(at.tensor([1.0, 2.0], dtype=f64))
    with pytest.raises(at.GradError, match=r"\(f\), called at .*test_transforms.py.*it leaked out"):
        kept[0].sum().backward()


def test_a_nest_of_a_dict_is_closed_over_too(backend):
    state = {"w": number(2.0)}

    def f(x):
        return state["w"] * x

    assert_close(at.grad(lambda w: at.grad(f)(w * 3))(state["w"]), number(0.0))
