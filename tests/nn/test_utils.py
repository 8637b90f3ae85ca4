"""Gradient clipping; parameters as a vector."""

import math

import pytest

import atled as at
from atled import nn

U = nn.utils


def with_gradients(*gradients):
    out = []
    for g in gradients:
        p = nn.Parameter(at.zeros(len(g)))
        p.grad = at.tensor(g)
        out.append(p)
    return out


def test_clip_grad_norm(backend):
    parameters = [*with_gradients([3.0, 0.0], [0.0, 4.0]), nn.Parameter(at.zeros(1))]
    assert U.clip_grad_norm_(parameters, 1.0).item() == pytest.approx(5.0)
    assert parameters[0].grad.tolist() == pytest.approx([0.6, 0.0], rel=1e-5)
    assert parameters[1].grad.tolist() == pytest.approx([0.0, 0.8], rel=1e-5)
    assert U.clip_grad_norm_(parameters, 10.0).item() == pytest.approx(1.0, rel=1e-5)
    assert parameters[0].grad.tolist() == pytest.approx([0.6, 0.0], rel=1e-5)
    assert U.clip_grad_norm_(parameters, 1.0, math.inf).item() == pytest.approx(0.8, rel=1e-5)
    assert U.clip_grad_norm_(parameters[2:], 1.0).item() == 0.0
    assert all(p.dtype is p.grad.dtype for p in parameters[:2])


def test_clip_grad_norm_refuses_nan():
    (p,) = with_gradients([math.nan])
    with pytest.raises(ValueError, match="is nan; nothing was scaled"):
        U.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)


def test_clip_grad_value():
    (p,) = with_gradients([3.0, -0.5, -7.0])
    U.clip_grad_value_([p], 1.0)
    assert p.grad.tolist() == [1.0, -0.5, -1.0]


def test_parameters_as_a_vector():
    layer = nn.Linear(2, 2)
    vector = U.parameters_to_vector(layer.parameters())
    assert vector.shape == (6,)
    assert vector.requires_grad
    U.vector_to_parameters(at.arange(6.0), layer.parameters())
    assert layer.weight.tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert layer.bias.tolist() == [4.0, 5.0]
    assert layer.weight.is_leaf
    with pytest.raises(at.ShapeError, match="the parameters have 6 elements"):
        U.vector_to_parameters(at.ones(5), layer.parameters())
