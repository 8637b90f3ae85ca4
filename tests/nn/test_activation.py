"""Activations against torch, on random numbers and on their kinks."""

import pytest

import atled as at
from atled import nn

F = nn.functional

CALLS = [
    ("relu", {}), ("relu6", {}), ("leaky_relu", {}), ("leaky_relu", {"negative_slope": 0.2}),
    ("elu", {}), ("elu", {"alpha": 0.5}), ("selu", {}), ("celu", {"alpha": 0.5}), ("gelu", {}),
    ("gelu", {"approximate": "tanh"}), ("silu", {}), ("sigmoid", {}), ("tanh", {}),
    ("softplus", {}), ("softplus", {"beta": 2.0, "threshold": 3.0}), ("softsign", {}),
    ("hardtanh", {}), ("hardtanh", {"min_val": -0.5, "max_val": 0.7}), ("hardswish", {}),
    ("hardsigmoid", {}), ("mish", {}), ("logsigmoid", {}),
    ("threshold", {"threshold": 0.1, "value": 2.0}),
    ("tanhshrink", {}), ("hardshrink", {}), ("softshrink", {"lambd": 0.3}),
    ("softmax", {"dim": 1}), ("log_softmax", {"dim": 0}), ("softmin", {"dim": -1}),
    ("glu", {"dim": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), CALLS)
def test_an_activation_is_torchs(same, name, options):
    torch = pytest.importorskip("torch", reason="compares with torch")
    theirs = getattr(torch.nn.functional, name)  # its hardsigmoid divides by 6 in float32
    same(lambda x: getattr(F, name)(x, **options), lambda x: theirs(x, **options),
         ((3, 4), -5.0, 5.0),
         tolerance=1e-7 if name == "hardsigmoid" else 1e-10)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kinks"),
    [
        ("relu", [0.0]), ("relu6", [0.0, 6.0]), ("hardtanh", [-1.0, 1.0]), ("leaky_relu", [0.0]),
        ("elu", [0.0]), ("selu", [0.0]), ("celu", [0.0]), ("hardshrink", [-0.5, 0.5]),
        ("softshrink", [-0.5, 0.5]), ("hardsigmoid", [-3.0, 3.0]), ("softsign", [0.0]),
    ],
)  # fmt: skip
def test_a_kink_has_torchs_slope(agree, name, kinks):
    torch = pytest.importorskip("torch", reason="compares with torch")
    x = at.tensor(kinks, dtype="float64", requires_grad=True)
    t = torch.tensor(kinks, dtype=torch.float64, requires_grad=True)
    getattr(F, name)(x).sum().backward()
    getattr(torch.nn.functional, name)(t).sum().backward()
    agree(x.grad.tolist(), t.grad.tolist())


@pytest.mark.parametrize("name", ["elu", "celu", "selu", "softplus", "mish", "logsigmoid", "silu"])
def test_large_numbers_give_finite_slopes(name):
    x = at.tensor([-1000.0, 1000.0], requires_grad=True)
    y = getattr(F, name)(x)
    y.sum().backward()
    assert at.isfinite(y).all()
    assert at.isfinite(x.grad).all()


@pytest.mark.parametrize("slopes", [(1,), (4,)])
def test_prelu(same, slopes):
    torch = pytest.importorskip("torch", reason="compares with torch")
    same(F.prelu, torch.nn.functional.prelu, (3, 4, 2), slopes)


def test_prelu_refuses_other_channels():
    with pytest.raises(at.ShapeError, match="3 slopes for an input of shape"):
        F.prelu(at.ones(2, 4), at.ones(3))


def test_glu_refuses_odd_lengths():
    with pytest.raises(at.ShapeError, match=r"glu halves axis 1 of shape \(2, 3\)"):
        F.glu(at.ones(2, 3), 1)


@pytest.mark.parametrize(
    ("layer", "shown"),
    [
        (nn.ReLU(inplace=True), "ReLU()"),
        (nn.LeakyReLU(0.2), "LeakyReLU(negative_slope=0.2)"),
        (nn.GELU("tanh"), "GELU(approximate='tanh')"),
        (nn.Softmax(1), "Softmax(dim=1)"),
        (nn.Hardtanh(-2.0, 2.0), "Hardtanh(min_val=-2.0, max_val=2.0)"),
        (nn.Threshold(0.1, 20.0), "Threshold(threshold=0.1, value=20.0)"),
    ],
)
def test_layers_show_their_options(layer, shown):
    assert repr(layer) == shown


def test_every_activation_layer_runs(backend):
    names = set(nn.activation.__all__) - {"Threshold", "PReLU"}
    x = at.tensor([[-3.0, -0.5, 0.2, 4.0]])
    for layer in [getattr(nn, name)() for name in sorted(names)] + [
        nn.Threshold(0.1, 1.0),
        nn.PReLU(),
    ]:
        y = layer(x)
        assert y.shape == ((1, 2) if isinstance(layer, nn.GLU) else (1, 4))
