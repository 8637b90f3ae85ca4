"""Implicit differentiation: closed forms, both modes, any order, batches, other libraries."""

import math

import pytest

import atled as at
from atled.core import implicit as module
from atled.testing import assert_close, check_grads
from atled.tree import flatten

CLOSE = {"rtol": 1e-10, "atol": 1e-12}


def bisect(a):
    """Find √a by halving an interval, in Python's own floats."""
    a = float(a)
    low, high = 0.0, 1.0 + a
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if middle**2 < a else (low, middle)
    return middle


ROOT = at.implicit(bisect, lambda x, a: x**2 - a)


def double(*values):
    return at.tensor(values[0] if len(values) == 1 else list(values), dtype=at.float64)


def newton(p0, p1, p2, p3):
    """Solve `equations` by Newton's method, in Tensors: it could be differentiated itself."""
    u = double(1.5)
    for _ in range(12):
        v = (p3 - u * p0) / p2
        u = u - (u**3 + p0 * v.sum() - p1) / (3 * u * u - p0 * p0 * 2 / p2)
    return {"u": u, "v": (p3 - u * p0) / p2}


def equations(x, p0, p1, p2, p3):
    return {
        "u": x["u"] ** 3 + p0 * x["v"].sum() - p1,
        "v": x["v"] * p2 + x["u"] * p0 - p3,
    }


PARAMETERS = (0.5, 3.0, 2.0, [1.0, 0.3])


def rows(matvec, b):
    """Solve matvec(v) = b by way of the matrix: the simplest linear solver."""
    n = b.shape[0]
    columns = [matvec(at.eye(n, dtype=b.dtype)[i]) for i in range(n)]
    return at.linalg.solve(at.stack(columns, axis=1), b)


def test_a_root_by_bisection_and_its_derivatives(backend: str) -> None:
    a = double(2.0)
    assert_close(ROOT(a), double(math.sqrt(2)), **CLOSE)
    f, wanted = ROOT, [0.5 * 2**-0.5, -0.25 * 2**-1.5, 0.375 * 2**-2.5]
    for derivative in wanted:
        f = at.grad(f)
        assert_close(f(a), double(derivative), **CLOSE)
    f = ROOT
    for derivative in wanted[:2]:
        f = at.jacfwd(f)
        assert_close(f(a), double(derivative), **CLOSE)
    assert_close(at.jvp(ROOT, (a,), (double(3.0),))[1], double(3 * wanted[0]), **CLOSE)


def test_a_nested_system_against_the_unrolled_solver(backend: str) -> None:
    p = tuple(double(v) for v in PARAMETERS)
    solution = at.implicit(newton, equations)
    every = (0, 1, 2, 3)
    for transform in (
        lambda f: f,
        lambda f: at.jacrev(f, every),
        lambda f: at.jacfwd(f, every),
        lambda f: at.jacrev(at.jacfwd(f), every),
        lambda f: at.jacrev(at.jacrev(at.jacfwd(f))),
    ):
        found, wanted = transform(solution)(*p), transform(newton)(*p)
        for a, b in zip(flatten(found)[0], flatten(wanted)[0], strict=True):
            assert_close(a, b, **CLOSE)


def test_a_linear_solver_of_ones_own() -> None:
    p = tuple(double(v) for v in PARAMETERS)
    solution = at.implicit(newton, equations, solve=rows)
    check_grads(solution, p, order=2)
    hessian = at.hessian(lambda *p: solution(*p)["u"], 0)
    assert_close(hessian(*p), at.hessian(lambda *p: newton(*p)["u"], 0)(*p), **CLOSE)


def test_vmap_of_a_solver_that_reads_values(backend: str) -> None:
    a = double(1.0, 2.0, 3.0)
    assert_close(at.vmap(ROOT)(a), at.sqrt(a), **CLOSE)
    assert_close(at.vmap(at.grad(ROOT))(a), 0.5 / at.sqrt(a), **CLOSE)
    total = lambda a: at.vmap(ROOT)(a).sum()
    assert_close(at.grad(total)(a), 0.5 / at.sqrt(a), **CLOSE)
    assert_close(at.hessian(total)(a), at.diag(-0.25 * a**-1.5), **CLOSE)
    deep = at.vmap(at.vmap(at.grad(ROOT)))(at.stack([a, 2 * a]))
    assert_close(deep, at.stack([0.5 / at.sqrt(a), 0.5 / at.sqrt(2 * a)]), **CLOSE)
    same = at.vmap(at.grad(lambda b, x: ROOT(b) * x), (None, 0))(a[1], a)
    assert_close(same, a * 0.5 / math.sqrt(2), **CLOSE)


def test_vmap_of_a_solver_that_runs_batched() -> None:
    calls = []

    def heron(a):
        calls.append(a.shape)
        x = (a + 1) / 2
        for _ in range(30):
            x = (x + a / x) / 2
        return x

    root, a = at.implicit(heron, lambda x, a: x**2 - a), double(1.0, 2.0, 3.0)
    assert_close(at.vmap(at.grad(root))(a), 0.5 / at.sqrt(a), **CLOSE)
    assert calls == [()]


def test_a_fixed_point_of_a_contraction(backend: str) -> None:
    def iterate(theta, tolerance=1e-15):
        x = at.zeros_like(theta)
        for _ in range(200):
            x = at.cos(x) * theta
        return x

    def g(x, theta):
        return at.cos(x) * theta

    fixed = at.implicit(iterate, fixed_point=g)
    theta = double(0.5, 0.8)
    x = fixed(theta, tolerance=1e-15)
    slope = at.cos(x) / (1 + theta * at.sin(x))
    assert_close(at.jacobian(fixed)(theta), at.diag(slope), **CLOSE)
    check_grads(fixed, (theta,), order=2)


def test_an_argmin_with_grad_inside(backend: str) -> None:
    """The ridge regression's derivative by its penalty: x(λ) = (AᵀA + λ)⁻¹ Aᵀb."""
    a = double([1.0, 2.0], [0.5, -1.0], [3.0, 0.3])
    b = double(1.0, 2.0, -1.0)

    def objective(x, penalty):
        return ((a @ x - b) ** 2).sum() + penalty * (x**2).sum()

    def descend(penalty):
        x, gradient = at.zeros(2, dtype=at.float64), at.grad(objective)
        for _ in range(400):
            x = x - 0.04 * gradient(x, penalty)
        return x

    def closed(penalty):
        return at.linalg.solve(a.mT @ a + penalty * at.eye(2, dtype=at.float64), a.mT @ b)

    argmin = at.implicit(descend, at.grad(objective))
    penalty = double(0.7)
    assert_close(argmin(penalty), closed(penalty), **CLOSE)
    for f in (at.jacrev, at.jacfwd, lambda f: at.jacfwd(at.jacrev(f))):
        assert_close(f(argmin)(penalty), f(closed)(penalty), **CLOSE)


def scipy_root(a, b):
    import numpy as np
    from scipy.optimize import root

    return root(lambda x: np.asarray(a) @ x + np.tanh(x) - np.asarray(b), np.zeros(3), tol=1e-14).x


def gmres(matvec, b):
    from scipy.sparse import linalg

    n = b.shape[0]
    product = linalg.LinearOperator((n, n), matvec=lambda v: matvec(v).numpy())
    return linalg.gmres(product, b.numpy(), rtol=1e-13)[0]


@pytest.mark.parametrize("solve", [None, gmres])
def test_scipy_finds_the_solution(solve, backend: str) -> None:
    pytest.importorskip("scipy", reason="the solver is SciPy's")
    f = at.implicit(scipy_root, lambda x, a, b: a @ x + at.tanh(x) - b, solve=solve)
    a = double([4.0, 1.0, 0.2], [-1.0, 3.0, 0.5], [0.3, 0.0, 5.0])
    b = double(1.0, -2.0, 0.5)
    check_grads(f, (a, b), order=2)
    bs = at.stack([b, 2 * b])
    of_each = at.vmap(at.jacobian(f, (0, 1)), (None, 0))(a, bs)
    for i in range(2):
        for found, wanted in zip(of_each, at.jacobian(f, (0, 1))(a, bs[i]), strict=True):
            assert_close(found[i], wanted, **CLOSE)


def test_backward_and_create_graph() -> None:
    a = at.tensor(4.0, dtype=at.float64, requires_grad=True)
    (ROOT(a) * 3).backward()
    assert_close(a.grad, double(0.75), **CLOSE)
    (first,) = at.autograd.grad(ROOT(a), a, create_graph=True)
    assert_close(at.autograd.grad(first, a)[0], double(-1 / 32), **CLOSE)
    with at.no_grad():
        assert not ROOT(a).requires_grad


def test_compiled() -> None:
    pytest.importorskip("llvmlite", reason="programs are made with it")

    def heron(a):
        x = (a + 1) / 2
        for _ in range(30):
            x = (x + a / x) / 2
        return x

    root = at.implicit(heron, lambda x, a: x**2 - a)
    for f in (root, at.grad(root), at.grad(at.grad(root))):
        assert_close(at.compile(f)(double(2.0)), f(double(2.0)))
    mapped, a = at.vmap(at.grad(root)), double(2.0, 3.0)
    assert_close(at.compile(mapped)(a), mapped(a))
    with pytest.raises(at.GradError, match="residual at the solver's result is more than"):
        at.compile(root)(double(-1.0))
    with pytest.raises(at.TraceError, match="a value was asked for while a compiled function"):
        at.compile(lambda a: ROOT(a))(double(2.0))


def test_the_solver_runs_once_and_gets_constants() -> None:
    seen = []

    def solver(a, *, guess):
        seen.append((a.requires_grad, guess))
        return bisect(a)

    root = at.implicit(solver, lambda x, a: x**2 - a)
    at.hessian(lambda a: root(a, guess="none"))(double(2.0))
    assert seen == [(False, "none")]


def test_numbers_and_dtypes() -> None:
    pytest.importorskip("numpy", reason="the python backend has float64 only")
    x = at.implicit(lambda a, n: 2, lambda x, a, n: x**n - a)(at.tensor(4.0), 2)
    assert (x.dtype, x.item()) == (at.float32, 2.0)
    assert at.implicit(bisect, lambda x, a: x**2 - a)(4.0).item() == 2.0


def test_what_is_no_solution_is_refused() -> None:
    wrong = at.implicit(lambda a: 3.0, lambda x, a: x**2 - a)
    with pytest.raises(at.GradError, match="residual at the solver's result is 7, more than its"):
        wrong(double(2.0))
    with pytest.raises(at.GradError, match="residual at the solver's result is inf"):
        at.implicit(lambda a: math.inf, lambda x, a: x**2 - a)(double(2.0))
    loose = at.implicit(lambda a: 3.0, lambda x, a: x**2 - a, tolerance=math.inf)
    assert_close(at.grad(loose)(double(2.0)), double(1 / 6), **CLOSE)
    with pytest.raises(at.GradError, match=r"is 7, more than its tolerance 0.00012"):
        at.vmap(wrong)(double(2.0, 9.0))


def test_a_singular_system_is_refused() -> None:
    root = at.implicit(lambda a: 0.0, lambda x, a: x**2 - a)
    with pytest.raises(at.LinAlgError, match="∂r/∂x is singular at the solution"):
        at.grad(root)(double(0.0))


def test_shapes_must_fit() -> None:
    f = at.implicit(lambda a: a, lambda x, a: (x - a).sum())
    with pytest.raises(at.ShapeError, match=r"residual has shapes \[\(\)\], x has \[\(2,\)\]"):
        f(double(1.0, 2.0))
    g = at.implicit(lambda a: a, fixed_point=lambda x, a: (x, a))
    with pytest.raises(at.ShapeError, match="must return what is nested as x is"):
        g(double(1.0, 2.0))


def test_what_is_not_differentiated_is_refused() -> None:
    w = at.tensor(2.0, requires_grad=True)
    with pytest.raises(at.GradError, match="an option requires a gradient"):
        at.implicit(lambda a, w: a, lambda x, a: x - a)(1.0, w=w)
    with pytest.raises(at.GradError, match="the residual uses a Tensor that requires a gradient"):
        at.implicit(lambda a: a * 2.0, lambda x, a: x - a * w)(1.0)


def test_other_mistakes() -> None:
    with pytest.raises(TypeError, match="give one of residual and fixed_point="):
        at.implicit(bisect)
    with pytest.raises(at.TransformError, match=r"the solver returns .* found a str"):
        at.implicit(lambda a: "x", lambda x, a: x - a)(1.0)


def test_too_many_unknowns_for_a_matrix(monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_SIZE", 3)
    many = at.implicit(lambda a: a, lambda x, a: x - a)
    with pytest.raises(at.MemoryLimitError, match=r"4 unknowns make a matrix .* solve=f"):
        at.grad(lambda a: many(a).sum())(at.ones(4))
    free = at.implicit(lambda a: a, lambda x, a: x - a, solve=lambda matvec, b: b)
    assert at.grad(lambda a: free(a).sum())(at.ones(4)).tolist() == [1.0] * 4
