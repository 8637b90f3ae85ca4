"""Initialisation: bounds, moments, gains."""

import math

import pytest

import atled as at
from atled import nn

init = nn.init


@pytest.fixture(autouse=True)
def _seeded():
    at.manual_seed(0)


def moments(t):
    return at.mean(t).item(), at.std(t).item()


@pytest.mark.parametrize(
    ("function", "std"),
    [
        (lambda w: init.uniform_(w, -1.0, 3.0), 4 / math.sqrt(12)),
        (lambda w: init.normal_(w, 1.0, 0.5), 0.5),
        (init.xavier_uniform_, math.sqrt(2 / 300)),
        (lambda w: init.xavier_normal_(w, gain=2.0), 2 * math.sqrt(2 / 300)),
        (lambda w: init.kaiming_uniform_(w, nonlinearity="relu"), math.sqrt(2 / 200)),
        (
            lambda w: init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"),
            math.sqrt(2 / 100),
        ),
    ],
)
def test_spread(function, std):
    w = nn.Parameter(at.zeros(100, 200))
    assert function(w) is w
    assert w.requires_grad
    assert w.is_leaf
    mean, found = moments(w)
    assert found == pytest.approx(std, rel=0.02)
    assert abs(mean - {2.0: 1.0}.get(mean, round(mean))) < 0.05


def test_truncated_normal():
    w = at.zeros(100, 100)
    init.trunc_normal_(w, 0.5, 1.0, -0.5, 1.5)
    assert at.min(w).item() >= -0.5
    assert at.max(w).item() <= 1.5
    mean, std = moments(w)
    assert mean == pytest.approx(0.5, abs=0.02)
    assert std == pytest.approx(0.5396, abs=0.02)


def test_constants(backend):
    w = at.rand(2, 3)
    assert init.zeros_(w).tolist() == [[0.0] * 3] * 2
    assert init.ones_(w).tolist() == [[1.0] * 3] * 2
    assert init.constant_(w, 2.5).tolist() == [[2.5] * 3] * 2
    assert init.eye_(w).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    drawn = init.normal_(w).tolist()
    at.manual_seed(0)
    assert init.normal_(at.zeros(2, 3)).tolist() != drawn


def test_a_generator_decides():
    a = init.uniform_(at.zeros(5), generator=at.Generator(1))
    b = init.uniform_(at.zeros(5), generator=at.Generator(1))
    assert a.tolist() == b.tolist()


def test_gains_are_torchs():
    torch = pytest.importorskip("torch", reason="compares with torch")
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "selu", "leaky_relu"):
        assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


def test_init_errors():
    with pytest.raises(at.ShapeError, match="a weight of two axes or more"):
        init.xavier_uniform_(at.zeros(3))
    with pytest.raises(ValueError, match="'fan_in' or 'fan_out'"):
        init.kaiming_normal_(at.zeros(3, 3), mode="fan")
    with pytest.raises(ValueError, match="knows no nonlinearity 'step'"):
        init.calculate_gain("step")
    with pytest.raises(at.ShapeError, match="eye_ needs a matrix"):
        init.eye_(at.zeros(3))
