"""`same`: run a function of atled and torch's on the same float64 numbers and compare."""

import random

import pytest

import atled as at


def fill(shape, seed, low=-2.0, high=2.0):
    """Nested lists of numbers that depend on the seed only."""
    draw = random.Random(seed)

    def nest(sizes):
        if not sizes:
            return draw.uniform(low, high)
        return [nest(sizes[1:]) for _ in range(sizes[0])]

    return nest(tuple(shape))


def close(ours, theirs, tolerance=1e-10):
    """Compare nested lists of numbers, NaN equal to NaN."""
    if isinstance(ours, list):
        assert isinstance(theirs, list)
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            close(a, b, tolerance)
    else:
        assert ours == pytest.approx(theirs, rel=tolerance, abs=tolerance, nan_ok=True)


@pytest.fixture
def numbers():
    return fill


@pytest.fixture
def agree():
    return close


@pytest.fixture
def same():
    """Return check(ours, theirs, *inputs): values and gradients of both must agree.

    An input is a shape (random floats), (shape, low, high), or nested lists of integers.
    """
    torch = pytest.importorskip("torch", reason="compares with torch")

    def check(ours, theirs, *inputs, tolerance=1e-10):
        mine, peers = [], []
        for seed, given in enumerate(inputs):
            low, high = -2.0, 2.0
            if isinstance(given, tuple) and given and isinstance(given[0], tuple):
                given, low, high = given
            if isinstance(given, tuple):
                data = fill(given, seed, low, high)
                mine.append(at.tensor(data, dtype="float64", requires_grad=True))
                peers.append(torch.tensor(data, dtype=torch.float64, requires_grad=True))
            else:
                mine.append(at.tensor(given))
                peers.append(torch.tensor(given))
        y, z = ours(*mine), theirs(*peers)
        assert y.shape == tuple(z.shape)
        close(y.tolist(), z.tolist(), tolerance)
        cotangent = fill(y.shape, 99)
        y.backward(at.tensor(cotangent, dtype="float64"))
        z.backward(torch.tensor(cotangent, dtype=torch.float64))
        for a, b in zip(mine, peers, strict=True):
            if b.requires_grad and b.grad is not None:
                close(a.grad.tolist(), b.grad.tolist(), tolerance)

    return check
