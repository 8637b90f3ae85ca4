"""Containers of modules and of parameters."""

from collections import OrderedDict

import pytest

import atled as at
from atled import nn


def test_sequential():
    layers = [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)]
    net = nn.Sequential(*layers)
    assert len(net) == 3
    assert list(net) == layers
    assert net[-1] is layers[2]
    assert layers[1] in net
    assert [type(m).__name__ for m in net[1:]] == ["ReLU", "Linear"]
    assert [n for n, _ in net[1:].named_children()] == ["0", "1"]
    net.append(nn.Tanh()).insert(0, nn.Identity())
    assert [type(m).__name__ for m in net] == ["Identity", "Linear", "ReLU", "Linear", "Tanh"]
    assert isinstance(net.pop(), nn.Tanh)
    del net[0]
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    net[1] = nn.Sigmoid()
    assert isinstance(net[1], nn.Sigmoid)
    del net[1:]
    assert len(net) == 1
    assert net(at.ones(4, 2)).shape == (4, 3)
    with pytest.raises(IndexError, match="index 5 is out of range for a Sequential of 1"):
        net[5]


def test_sequential_by_name():
    net = nn.Sequential(OrderedDict([("a", nn.Linear(1, 2)), ("b", nn.ReLU())]))
    assert list(net.state_dict()) == ["a.weight", "a.bias"]
    assert net.a is net[0]
    assert net(at.ones(3, 1)).shape == (3, 2)


def test_module_list():
    listed = nn.ModuleList([nn.Linear(1, 1)])
    listed += [nn.Linear(1, 2)]
    assert len(listed + [nn.ReLU()]) == 3
    listed.extend([nn.ReLU()])
    assert [n for n, _ in listed.named_parameters()] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    with pytest.raises(NotImplementedError, match="ModuleList has no forward"):
        listed(at.ones(1))


def test_module_dict_with_names_of_methods():
    words = ["keys", "items", "values", "forward", "update", "training"]
    group = nn.ModuleDict({word: nn.Linear(1, 1) for word in words})
    assert list(group.keys()) == words
    assert list(group) == words
    assert len(group.state_dict()) == 2 * len(words)
    group.load_state_dict(group.state_dict())
    assert isinstance(group["keys"], nn.Linear)
    assert "items" in group
    assert group.get("none") is None
    group.pop("keys")
    del group["items"]
    assert len(group) == 4
    assert group.eval().training is False
    assert [name for name, _ in group.items()] == words[2:]
    group.clear()
    assert list(group.values()) == []
    with pytest.raises(TypeError, match="needs a Module"):
        group["x"] = 3
    with pytest.raises(AttributeError, match="has no attribute 'x'"):
        group.x


def test_parameter_list_and_dict():
    listed = nn.ParameterList([at.ones(2), nn.Parameter(at.zeros(3))])
    assert [p.shape for p in listed] == [(2,), (3,)]
    assert listed[-1].requires_grad
    assert len(listed.append(at.ones(1))[1:]) == 2
    listed[0] = at.zeros(2)
    assert [n for n, _ in listed.named_parameters()] == ["0", "1", "2"]
    assert "(0): Parameter of shape (2,), float" in repr(listed)
    named = nn.ParameterDict({"keys": at.ones(2)})
    named["items"] = at.ones(1)
    assert [n for n, _ in named.named_parameters()] == ["keys", "items"]
    assert "(keys): Parameter of shape (2,)" in repr(named)
    assert named["keys"].requires_grad
