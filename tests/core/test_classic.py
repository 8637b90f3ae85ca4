"""Classic cases, right to 1e-10 in float64: closed forms, and what other programs answer."""

import itertools
import math

import pytest

import atled as at
from atled.testing import assert_close
from atled.train.models import MODELS, as_inputs

f64 = at.float64
LIMIT = 1e-10


def tensor(data):
    return at.tensor(data, dtype=f64)


def wave(*shape):
    """Numbers without a pattern that a wrong derivative could share."""
    n = math.prod(shape)
    return at.reshape(at.sin(at.arange(n, dtype=f64) * 1.7 + 0.3), shape)


# -- Rosenbrock


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def test_rosenbrock(backend):
    n = 6
    x = (wave(n) * 2).tolist()
    gradient = [0.0] * n
    hessian = [[0.0] * n for _ in range(n)]
    for i in range(n - 1):
        a, b = x[i], x[i + 1]
        gradient[i] += -400 * a * (b - a * a) - 2 * (1 - a)
        gradient[i + 1] += 200 * (b - a * a)
        hessian[i][i] += 1200 * a * a - 400 * b + 2
        hessian[i][i + 1] += -400 * a
        hessian[i + 1][i] += -400 * a
        hessian[i + 1][i + 1] += 200
    assert_close(at.grad(rosenbrock)(tensor(x)), tensor(gradient), LIMIT, LIMIT)
    assert_close(at.hessian(rosenbrock)(tensor(x)), tensor(hessian), LIMIT, LIMIT)
    v = wave(n) + 0.5
    assert_close(at.hvp(rosenbrock, tensor(x), v), tensor(hessian) @ v, LIMIT, LIMIT)
    assert at.grad(rosenbrock)(at.ones(n, dtype=f64)).tolist() == [0.0] * n


# -- log-determinant: ∂ log det X / ∂X = X⁻ᵀ, and H[i,j,k,l] = -X⁻¹[l,i] X⁻¹[j,k]


def test_hessian_of_a_log_determinant(backend):
    n = 4
    a = wave(n, n)
    x = a @ a.T + at.eye(n, dtype=f64) * 2
    inverse = at.linalg.inv(x)
    expected = -at.einsum("li,jk->ijkl", inverse, inverse)
    found = at.hessian(lambda x: at.linalg.slogdet(x)[1])(x)
    assert_close(found, expected, LIMIT, LIMIT)
    assert_close(at.grad(lambda x: at.linalg.slogdet(x)[1])(x), inverse.T, LIMIT, LIMIT)

    def by_cholesky(x):
        return 2 * at.log(at.diagonal(at.linalg.cholesky(x))).sum()

    assert_close(at.grad(by_cholesky)(x), inverse, LIMIT, LIMIT)
    h = at.reshape(at.hessian(by_cholesky)(x), (n * n, n * n))
    v = wave(n, n)
    v = at.reshape(v + v.T, -1)  # on symmetric directions the two are one function
    assert_close(v @ (h @ v), v @ (at.reshape(expected, (n * n, n * n)) @ v), LIMIT, LIMIT)


# -- softmax: J = diag(s) - s sᵀ


@pytest.mark.parametrize("transform", [at.jacobian, at.jacfwd, at.jacrev])
def test_jacobian_of_softmax(transform, backend):
    x = wave(7) * 5
    s = at.softmax(x)
    assert_close(transform(at.softmax)(x), at.diag(s) - at.outer(s, s), LIMIT, LIMIT)
    batch = at.vmap(transform(at.softmax))(at.stack([x, x * 2]))
    t = at.softmax(x * 2)
    assert_close(batch[1], at.diag(t) - at.outer(t, t), LIMIT, LIMIT)


def test_hessian_of_logsumexp_is_the_jacobian_of_softmax(backend):
    x = wave(5)
    assert_close(at.hessian(at.logsumexp)(x), at.jacobian(at.softmax)(x), LIMIT, LIMIT)


# -- a multilayer perceptron


def mlp(p, x):
    for layer in p[:-1]:
        x = at.tanh(x @ layer["w"] + layer["b"])
    return x @ p[-1]["w"] + p[-1]["b"]


def parameters(*sizes):
    return [
        {"w": wave(m, n) / math.sqrt(m), "b": wave(n) * 0.1} for m, n in itertools.pairwise(sizes)
    ]


def flattened(nest):
    return at.concat([at.reshape(t, -1) for layer in nest for t in layer.values()])


def test_hvp_of_an_mlp_equals_the_full_hessian(backend):
    p, x, y = parameters(3, 4, 2), wave(5, 3), wave(5, 2)

    def loss(p):
        return ((mlp(p, x) - y) ** 2).mean()

    v = parameters(3, 4, 2)
    for layer in v:
        layer["w"], layer["b"] = at.cos(layer["w"] * 3), at.cos(layer["b"] * 3)
    product = flattened(at.hvp(loss, p, v))
    blocks = at.hessian(loss)(p)
    rows = []
    for layer in blocks:
        for row in layer.values():  # a block for each Tensor, nested as the parameters
            parts = [
                at.reshape(h, (-1, t.size))
                for of, like in zip(row, p, strict=True)
                for h, t in zip(of.values(), like.values(), strict=True)
            ]
            rows.append(at.concat(parts, axis=1))
    hessian = at.concat(rows)
    assert_close(hessian, hessian.T, LIMIT, LIMIT)
    assert_close(hessian @ flattened(v), product, LIMIT, LIMIT)
    backward = at.grad(lambda p: (flattened(at.grad(loss)(p)) * flattened(v)).sum())(p)
    assert_close(flattened(backward), product, LIMIT, LIMIT)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_per_sample_gradients_of_the_digits_model(name, backend):
    if backend == "python" and name == "cnn":
        pytest.skip("convolutions of float64 in pure Python take many seconds")
    at.manual_seed(0)
    model = MODELS[name].build()
    p = {path: w.detach().astype(f64) for path, w in model.named_parameters()}
    digits = at.data.load_digits("test")
    n = 3 if backend == "python" else 8
    x, labels = as_inputs(digits.images[:n]).astype(f64), at.tensor(digits.labels[:n])

    def loss(p, x, label):
        logits = at.nn.functional_call(model, p, at.expand_dims(x, 0))
        return at.nn.functional.cross_entropy(logits, at.expand_dims(label, 0))

    found = at.vmap(at.grad(loss), (None, 0, 0))(p, x, labels)
    for i in range(n):
        alone = at.grad(loss)(p, x[i], labels[i])
        for path, g in alone.items():
            assert g.requires_grad is False
            assert_close(found[path][i], g, LIMIT, LIMIT)
    mean = at.grad(lambda p: at.vmap(loss, (None, 0, 0))(p, x, labels).mean())(p)
    whole = at.grad(
        lambda p: at.nn.functional.cross_entropy(at.nn.functional_call(model, p, x), labels)
    )(p)
    for path, g in mean.items():
        assert_close(found[path].mean(axis=0), g, LIMIT, LIMIT)
        assert_close(whole[path], g, LIMIT, LIMIT)


# -- Lotka-Volterra, by a hand-written Runge-Kutta loop


def predator_prey(u, p):
    return at.stack([p[0] * u[0] - p[1] * u[0] * u[1], p[3] * u[0] * u[1] - p[2] * u[1]])


def trajectory(p, steps=200, until=4.0):
    """u' = f(u, p) from (1, 1.5) by the classical method of order four."""
    u, h = tensor([1.0, 1.5]), until / steps
    for _ in range(steps):
        k1 = predator_prey(u, p)
        k2 = predator_prey(u + 0.5 * h * k1, p)
        k3 = predator_prey(u + 0.5 * h * k2, p)
        k4 = predator_prey(u + h * k3, p)
        u = u + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return u


RATES = [1.5, 1.0, 3.0, 1.0]


def test_sensitivity_of_a_trajectory_in_both_modes(backend):
    steps = 40 if backend == "python" else 100
    forward = at.jacfwd(lambda p: trajectory(p, steps))(tensor(RATES))
    reverse = at.jacrev(lambda p: trajectory(p, steps))(tensor(RATES))
    assert_close(forward, reverse, LIMIT, LIMIT)
    for k in range(4):  # complex step: exact to rounding, with no derivative of ours in it
        column = _by_complex_step(k, steps)
        for i in range(2):
            assert forward[i, k].item() == pytest.approx(column[i], rel=LIMIT, abs=LIMIT)


def _by_complex_step(k, steps, until=4.0, eps=1e-30):
    p = [complex(r, eps if i == k else 0.0) for i, r in enumerate(RATES)]
    f = lambda x, y: (p[0] * x - p[1] * x * y, p[3] * x * y - p[2] * y)
    (x, y), h = (1.0 + 0j, 1.5 + 0j), until / steps
    for _ in range(steps):
        a = f(x, y)
        b = f(x + 0.5 * h * a[0], y + 0.5 * h * a[1])
        c = f(x + 0.5 * h * b[0], y + 0.5 * h * b[1])
        d = f(x + h * c[0], y + h * c[1])
        x += h / 6 * (a[0] + 2 * b[0] + 2 * c[0] + d[0])
        y += h / 6 * (a[1] + 2 * b[1] + 2 * c[1] + d[1])
    return x.imag / eps, y.imag / eps


@pytest.mark.slow
def test_sensitivity_against_the_variational_equations():
    """u' = f, S' = ∂f/∂u S + ∂f/∂p, solved by SciPy to 1e-13."""
    np = pytest.importorskip("numpy", reason="SciPy's solver takes its arrays")
    integrate = pytest.importorskip("scipy.integrate", reason="solves the equations")
    at.use("numpy")

    def both(_, z):
        (x, y), s = z[:2], z[2:].reshape(2, 4)
        a, b, c, d = RATES
        by_u = np.array([[a - b * y, -b * x], [d * y, d * x - c]])
        by_p = np.array([[x, -x * y, 0, 0], [0, 0, -y, x * y]])
        flow = [a * x - b * x * y, d * x * y - c * y]
        return np.concatenate([flow, (by_u @ s + by_p).ravel()])

    start = np.concatenate([[1.0, 1.5], np.zeros(8)])
    solved = integrate.solve_ivp(both, (0, 1.0), start, "DOP853", rtol=1e-13, atol=1e-13)
    expected = solved.y[2:, -1].reshape(2, 4)
    half, full = (at.jacfwd(lambda p, n=n: trajectory(p, n, 1.0))(tensor(RATES)) for n in (60, 120))
    ours = full + (full - half) / 15  # Richardson's extrapolation of a method of order four
    assert_close(ours, at.asarray(expected), LIMIT, LIMIT)


# -- the implicit derivative of a fixed point


def _kepler_by_bisection(anomaly, e):
    m, e = float(anomaly), float(e)
    low, high = m - 1.0, m + 1.0
    while low < (x := (low + high) / 2) < high:
        low, high = (x, high) if x - e * math.sin(x) < m else (low, x)
    return x


def test_implicit_derivative_of_a_fixed_point(backend):
    """Kepler's E = M + e sin E: ∂E/∂M = 1/(1 - e cos E), ∂E/∂e = sin E times that."""
    solved = at.implicit(_kepler_by_bisection, fixed_point=lambda x, m, e: m + e * at.sin(x))
    m, e = 1.0, 0.3
    x = _kepler_by_bisection(m, e)
    slope = 1 / (1 - e * math.cos(x))
    for transform in (at.grad, at.jacfwd, at.jacrev):
        by_m, by_e = transform(solved, (0, 1))(tensor(m), tensor(e))
        assert by_m.item() == pytest.approx(slope, rel=LIMIT)
        assert by_e.item() == pytest.approx(math.sin(x) * slope, rel=LIMIT)
    curve = -e * math.sin(x) * slope**3  # ∂²E/∂M²
    assert at.grad(at.grad(solved))(tensor(m), tensor(e)).item() == pytest.approx(curve, rel=LIMIT)
    found = at.hessian(solved)(tensor(m), tensor(e))
    assert found.item() == pytest.approx(curve, rel=LIMIT)
    anomalies = tensor([0.5, 1.0, 2.0])
    many = at.vmap(at.grad(solved), (0, None))(anomalies, tensor(e))
    for k, value in enumerate(anomalies.tolist()):
        x = _kepler_by_bisection(value, e)
        assert many[k].item() == pytest.approx(1 / (1 - e * math.cos(x)), rel=LIMIT)


def test_a_fixed_point_unrolled(backend):
    def kepler(anomaly, e):
        x = anomaly
        for _ in range(60):
            x = anomaly + e * at.sin(x)
        return x

    m, e = tensor(1.0), tensor(0.3)
    x = kepler(m, e).item()
    slope = 1 / (1 - 0.3 * math.cos(x))
    for by_m, by_e in (at.grad(kepler, (0, 1))(m, e), at.jacfwd(kepler, (0, 1))(m, e)):
        assert by_m.item() == pytest.approx(slope, rel=LIMIT)
        assert by_e.item() == pytest.approx(math.sin(x) * slope, rel=LIMIT)
