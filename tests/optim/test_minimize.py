"""SciPy's optimizers on nested parameters: every method, the user's own structure, errors."""

import importlib.util
from dataclasses import dataclass

import pytest

import atled as at
from atled import testing
from atled.backends.protocol import is_installed
from atled.errors import (
    BackendError,
    DTypeError,
    GradError,
    NotScalarError,
    ShapeError,
    TraceError,
)
from atled.optim.minimization import METHODS
from atled.optim.objective import Constraint
from atled.optim.vector import Layout

np = pytest.importorskip("numpy")
optimize = pytest.importorskip("scipy.optimize")


@pytest.fixture(autouse=True)
def _numpy(request):
    if "backend" not in request.fixturenames:
        at.use("numpy")


def t(data, dtype=at.float64):
    return at.tensor(data, dtype=dtype)


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def valley(x):
    return (5 * (x[1:] - x[:-1]) ** 2).sum() + ((1 - x) ** 2).sum()


def bowl(p):
    """Its minimum is at a = 1, b = ((1, 2), (3, 4))."""
    target = at.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=at.float64)
    return (p["a"] - 1.0) ** 2 + ((p["b"] - target) ** 2 * (1.0 + p["a"] ** 2)).sum()


@dataclass
class Line:
    slope: object
    offsets: list


# -- methods


@pytest.mark.parametrize("compiled", [False, "auto"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_minimum(method, compiled):
    f = rosenbrock if "g" in METHODS[method] else valley
    tol = 1e-7 if method == "trust-krylov" else 1e-10  # SciPy's own warns of 0 · ∞ below
    found = at.optim.minimize(
        f, t([1.2, 0.9, 0.8]), method=method.lower(), tol=tol, compile=compiled
    )
    testing.assert_close(found.x, t([1.0, 1.0, 1.0]), rtol=0, atol=2e-3)
    assert found.x.dtype is at.float64
    assert found.fun == pytest.approx(f(found.x).item(), abs=1e-15)
    if "g" in METHODS[method]:
        assert found.x.tolist() == pytest.approx([1.0, 1.0, 1.0], abs=1e-4)
        testing.assert_close(found.jac, at.grad(rosenbrock)(found.x), rtol=1e-7, atol=1e-8)
        assert found.jac.numpy().tolist() == found.gradient.tolist()
    else:
        assert "jac" not in found
    if compiled == "auto" and importlib.util.find_spec("llvmlite"):
        assert found.compiled, found.compile_reason


# Not CG and TNC, whose paths are those of the roundings in the gradient.
@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS", "SLSQP", "Newton-CG", "trust-ncg",
                                    "trust-exact"])  # fmt: skip
def test_the_path_is_that_of_scipy_with_derivatives_by_hand(method):
    start, takes = np.array([-1.2, 1.0, 0.5]), METHODS[method]
    by_hand = {"hessp": optimize.rosen_hess_prod} if "p" in takes else {}
    by_hand |= {"hess": optimize.rosen_hess} if "h" in takes else {}
    expected = optimize.minimize(
        optimize.rosen, start, jac=optimize.rosen_der, method=method, **by_hand
    )
    found = at.optim.minimize(rosenbrock, t(start), method=method, compile=False)
    assert found.nit == expected.nit
    assert found.vector.tolist() == pytest.approx(expected.x.tolist(), rel=1e-5)
    assert found.message == expected.message


def test_value_and_gradient_come_from_one_run():
    runs = []

    def f(x):
        runs.append(1)
        return (x**4).sum()

    found = at.optim.minimize(f, t([1.0, 2.0]), method="BFGS", compile=False)
    assert len(runs) == found.nfev == found.njev


@pytest.mark.parametrize("method", ["trust-constr", "SLSQP", "COBYLA", "COBYQA"])
def test_constraints_over_the_nest(method):
    def f(p):
        return (p["u"] ** 2).sum() + (p["v"] - 3.0) ** 2

    def on_line(p, total):
        return p["u"].sum() + p["v"] - total

    constraints = [
        {"type": "eq", "fun": on_line, "args": (5.0,)},
        {"type": "ineq", "fun": lambda p: {"cap": 2.5 - p["v"], "low": p["u"] - 0.5}},
    ]
    start = {"u": t([1.0, 1.0]), "v": t(1.0)}
    tol = 1e-10 if method == "trust-constr" else 1e-8  # of the barrier, whose error is its root
    found = at.optim.minimize(f, start, method=method, constraints=constraints, tol=tol)
    testing.assert_close(found.x["u"], t([1.25, 1.25]), rtol=0, atol=1e-4)
    assert found.x["v"].item() == pytest.approx(2.5, abs=1e-4)


@pytest.mark.parametrize("method", ["trust-constr", "SLSQP"])
def test_curved_constraints(method):
    on_circle = {"type": "eq", "fun": lambda x: (x**2).sum() - 2.0}
    found = at.optim.minimize(
        lambda x: x.sum(), t([1.0, 0.5]), method=method, constraints=on_circle, tol=1e-10
    )
    assert found.x.tolist() == pytest.approx([-1.0, -1.0], abs=1e-6)
    assert found.nit < 25
    testing.assert_close(found.jac, t([1.0, 1.0]))


def test_the_constraints_hessian_is_exact():
    layout = Layout({"a": t([0.5, 2.0]), "b": 1.5})
    fun = lambda p: [at.sin(p["a"]) * p["b"], p["b"] ** 3]
    constraint = Constraint({"type": "eq", "fun": fun}, 0, layout)
    at_ = np.array([0.5, 2.0, 1.5])
    weights = np.array([2.0, -1.0, 0.5])
    got = constraint.hess(at_, weights) @ np.eye(3)

    def lagrangian(x):
        return (t(weights) * at.concat([at.sin(x[:2]) * x[2], x[2:] ** 3])).sum()

    assert got.ravel().tolist() == pytest.approx(at.hessian(lagrangian)(t(at_)).numpy().ravel())
    assert constraint.jac(at_).shape == (3, 3)


def test_one_constraint_needs_no_list():
    found = at.optim.minimize(
        lambda x: (x**2).sum(), t([3.0, 1.0]), method="SLSQP",
        constraints={"type": "ineq", "fun": lambda x: x[0] - 1.0},
    )  # fmt: skip
    assert found.x.tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


# -- parameters


def test_the_result_has_the_users_own_structure(backend):
    f32 = at.float64 if backend == "python" else at.float32
    start = {"a": 0.5, "b": t([[0.0, 0.0], [0.0, 0.0]], f32)}
    found = at.optim.minimize(bowl, start, tol=1e-9)
    assert list(found.x) == ["a", "b"]
    testing.assert_close(found.x["b"], t([[1.0, 2.0], [3.0, 4.0]], f32), rtol=1e-3, atol=0)
    assert found.x["a"].item() == pytest.approx(1.0, abs=1e-3)
    assert found.x["a"].dtype is at.float64  # a Python float
    assert found.x["b"].dtype is found.jac["b"].dtype is f32
    assert found.x["b"].backend.name == backend
    assert found.vector.shape == (5,)
    assert start["a"] == 0.5


def test_dataclasses_lists_and_arrays():
    xs = np.array([0.0, 1.0, 2.0])

    def f(line, data):
        return ((line.slope * at.asarray(xs) + line.offsets[0] + line.offsets[1] - data) ** 2).sum()

    start = Line(np.array(0.0), [np.array([0.0]), 1.0])
    found = at.optim.minimize(f, start, args=t([1.0, 3.0, 5.0]), method="BFGS")
    assert isinstance(found.x, Line)
    assert found.x.slope.item() == pytest.approx(2.0, abs=1e-6)
    total = found.x.offsets[0].item() + found.x.offsets[1].item()
    assert total == pytest.approx(1.0, abs=1e-6)


def test_the_function_sees_the_dtypes_of_its_parameters():
    seen = set()

    def f(x):
        seen.add(x.dtype)
        return ((x - 2.0) ** 2).sum()

    found = at.optim.minimize(f, t([0.0], at.float32), compile=False)
    assert seen == {at.float32}
    assert found.vector.dtype == np.float64
    assert found.x.item() == pytest.approx(2.0, rel=1e-6)


def test_a_parameter_that_requires_a_gradient_is_left_alone():
    start = t([1.0, 2.0]).requires_grad_()
    found = at.optim.minimize(lambda x: (x**2).sum(), start)
    assert start.grad is None
    assert start.tolist() == [1.0, 2.0]
    assert not found.x.requires_grad


def test_the_parameters_of_a_module():
    at.manual_seed(0)
    net = at.nn.Sequential(at.nn.Linear(1, 4), at.nn.Tanh(), at.nn.Linear(4, 1)).double()
    x = at.linspace(-1.0, 1.0, 20, dtype=at.float64).reshape(-1, 1)
    start = {k: v.detach() for k, v in net.named_parameters()}

    def loss(p):
        return at.mean((at.nn.functional_call(net, p, x) - x**2) ** 2)

    found = at.optim.minimize(loss, start, options={"maxiter": 200})
    assert found.fun < 1e-3
    assert list(found.x) == list(start)


# -- bounds


@pytest.mark.parametrize("method", [m for m in METHODS if "b" in METHODS[m]])
def test_one_pair_for_all(method):
    f = lambda p: (p["a"] - 3.0) ** 2 + ((p["b"] + 3.0) ** 2).sum()
    found = at.optim.minimize(f, {"a": 0.5, "b": t([0.5, 0.5])}, method=method, bounds=(0.0, 1.0))
    assert found.x["a"].item() == pytest.approx(1.0, abs=1e-3)
    assert found.x["b"].tolist() == pytest.approx([0.0, 0.0], abs=1e-3)


NESTED = [
    ({"a": (None, 1.0), "b": None}, 1.0, [-3.0, -3.0]),
    ({"a": None, "b": (np.array([-1.0, -4.0]), None)}, 3.0, [-1.0, -3.0]),
    ({"a": (0.0, None), "b": [(0.0, 1.0), (None, None)]}, 3.0, [0.0, -3.0]),
    ({"b": (at.tensor([-2.0, -2.0]), 5.0), "a": (4.0, 5.0)}, 4.0, [-2.0, -2.0]),
    ((None, 2.0), 2.0, [-3.0, -3.0]),
    (None, 3.0, [-3.0, -3.0]),
]


@pytest.mark.parametrize(("bounds", "a", "b"), NESTED)
def test_bounds_are_nested_as_the_parameters(bounds, a, b):
    f = lambda p: (p["a"] - 3.0) ** 2 + ((p["b"] + 3.0) ** 2).sum()
    found = at.optim.minimize(f, {"a": 0.5, "b": t([0.5, 0.5])}, bounds=bounds)
    assert found.x["a"].item() == pytest.approx(a, abs=1e-5)
    assert found.x["b"].tolist() == pytest.approx(b, abs=1e-5)


def test_bounds_of_a_vector_as_scipy_takes_them():
    f, start = lambda x: ((x - 3.0) ** 2).sum(), t([0.0, 0.0])
    for bounds in ([(0, 1), (0, 2)], optimize.Bounds([0, 0], [1, 2])):
        assert at.optim.minimize(f, start, bounds=bounds).x.tolist() == [1.0, 2.0]


# -- the compiler


def test_what_cannot_be_compiled_runs_eagerly_and_says_why():
    def f(x):
        return x.sum() ** 2 if x.sum() > 100 else (x**2).sum()

    found = at.optim.minimize(f, t([1.0, 2.0]))
    assert found.success
    assert not found.compiled
    if importlib.util.find_spec("llvmlite"):
        assert "a value was asked for" in found.compile_reason
        with pytest.raises(TraceError, match="minimize with compile=True: TraceError"):
            at.optim.minimize(f, t([1.0, 2.0]), compile=True)


def test_a_function_that_counts_runs_eagerly():
    pytest.importorskip("llvmlite")
    history = []

    def f(x):
        history.append(len(history))
        return (x**2).sum()

    found = at.optim.minimize(f, t([1.0, 2.0]))
    assert "changes Python's own state" in found.compile_reason
    assert len(history) == found.nfev  # every value that was computed, and no trace of a trace


def test_a_function_that_is_another_one_at_every_call_is_not_traced_for_ever():
    pytest.importorskip("llvmlite")

    class Clock:
        def __init__(self):
            self.now = 0

        def __call__(self, x):
            return ((x - 1.0) ** 4).sum() + 0.0 * self.now

    clock = Clock()
    found = at.optim.minimize(clock, t([3.0, 2.0]), method="BFGS",
                              callback=lambda _: setattr(clock, "now", clock.now + 1))  # fmt: skip
    assert "traced again and again" in found.compile_reason
    assert found.x.tolist() == pytest.approx([1.0, 1.0], abs=0.05)


def test_other_backends_run_eagerly_and_say_so():
    if not is_installed("torch"):
        pytest.skip("torch is not installed")
    start = at.asarray([1.0, 2.0], backend="torch")
    found = at.optim.minimize(lambda x: (x**2).sum(), start)
    assert "torch backend" in found.compile_reason
    assert found.x.backend.name == "torch"


def test_captured_tensors_are_read_as_they_are():
    data = t([1.0, 2.0])
    f = lambda x: ((x - data) ** 2).sum()
    assert at.optim.minimize(f, t([0.0, 0.0])).x.tolist() == pytest.approx([1.0, 2.0])
    data += 1.0
    assert at.optim.minimize(f, t([0.0, 0.0])).x.tolist() == pytest.approx([2.0, 3.0])


@pytest.mark.parametrize("compiled", [False, "auto"])
def test_captured_parameters_with_gradients_of_their_own_are_constants(compiled):
    w = t([1.0, 2.0]).requires_grad_()
    f = lambda x: (at.exp(x) * w).sum() + (x**2).sum()
    for method in ("BFGS", "Newton-CG", "trust-exact"):
        found = at.optim.minimize(f, t([0.0, 0.0]), method=method, compile=compiled)
        assert not found.x.requires_grad
        assert not found.jac.requires_grad
        testing.assert_close(found.jac, t([0.0, 0.0]), rtol=0, atol=1e-3)
    assert w.grad is None


# -- the rest


@pytest.mark.parametrize("method", METHODS)
def test_the_callback_gets_the_nest_and_can_stop(method):
    seen = []

    def callback(x):
        seen.append(x["p"].tolist())
        if len(seen) == 2:
            raise StopIteration

    f = lambda x: rosenbrock(x["p"])
    found = at.optim.minimize(f, {"p": t([1.5, 1.6, 1.7])}, method=method, callback=callback)
    assert len(seen) == 2
    assert all(len(x) == 3 for x in seen)
    assert "StopIteration" in found.message or "callback" in found.message


def test_numpy_inside_for_a_method_without_gradients():
    found = at.optim.minimize(
        lambda x: float(((x.numpy() - 2.0) ** 2).sum()), t([0.5, 1.0]), method="Nelder-Mead"
    )
    assert found.x.tolist() == pytest.approx([2.0, 2.0], abs=1e-3)


def test_scipy_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr("atled.optim.minimization.find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"needs SciPy: pip install 'atled\[standard\]'"):
        at.optim.minimize(rosenbrock, t([1.0, 2.0]))


def square(x):
    return (x**2).sum()


def refuse(*args, **options):
    return lambda: at.optim.minimize(*args, **options)


PAIR = {"a": 1.0, "b": t([1.0, 2.0])}
REFUSED = [
    (refuse(lambda x: x, t([1.0, 2.0])), NotScalarError, r"must return one number.*shape \(2,\)"),
    (refuse(lambda x: "no", t([1.0])), NotScalarError, "found a str"),
    (refuse(lambda x: (x > 0).sum(), t([1.0])), DTypeError, "returns int64"),
    (refuse(lambda x: 3.0, t([1.0])), NotScalarError, "found a float"),
    (
        refuse(lambda x: at.tensor(float(x.detach().sum())), t([1.0])),
        GradError,
        "does not depend on its parameters by operations that atled records",
    ),
    (refuse(lambda x: at.log(x).sum(), t([-1.0])), ValueError, "the function is nan at x0"),
    (refuse(lambda x: (1 / x).sum(), t([0.0])), ValueError, "the function is inf at x0"),
    (refuse(lambda x: at.sqrt(x).sum(), t([1.0, 0.0])), ValueError, "inf in number 1 of x0"),
    (refuse(square, [1, 2]), DTypeError, "found int. Write 1.0 for 1"),
    (refuse(square, at.tensor([1, 2])), DTypeError, "found int64"),
    (refuse(square, {"a": None}), DTypeError, "found NoneType"),
    (refuse(square, []), ShapeError, "x0 holds no numbers"),
    (refuse(square, t([1.0]), method="Adam"), ValueError, "method is one of Nelder-Mead, .*'Adam'"),
    (refuse(square, t([1.0]), compile="yes"), ValueError, 'compile is True, False or "auto"'),
    (refuse(square, t([1.0]), method="BFGS", bounds=(0, 1)), ValueError, "BFGS takes no bounds"),
    (
        refuse(square, t([1.0]), constraints={"type": "eq", "fun": square}),
        ValueError,
        "L-BFGS-B takes no constraints; these do: COBYLA, COBYQA, SLSQP, trust-constr",
    ),
    (refuse(square, t([1.0]), bounds=(1, 0)), ValueError, r"number 0 are \(1.0, 0.0\)"),
    (refuse(square, t([1.0]), bounds=(0, float("nan"))), ValueError, "neither may be NaN"),
    (refuse(bowl, PAIR, bounds={"a": (0, 1)}), ShapeError, "must be nested as x0 .2 entries of a"),
    (refuse(bowl, PAIR, bounds=[(0, 1), (0, 1)]), ShapeError, "must be nested as x0"),
    (refuse(bowl, PAIR, bounds={"a": 1, "b": None}), ShapeError, r"bounds\['a'\]: a pair"),
    (
        refuse(bowl, PAIR, bounds={"a": None, "b": (np.zeros(3), None)}),
        ShapeError,
        r"bounds\['b'\]: one of shape \(3,\) for a leaf of shape \(2,\)",
    ),
    (
        refuse(bowl, PAIR, bounds={"a": None, "b": [(0, 1)]}),
        ShapeError,
        r"bounds\['b'\]: a leaf of shape \(2,\) takes",
    ),
    (refuse(square, t([1.0]), method="SLSQP", constraints=[3]), TypeError, "constraint 0 must be"),
    (
        refuse(square, t([1.0]), method="SLSQP", constraints=[{"type": "eq"}]),
        ValueError,
        "constraint 0 needs 'type'",
    ),
    (
        refuse(square, t([1.0]), method="SLSQP",
               constraints=[{"type": "eq", "fun": square, "jac": square}]),
        ValueError,
        r"takes 'type', 'fun' and 'args'.*found \['jac'\]",
    ),
    (
        refuse(square, t([1.0]), method="SLSQP", constraints=[{"type": "eq", "fun": lambda x: 1}]),
        DTypeError,
        "constraint 0: fun must return floating Tensors; found a int",
    ),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_is_refused(number):
    call, error, message = REFUSED[number]
    with pytest.raises(error, match=message):
        call()


def test_inside_of_compile_it_is_refused():
    pytest.importorskip("llvmlite")
    compiled = at.compile(lambda x: at.optim.minimize(square, x).x)
    with pytest.raises(TraceError, match=r"minimize\(\) cannot be part of a compiled function"):
        compiled(t([1.0]))
