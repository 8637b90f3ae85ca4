"""Modules called with other parameters; batch statistics inside of transforms."""

import pytest

import atled as at
from atled import nn, testing
from atled.errors import ShapeError, TransformError


def model():
    at.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def test_given_parameters_are_used_and_the_others_kept(backend):
    net, x = model(), at.ones((2, 3))
    before = dict(net.named_parameters())
    values = {k: v.tolist() for k, v in before.items()}
    bias = at.tensor([5.0, 6.0])
    got = nn.functional_call(net, {"2.bias": bias, "0.weight": at.zeros((4, 3))}, x)
    h = at.tanh(net[0].bias)
    testing.assert_close(got, at.stack([net[2].weight @ h + bias] * 2))
    assert all(p is before[name] for name, p in net.named_parameters())
    assert {k: v.tolist() for k, v in net.named_parameters()} == values


def test_gradients_are_those_of_backward(backend):
    net, x = model(), at.ones((2, 3))
    parameters = {k: v.detach() for k, v in net.named_parameters()}
    found = at.grad(lambda p: (nn.functional_call(net, p, (x,)) ** 2).sum())(parameters)
    (net(x) ** 2).sum().backward()
    for name, p in net.named_parameters():
        testing.assert_close(found[name], p.grad)


def test_gradients_of_each_sample(backend):
    net = model()
    x = at.reshape(at.arange(0.0, 12.0), (4, 3)) * 0.1
    parameters = {k: v.detach() for k, v in net.named_parameters()}

    def loss(p, row):
        return (nn.functional_call(net, p, row) ** 2).sum()

    found = at.vmap(at.grad(loss), in_axes=(None, 0))(parameters, x)
    for i in range(4):
        net.zero_grad()
        (net(x[i]) ** 2).sum().backward()
        for name, p in net.named_parameters():
            testing.assert_close(found[name][i], p.grad)


def test_an_ensemble_is_a_batch_of_parameters(backend):
    nets = [model(), nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))]
    stacked = {k: at.stack([n.state_dict()[k].detach() for n in nets])
               for k in nets[0].state_dict()}  # fmt: skip
    x = at.ones((2, 3))
    got = at.vmap(lambda p: nn.functional_call(nets[0], p, x))(stacked)
    testing.assert_close(got, at.stack([n(x) for n in nets]))


def test_keyword_arguments_and_buffers(backend):
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("shift", at.tensor(1.0))

        def forward(self, x, scale=1.0):
            return (x + self.shift) * scale

    net = Shifted()
    got = nn.functional_call(net, {"shift": at.tensor(10.0)}, at.tensor(1.0), {"scale": 2.0})
    assert got.item() == 22.0
    assert net.shift.item() == 1.0
    assert nn.functional_call(net, {}, (), {"x": at.tensor(1.0)}).item() == 2.0


def test_the_module_is_put_back_after_an_error():
    net = model()
    before = dict(net.named_parameters())
    with pytest.raises(ShapeError):
        nn.functional_call(net, {"0.bias": at.zeros(4)}, at.ones((2, 7)))
    assert all(p is before[name] for name, p in net.named_parameters())


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(self.a(x))


@pytest.mark.parametrize("name", ["a.weight", "b.weight"])
def test_shared_parameters_are_replaced_together(name):
    net, w = Tied(), at.tensor([[2.0, 0.0], [0.0, 3.0]])
    assert nn.functional_call(net, {name: w}, at.ones(2)).tolist() == [4.0, 9.0]
    assert net.a.weight is net.b.weight


def test_shared_parameters_may_be_untied():
    net, w = Tied(), at.tensor([[2.0, 0.0], [0.0, 3.0]])
    pair = {"a.weight": w, "b.weight": w * 10.0}
    with pytest.raises(ValueError, match=r"'a.weight' and 'b.weight' are one shared parameter"):
        nn.functional_call(net, pair, at.ones(2))
    got = nn.functional_call(net, pair, at.ones(2), tie_weights=False)
    assert got.tolist() == [40.0, 90.0]
    assert nn.functional_call(net, dict.fromkeys(pair, w), at.ones(2)).tolist() == [4.0, 9.0]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"1.weight": 0}, KeyError, "has no parameter or buffer '1.weight'; it has 0.weight"),
        ({"0.bias": [1.0]}, TypeError, "'0.bias' needs a Tensor; found a list"),
        ({"0.bias": None}, TypeError, "found a NoneType"),
    ],
)
def test_what_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        nn.functional_call(model(), given, at.ones(3))


def test_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"'0.bias' has shape \(4,\); found \(3,\)"):
        nn.functional_call(model(), {"0.bias": at.zeros(3)}, at.ones(3))


def test_inside_of_compile():
    pytest.importorskip("llvmlite")
    at.use("numpy")
    net, x = model(), at.ones((2, 3))
    parameters = {k: v.detach() for k, v in net.named_parameters()}
    f = at.grad(lambda p, x: (nn.functional_call(net, p, x) ** 2).sum())
    compiled = at.compile(lambda p, x: f(p, x))
    for _ in range(2):
        for name, g in compiled(parameters, x).items():
            testing.assert_close(g, f(parameters, x)[name])


# -- running statistics


LAYERS = [nn.BatchNorm1d, lambda n: nn.InstanceNorm1d(n, track_running_stats=True)]


def batch():
    return at.reshape(at.arange(0.0, 24.0), (2, 3, 4)) ** 1.5


@pytest.mark.parametrize("make", LAYERS)
def test_grad_leaves_values_in_the_running_statistics(backend, make):
    layer, plain, x = make(3), make(3), batch()
    at.hessian(lambda x: (layer(x) ** 3).sum())(x)
    plain(x)
    for (name, found), expected in zip(layer.state_dict().items(), plain.state_dict().values(),
                                       strict=True):  # fmt: skip
        assert not found.requires_grad or isinstance(found, nn.Parameter)
        testing.assert_close(found, expected) if name.startswith("running") else None
    layer(x)  # usable


@pytest.mark.parametrize("make", LAYERS)
def test_one_buffer_for_all_examples_is_refused_and_unchanged(backend, make):
    layer = make(3)
    before = {k: v.tolist() for k, v in layer.state_dict().items()}
    x = at.stack([batch(), batch() * 2.0])
    with pytest.raises(TransformError, match=r"inside vmap\(.*track_running_stats=False"):
        at.vmap(layer)(x)
    assert {k: v.tolist() for k, v in layer.state_dict().items()} == before
    layer.eval()
    testing.assert_close(at.vmap(layer)(x), at.stack([layer(x[0]), layer(x[1])]))


def test_without_running_statistics_each_example_is_a_batch(backend):
    layer = nn.BatchNorm1d(3, track_running_stats=False)
    x = at.stack([batch(), batch() * 2.0])
    testing.assert_close(at.vmap(layer)(x), at.stack([layer(x[0]), layer(x[1])]))


def test_buffers_of_each_example_are_their_own(backend):
    layer, x = nn.BatchNorm1d(3), at.stack([batch(), batch() * 2.0])
    twins = [nn.BatchNorm1d(3) for _ in range(2)]
    for twin, row in zip(twins, x, strict=True):
        twin(row)

    def run(mean, var, row):
        given = {"running_mean": mean, "running_var": var}
        nn.functional_call(layer, given, row)
        return given

    found = at.vmap(run)(at.zeros((2, 3)), at.ones((2, 3)), x)
    for i, twin in enumerate(twins):
        testing.assert_close(found["running_mean"][i], twin.running_mean)
        testing.assert_close(found["running_var"][i], twin.running_var)
    assert layer.running_mean.tolist() == [0.0, 0.0, 0.0]


def test_the_function_refuses_too():
    x = at.stack([batch(), batch()])
    mean, var = at.zeros(3), at.ones(3)
    with pytest.raises(TransformError, match=r"batch_norm in training mode inside vmap"):
        at.vmap(lambda x: nn.functional.batch_norm(x, mean, var, training=True))(x)
    assert mean.tolist() == [0.0, 0.0, 0.0]
