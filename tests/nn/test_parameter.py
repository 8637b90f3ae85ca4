"""Parameter: a Tensor of its own kind."""

import copy
import pickle

import pytest

import atled as at
from atled import nn


def test_a_parameter_is_a_tensor(backend):
    p = nn.Parameter(at.ones(2))
    assert isinstance(p, at.Tensor)
    assert p.requires_grad
    assert p.is_leaf
    assert type(p * 2) is at.Tensor
    (p * p).sum().backward()
    assert p.grad.tolist() == [2.0, 2.0]
    assert nn.Parameter([1.0, 2.0]).shape == (2,)
    assert not nn.Parameter(at.ones(1), requires_grad=False).requires_grad


def test_it_takes_a_value_without_its_history():
    x = at.ones(2, requires_grad=True)
    p = nn.Parameter(x * 2)
    assert p.is_leaf
    assert p.tolist() == [2.0, 2.0]


def test_integers_cannot_require_a_gradient():
    with pytest.raises(at.GradError, match="only floating Tensors"):
        nn.Parameter(at.tensor([1, 2]))
    assert nn.Parameter(at.tensor([1, 2]), requires_grad=False).dtype is at.int64


def test_copies_are_parameters():
    for on in (True, False):
        p = nn.Parameter(at.ones(2), requires_grad=on)
        for twin in (copy.copy(p), copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
            assert type(twin) is nn.Parameter
            assert twin.requires_grad is on
            assert twin.tolist() == [1.0, 1.0]
