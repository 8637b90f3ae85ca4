"""Dropout: how often, how much, when."""

import pytest

import atled as at
from atled import nn

F = nn.functional


def test_dropout_drops_and_scales(backend):
    at.manual_seed(3)
    x = at.ones(200, 10)
    y = F.dropout(x, 0.25)
    values = {v for row in y.tolist() for v in row}
    assert len(values) == 2
    assert max(values) == pytest.approx(1 / 0.75)
    assert 0.7 < at.mean(at.astype(y > 0, x.dtype)).item() < 0.8
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 0.0) is x
    assert at.sum(F.dropout(x, 1.0)).item() == 0.0


def test_dropout_follows_the_seed():
    draws = []
    for _ in range(2):
        at.manual_seed(5)
        draws.append(F.dropout(at.ones(20)).tolist())
    assert draws[0] == draws[1]
    assert F.dropout(at.ones(20)).tolist() != draws[0]


def test_dropout_has_the_gradient_of_its_mask():
    at.manual_seed(0)
    x = at.ones(50, requires_grad=True)
    y = F.dropout(x)
    y.sum().backward()
    assert x.grad.tolist() == y.tolist()


def test_dropout2d_drops_channels():
    at.manual_seed(1)
    y = nn.Dropout2d(0.5)(at.ones(4, 8, 3, 3))
    sums = at.sum(y, axis=(2, 3))
    assert {round(v, 3) for row in sums.tolist() for v in row} == {0.0, 18.0}
    assert nn.Dropout1d(0.5).eval()(y) is y


def test_dropout_layers_and_errors():
    layer = nn.Dropout(0.3)
    assert repr(layer) == "Dropout(p=0.3)"
    x = at.ones(3)
    assert layer.eval()(x) is x
    with pytest.raises(ValueError, match=r"p is a probability in \[0, 1\]; found 1.5"):
        nn.Dropout(1.5)
    with pytest.raises(ValueError, match="dropout: p is a probability"):
        F.dropout(x, -0.1)
