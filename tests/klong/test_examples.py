"""The example programs come to the right results, on every backend.

What is right is said by NumPy, SciPy, a closed form, or the literature, not by atled.
"""

import math
from pathlib import Path
from typing import Any

import pytest

from atled.data import load_digits
from atled.klong import KlongInterpreter

FOLDER = Path(__file__).parents[2] / "examples" / "klong"


def run(backend: str, name: str, *arguments: str) -> tuple[KlongInterpreter, Any]:
    """Run a program; return the interpreter that ran it, and its value."""
    k = KlongInterpreter(backend=backend)
    k[".a"] = arguments
    return k, k((FOLDER / f"{name}.kg").read_text(encoding="utf-8"))


def array(value: Any) -> Any:
    np = pytest.importorskip("numpy", reason="the reference is computed by NumPy")
    return np.array(value.tolist())


def test_linear_regression(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    np = pytest.importorskip("numpy")
    optimize = pytest.importorskip("scipy.optimize")
    k, value = run(backend, "linear_regression")
    speed, feet, found = array(k["speed"]), array(k["feet"]), array(value)
    line = np.polyfit(speed, feet, 1)
    assert found[2:4] == pytest.approx(line, rel=1e-12)
    assert found[:2] == pytest.approx(line, rel=1e-9)
    assert line == pytest.approx([3.9324, -17.5791], abs=5e-5)  # as R's lm(dist ~ speed) prints

    def robust(p: Any) -> Any:
        return np.mean(np.sqrt(1 + ((p[0] * speed + p[1] - feet) / 8) ** 2))

    best = optimize.minimize(robust, line, method="Nelder-Mead", options={"xatol": 1e-9}).x
    assert found[4:] == pytest.approx(best, rel=1e-4)
    shown = capsys.readouterr().out
    assert "the line explains 65.1 percent" in shown
    assert sum(line.count("*") for line in shown.splitlines()) == len(
        {(v, f // 12) for v, f in zip(speed, feet, strict=True)}
    )


def by_hand(epochs: int, u: Any, v: Any) -> tuple[Any, float]:
    """Train the net of neural_net.kg in NumPy: derivatives and Adam are written out.

    Returns:
        The weights u, and the share of test digits that are read.
    """
    import numpy as np

    data, test = load_digits("train"), load_digits("test")
    images, labels = np.array(data.images), np.array(data.labels)
    p = [u, np.zeros((len(u), 1)), v, np.zeros((10, 1))]
    m, n, t = [0.0 * a for a in p], [0.0 * a for a in p], 0
    for _ in range(epochs):
        for at in range(0, len(labels), 48):
            x, y = images[at : at + 48].T, np.eye(10)[labels[at : at + 48]].T
            h = np.tanh(p[1] + p[0] @ x)
            e = np.exp(p[3] + p[2] @ h)
            g = (e / e.sum(axis=0) - y) / y.shape[1]
            back = (p[2].T @ g) * (1 - h * h)
            slopes = [back @ x.T, back.sum(axis=1, keepdims=True)]
            slopes += [g @ h.T, g.sum(axis=1, keepdims=True)]
            t += 1
            for i, s in enumerate(slopes):
                m[i] = 0.9 * m[i] + 0.1 * s
                n[i] = 0.999 * n[i] + 0.001 * s * s
                step = (m[i] / (1 - 0.9**t)) / (np.sqrt(n[i] / (1 - 0.999**t)) + 1e-8)
                p[i] = p[i] - 0.01 * step
    scores = p[3] + p[2] @ np.tanh(p[1] + p[0] @ np.array(test.images).T)
    return p[0], float(np.mean(scores.argmax(axis=0) == np.array(test.labels)))


@pytest.mark.slow
def test_neural_net(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    epochs = 1 if backend == "python" else 8  # in plain Python an epoch takes a second
    k, right = run(backend, "neural_net", str(epochs))
    assert right >= (0.8 if epochs == 1 else 0.94)
    assert f"epoch {epochs}: loss" in capsys.readouterr().out
    pytest.importorskip("numpy", reason="the reference is computed by NumPy")
    k("manual.seed(0);first::0.2*randn(24;64);second::0.2*randn(10;24)")
    u, expected = by_hand(epochs, array(k["first"]), array(k["second"]))
    assert array(k["u"]).ravel() == pytest.approx(u.ravel(), rel=1e-6, abs=1e-9)
    assert right == pytest.approx(expected)


def normal(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def closed(S: float, K: float, r: float, s: float, T: float) -> list[float]:
    """Return price, delta, gamma, vega, theta and rho by their textbook formulas."""
    d1 = (math.log(S / K) + (r + s * s / 2) * T) / (s * math.sqrt(T))
    d2 = d1 - s * math.sqrt(T)
    density = math.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi)
    discounted = K * math.exp(-r * T)
    return [
        S * normal(d1) - discounted * normal(d2),
        normal(d1),
        density / (S * s * math.sqrt(T)),
        S * density * math.sqrt(T),
        -S * density * s / (2 * math.sqrt(T)) - r * discounted * normal(d2),
        T * discounted * normal(d2),
    ]


def test_option_greeks(backend: str) -> None:
    k, value = run(backend, "option_greeks")
    found, strikes = array(value).reshape(7, 5), array(k["K"])
    for i, strike in enumerate(strikes):
        assert found[:6, i] == pytest.approx(closed(100.0, strike, 0.03, 0.2, 0.5), rel=1e-9)
    for paid, strike, volatility in zip(array(k["market"]), strikes, found[6], strict=True):
        assert closed(100.0, strike, 0.03, volatility, 0.5)[0] == pytest.approx(paid, rel=1e-12)


def test_physics(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    np = pytest.importorskip("numpy")
    integrate = pytest.importorskip("scipy.integrate")
    _, value = run(backend, "physics")
    found = array(value)
    throw, place, J = found[:2], found[2:4], found[4:].reshape(2, 2)
    assert place == pytest.approx([12.0, 3.0], abs=1e-3)

    def force(_: float, state: Any) -> Any:
        v = state[2:]
        return [*v, *(np.array([0.0, -9.81]) - 0.05 * v * np.sqrt(v @ v))]

    def land(throw: Any) -> Any:
        start = [0.0, 0.0, *throw]
        return integrate.solve_ivp(force, (0.0, 1.0), start, rtol=1e-10, atol=1e-10).y[:2, -1]

    assert land(throw) == pytest.approx(place, abs=2e-3)  # the program's steps are coarser
    steps = 1e-4 * np.eye(2)
    slopes = [(land(throw + d) - land(throw - d)) / 2e-4 for d in steps]
    assert np.allclose(np.array(slopes).T, J, rtol=0.0, atol=2e-3)
    assert capsys.readouterr().out.count("o") > 20


def test_statistics(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    np = pytest.importorskip("numpy")
    k, value = run(backend, "statistics")
    *found, mean, deviation, median = array(value)
    degrees, damaged = array(k["degrees"]), array(k["damaged"])
    X, p = np.stack([np.ones(23), degrees - 70.0], axis=1), np.zeros(2)
    for _ in range(30):  # iteratively reweighted least squares
        chance = 1 / (1 + np.exp(-X @ p))
        weights = chance * (1 - chance)
        p = np.linalg.solve(X.T * weights @ X, X.T @ (weights * (X @ p) + damaged - chance))
    assert found[:2] == pytest.approx(p, rel=1e-9)
    errors = np.sqrt(np.diag(np.linalg.inv(X.T * weights @ X)))
    assert found[2:4] == pytest.approx(errors, rel=1e-9)
    assert found[4] == pytest.approx(1 / (1 + math.exp(-p[0] + 39 * p[1])), rel=1e-9)
    assert (p[1], errors[1]) == pytest.approx((-0.2322, 0.1082), abs=5e-5)  # as published
    assert p[0] - 70 * p[1] == pytest.approx(15.0429, abs=5e-5)
    assert (mean, median) == pytest.approx((degrees.mean(), np.median(degrees)))
    assert deviation == pytest.approx(degrees.std(ddof=1), rel=1e-12)
    shown = capsys.readouterr().out
    low, high = np.quantile(degrees[damaged == 1], [0.25, 0.75])
    assert f"quartiles {low:.1f} {high:.1f}" in shown
    assert "  31 F |######################################## 100 %" in shown


def test_there_are_no_others() -> None:
    names = {path.stem for path in FOLDER.glob("*.kg")}
    assert names == {"linear_regression", "neural_net", "option_greeks", "physics", "statistics"}
