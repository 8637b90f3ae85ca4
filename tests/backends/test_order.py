"""The stable order of long vectors is NumPy's own."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

np = pytest.importorskip("numpy")

from atled.backends.order import LONG, stable_order  # noqa: E402 - it imports NumPy

SPREADS = {
    "evenly": lambda rng: rng.random(LONG + 1),
    "normally": lambda rng: rng.standard_normal(LONG),
    "over many magnitudes": lambda rng: np.exp(40 * rng.standard_normal(LONG)),
    "few values": lambda rng: rng.integers(-3, 3, LONG).astype(float),
    "one value": lambda rng: np.full(LONG, 2.5),
    "ascending": lambda rng: np.arange(float(LONG)),
    "descending": lambda rng: -np.arange(float(LONG)),
    "zeros of both signs": lambda rng: rng.choice([0.0, -0.0, 1.0], LONG),
    "integers": lambda rng: rng.integers(-1000, 1000, LONG),
    "all of int64": lambda rng: rng.integers(-(2**63), 2**63 - 1, LONG),
    "neighbours in int64": lambda rng: 2**62 + rng.integers(0, 50, LONG),
    "float32": lambda rng: rng.random(LONG).astype(np.float32),
    "uint64": lambda rng: rng.integers(0, 2**64 - 1, LONG, dtype=np.uint64),
    "nan": lambda rng: np.where(rng.random(LONG) < 0.1, np.nan, rng.random(LONG)),
    "infinities": lambda rng: rng.choice([np.inf, -np.inf, 1.0, 2.0], LONG),
    "largest": lambda rng: rng.choice([1.7e308, -1.7e308, 1.0], LONG),
    "smallest": lambda rng: rng.choice([5e-324, 0.0, 1e-323], LONG),
    "short": lambda rng: rng.random(LONG - 1),
    "strided": lambda rng: rng.random(3 * LONG)[::-3],
}


@pytest.mark.parametrize("spread", SPREADS)
def test_as_numpys(spread: str) -> None:
    x = SPREADS[spread](np.random.default_rng(0))
    np.testing.assert_array_equal(stable_order(x, 0), np.argsort(x, kind="stable"))


def test_matrices_are_sorted_along_their_axis() -> None:
    x = np.random.default_rng(0).random((LONG, 3))
    for axis in (0, 1):
        found = stable_order(x, axis)
        np.testing.assert_array_equal(found, np.argsort(x, axis=axis, kind="stable"))


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=20), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_any_values(values: list[float], seed: int) -> None:
    x = np.random.default_rng(seed).choice(np.array(values), LONG)
    np.testing.assert_array_equal(stable_order(x, 0), np.argsort(x, kind="stable"))
