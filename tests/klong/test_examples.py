"""The example programs come to the right results, on every backend."""

import math
from pathlib import Path

import pytest

from atled.klong import KlongInterpreter

FOLDER = Path(__file__).parents[2] / "examples" / "klong"


def run(backend: str, name: str) -> list[float]:
    k = KlongInterpreter(backend=backend)
    return k((FOLDER / f"{name}.kg").read_text(encoding="utf-8")).tolist()


def test_linear_regression(backend: str) -> None:
    w, b, slope, start = run(backend, "linear_regression")
    assert (slope, start) == pytest.approx((1.99, 1.05), rel=1e-12)
    assert (w, b) == pytest.approx((slope, start), rel=1e-9)


def test_neural_net(backend: str) -> None:
    assert run(backend, "neural_net") == pytest.approx([0, 1, 1, 0], abs=1e-6)


def test_option_greeks(backend: str) -> None:
    S, K, r, s, T = 100.0, 105.0, 0.03, 0.2, 0.5
    d1 = (math.log(S / K) + (r + s * s / 2) * T) / (s * math.sqrt(T))
    d2 = d1 - s * math.sqrt(T)

    def normal(x: float) -> float:
        return 0.5 * (1 + math.erf(x / math.sqrt(2)))

    density = math.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi)
    discounted = K * math.exp(-r * T)
    assert run(backend, "option_greeks") == pytest.approx(
        [
            S * normal(d1) - discounted * normal(d2),
            normal(d1),
            density / (S * s * math.sqrt(T)),
            S * density * math.sqrt(T),
            T * discounted * normal(d2),
            -S * density * s / (2 * math.sqrt(T)) - r * discounted * normal(d2),
        ],
        rel=1e-9,
    )


def test_physics(backend: str) -> None:
    assert run(backend, "physics") == pytest.approx([12, 3], abs=1e-3)


def test_statistics(backend: str) -> None:
    m, l, dm, dl, mean, variance, median = run(backend, "statistics")
    assert (mean, median) == pytest.approx((65.5 / 12, 5.45))
    assert m == pytest.approx(mean, rel=1e-9)
    assert math.exp(2 * l) == pytest.approx(variance, rel=1e-9)
    assert dm == pytest.approx(math.sqrt(variance / 12), rel=1e-9)
    assert dl == pytest.approx(math.sqrt(1 / 24), rel=1e-9)


def test_there_are_no_others() -> None:
    names = {path.stem for path in FOLDER.glob("*.kg")}
    assert names == {"linear_regression", "neural_net", "option_greeks", "physics", "statistics"}
