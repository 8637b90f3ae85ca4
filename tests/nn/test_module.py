"""Module: registration, the tree, state, hooks, errors."""

import copy
import pickle

import pytest

import atled as at
from atled import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(4, 2))
        self.register_buffer("count", at.tensor(0))
        self.register_buffer("scratch", at.zeros(2), persistent=False)

    def forward(self, x):
        return self.rest(self.first(x))


NAMES = ["first.weight", "first.bias", "rest.1.weight", "rest.1.bias"]


def test_attributes_are_registered():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == NAMES
    assert [n for n, _ in net.named_buffers()] == ["count", "scratch"]
    assert [n for n, _ in net.named_modules()] == ["", "first", "rest", "rest.0", "rest.1"]
    assert [n for n, _ in net.named_children()] == ["first", "rest"]
    assert len(list(net.parameters())) == 4
    assert len(list(net.modules())) == 5
    assert len(list(net.buffers())) == 2
    assert next(net.named_parameters("net"))[0] == "net.first.weight"
    assert list(net.named_parameters(recurse=False)) == []
    assert "first" in dir(net)
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in net.parameters())
    del net.first
    assert [n for n, _ in net.named_parameters()] == NAMES[2:]


def test_any_name_will_do():
    module = nn.Module()
    for name in ("keys", "items", "values", "data", "grad", "weight"):
        setattr(module, name, nn.Parameter(at.ones(1)))
    assert len(module.state_dict()) == 6
    module.load_state_dict(module.state_dict())
    assert module.items.shape == (1,)


def test_names_that_cannot_be():
    module = nn.Module()
    for name in ("forward", "parameters", "training"):
        with pytest.raises(ValueError, match=f"has an attribute '{name}' of its own"):
            setattr(module, name, nn.Parameter(at.ones(1)))
    for name in ("", "a.b", 3):
        with pytest.raises(ValueError, match="nonempty string without dots"):
            module.register_parameter(name, None)


def test_what_an_attribute_may_be_given():
    layer = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"Linear.weight is a parameter; found Tensor: .*Parameter"):
        layer.weight = at.ones(2, 2)
    layer.weight = nn.Parameter(at.ones(2, 2))
    layer.bias = None
    assert layer(at.ones(1, 2)).tolist() == [[2.0, 2.0]]
    assert len(list(layer.parameters())) == 1
    net = Net()
    net.count = at.tensor(3)
    assert net.state_dict()["count"].item() == 3
    with pytest.raises(TypeError, match="count is a buffer"):
        net.count = 3
    with pytest.raises(TypeError, match="first is a submodule"):
        net.first = 3
    with pytest.raises(TypeError, match="needs a Parameter or None; found Tensor"):
        net.register_parameter("p", at.ones(1))
    with pytest.raises(TypeError, match="needs a Tensor or None; found int"):
        net.register_buffer("p", 1)
    with pytest.raises(TypeError, match="needs a Module or None; found int"):
        net.add_module("p", 1)
    net.first = None
    assert [n for n, _ in net.named_children()] == ["rest"]


def test_a_name_belongs_to_one_kind():
    module = nn.Module()
    module.x = 5
    module.x = nn.Parameter(at.ones(1))
    assert "x" not in module.__dict__
    module.x = nn.Linear(1, 1)
    assert [n for n, _ in module.named_parameters()] == ["x.weight", "x.bias"]


def test_assigning_before_init_says_so():
    class Hasty(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)
            super().__init__()

    with pytest.raises(AttributeError, match=r"Hasty.layer was assigned before.*super\(\)"):
        Hasty()

    class Never(nn.Module):
        def __init__(self):
            pass

    with pytest.raises(AttributeError, match=r"no attribute 'layer'; call super\(\).__init__"):
        Never().layer
    with pytest.raises(AttributeError, match=r"'Net' has no attribute 'other'$"):
        Net().other
    with pytest.raises(NotImplementedError, match="Never has no forward method"):
        nn.Module.forward(Never())


def test_shared_parameters_count_once():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    assert [n for n, _ in net.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    twin = copy.deepcopy(net)
    assert twin[1].weight is twin[0].weight
    assert twin[0].weight is not net[0].weight
    back = pickle.loads(pickle.dumps(net))
    assert back[1].weight is back[0].weight
    assert back[0].weight.tolist() == net[0].weight.tolist()


def test_copies_keep_what_parameters_are():
    net = Net().eval()
    net.first.weight.requires_grad_(False)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert isinstance(twin.first.weight, nn.Parameter)
        assert not twin.first.weight.requires_grad
        assert twin.first.bias.requires_grad
        assert not twin.training
        assert twin(at.ones(1, 3)).tolist() == net(at.ones(1, 3)).tolist()
        assert "scratch" not in twin.state_dict()


# -- state ------------------------------------------------------------------------------------


def test_state_goes_there_and_back():
    net, other = Net(), Net()
    state = net.state_dict()
    assert list(state) == ["count", *NAMES]
    assert not state["first.weight"].requires_grad
    result = other.load_state_dict(state)
    assert result == ([], [])
    x = at.ones(2, 3)
    assert other(x).tolist() == net(x).tolist()


def test_a_state_is_a_value():
    net = Net()
    state = net.state_dict()
    before = state["first.weight"].tolist()
    with at.no_grad():
        net.first.weight += 1
    assert state["first.weight"].tolist() == before


def test_nothing_is_half_loaded():
    net = Net()
    before = net.first.bias.tolist()
    state = net.state_dict()
    state["first.bias"] = at.ones(4)
    state["first.weight"] = at.ones(4, 4)
    state["count"] = at.tensor(1.0)
    del state["rest.1.bias"]
    state["stray"] = at.ones(1)
    with pytest.raises(ValueError) as caught:
        net.load_state_dict(state)
    text = str(caught.value)
    kind = at.get_default_dtype().name
    for line in ("does not fit Net; nothing was loaded", f"missing: rest.1.bias {kind}[2]",
                 "unexpected: stray", f"first.weight: {kind}[4, 4] in the state, {kind}[4, 3]",
                 f"count: {kind}[] in the state, int64[]"):  # fmt: skip
        assert line in text
    assert net.first.bias.tolist() == before
    with pytest.raises(ValueError, match=r"first.weight: "):
        net.load_state_dict(state, strict=False)


def test_a_loose_load_reports():
    net = Net()
    result = net.load_state_dict({"first.bias": at.ones(4), "stray": at.ones(1)}, strict=False)
    assert result.missing_keys == ["count", "first.weight", "rest.1.weight", "rest.1.bias"]
    assert result.unexpected_keys == ["stray"]
    assert net.first.bias.tolist() == [1.0] * 4
    with pytest.raises(TypeError, match="needs a mapping"):
        net.load_state_dict([1])


# -- settings ---------------------------------------------------------------------------------


def test_train_eval_freeze_apply():
    net = Net()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    seen = []
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "ReLU", "Linear", "Sequential", "Net"]


def test_zero_grad():
    net = Net()
    net(at.ones(1, 3)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert net.first.bias.grad.tolist() == [0.0] * 4
    net.zero_grad()
    assert net.first.bias.grad is None


def test_to_another_dtype():
    pytest.importorskip("numpy", reason="the python backend has one floating dtype")
    net = Net()
    net(at.ones(1, 3)).sum().backward()
    weight = net.first.weight
    assert net.double() is net
    assert net.first.weight is weight
    assert weight.dtype is at.float64
    assert weight.grad.dtype is at.float64
    assert net.count.dtype is at.int64
    net(at.ones(1, 3, dtype=at.float64)).sum().backward()
    net.to(dtype=at.float32)
    assert net.float()(at.ones(1, 3)).dtype is at.float32
    with pytest.raises(at.DTypeError):
        net.to(dtype="float7")
    with pytest.raises(at.BackendError):
        net.to(device="cuda")
    assert net.first.weight.dtype is at.float32


def test_to_another_backend(backend):
    with at.use("python"):
        net = Net()
    net.to(backend)
    assert {p.backend.name for p in [*net.parameters(), *net.buffers()]} == {backend}
    x = at.ones(1, 3, dtype=at.float64)
    net(x).sum().backward()
    assert net.first.weight.grad.backend.name == backend


def test_get_submodule():
    net = Net()
    assert net.get_submodule("rest.1") is net.rest[1]
    assert net.get_submodule("") is net
    with pytest.raises(
        AttributeError, match="Sequential at 'rest' has no submodule '7'; it has 0, 1"
    ):
        net.get_submodule("rest.7")


# -- calling ----------------------------------------------------------------------------------


def test_hooks():
    net, seen = nn.Linear(2, 1), []
    before = net.register_forward_pre_hook(lambda m, args: (args[0] * 2,))
    after = net.register_forward_hook(lambda m, args, y: seen.append(args[0].tolist()))
    doubled = net.register_forward_hook(lambda m, args, y: y * 0)
    assert net(at.ones(1, 2)).tolist() == [[0.0]]
    assert seen == [[[2.0, 2.0]]]
    for handle in (before, after, doubled, doubled):
        handle.remove()
    net(at.ones(1, 2))
    assert len(seen) == 1


def test_errors_name_the_place_in_the_model():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(2, 2), nn.Sequential(nn.Linear(3, 3))])

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    with pytest.raises(at.ShapeError) as caught:
        Model()(at.ones(1, 2))
    assert caught.value.__notes__ == ["in model.layers.1.0 (Linear)"]
    with pytest.raises(at.ShapeError) as caught:
        nn.Linear(2, 2)(at.ones(1, 3))
    assert caught.value.__notes__ == ["in model (Linear)"]


def test_an_unregistered_module_keeps_its_note():
    inner = nn.Linear(2, 2)

    class Outer(nn.Module):
        def forward(self, x):
            return inner(x)

    with pytest.raises(at.ShapeError) as caught:
        Outer()(at.ones(1, 3))
    assert caught.value.__notes__ == ["in model (Linear)"]


def test_repr_is_nested():
    assert repr(nn.Sequential(nn.Linear(1, 2), nn.Sequential(nn.ReLU()))) == (
        "Sequential(\n"
        "  (0): Linear(in_features=1, out_features=2, bias=True)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "  )\n"
        ")"
    )


def test_repr_is_torchs():
    torch = pytest.importorskip("torch", reason="compares with torch")

    def build(n):
        return n.Sequential(n.Linear(3, 4), n.Conv2d(1, 2, 3, padding=1), n.BatchNorm1d(4),
                            n.ModuleDict({"a": n.Dropout(0.3), "b": n.MaxPool2d(2)}))  # fmt: skip

    theirs = repr(build(torch.nn)).replace(", inplace=False", "")
    assert repr(build(nn)) == theirs.replace("bias=True, track", "track")
