"""Pooling against torch, ties and edges by hand."""

import pytest

import atled as at
from atled import nn

F = nn.functional

WINDOWS = [
    {"kernel_size": 2}, {"kernel_size": 3, "stride": 2},
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    {"kernel_size": 2, "stride": 3, "ceil_mode": True},
]  # fmt: skip


@pytest.mark.parametrize("options", [*WINDOWS, {"kernel_size": 2, "dilation": 2}])
@pytest.mark.parametrize("n", [1, 2])
def test_max_pool_is_torchs(same, n, options):
    torch = pytest.importorskip("torch", reason="compares with torch")
    ours, theirs = (getattr(f, f"max_pool{n}d") for f in (F, torch.nn.functional))
    same(lambda x: ours(x, **options), lambda x: theirs(x, **options), (2, 3, *(8, 7)[:n]))


@pytest.mark.parametrize(
    "options", [*WINDOWS, {"kernel_size": 3, "padding": 1, "count_include_pad": False}]
)
@pytest.mark.parametrize("n", [1, 2])
def test_avg_pool_is_torchs(same, n, options):
    torch = pytest.importorskip("torch", reason="compares with torch")
    ours, theirs = (getattr(f, f"avg_pool{n}d") for f in (F, torch.nn.functional))
    same(lambda x: ours(x, **options), lambda x: theirs(x, **options), (2, 3, *(8, 6)[:n]))


def test_windows_of_two_lengths(same):
    torch = pytest.importorskip("torch", reason="compares with torch")
    theirs = torch.nn.functional
    options = {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)}
    same(lambda x: F.max_pool2d(x, **options), lambda x: theirs.max_pool2d(x, **options), (3, 7, 6))
    options["divisor_override"] = 5
    same(lambda x: F.avg_pool2d(x, **options), lambda x: theirs.avg_pool2d(x, **options), (3, 7, 6))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("kind", ["avg", "max"])
def test_adaptive_pools_are_torchs(same, kind, size):
    torch = pytest.importorskip("torch", reason="compares with torch")
    for n in (1, 2):
        ours, theirs = (getattr(f, f"adaptive_{kind}_pool{n}d") for f in (F, torch.nn.functional))
        same(lambda x, f=ours: f(x, size), lambda x, f=theirs: f(x, size), (2, 3, *(7, 8)[:n]))


def test_adaptive_pool_keeps_an_axis():
    assert F.adaptive_avg_pool2d(at.ones(1, 2, 5, 6), (None, 3)).shape == (1, 2, 5, 3)


def test_a_tie_goes_to_the_first(agree):
    torch = pytest.importorskip("torch", reason="compares with torch")
    for data in ([[[1.0, 1.0], [1.0, 1.0]]], [[[0.0, 1.0], [1.0, 0.0]]]):
        x, t = at.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
        F.max_pool2d(x, 2).backward(at.ones(1, 1, 1))
        torch.nn.functional.max_pool2d(t, 2).backward(torch.ones(1, 1, 1))
        agree(x.grad.tolist(), t.grad.tolist())
        y = at.tensor(data, requires_grad=True)
        F.adaptive_max_pool2d(y, 1).backward(at.ones(1, 1, 1))
        assert y.grad.tolist() == x.grad.tolist()


def test_nan_and_infinity_pass(agree):
    x = at.tensor([[1.0, float("nan"), 3.0, 2.0, -float("inf"), -float("inf")]])
    agree(F.max_pool1d(x, 2).tolist(), [[float("nan"), 3.0, -float("inf")]])


def test_pool_errors():
    with pytest.raises(at.ShapeError, match="padding may be half of the window at most"):
        F.max_pool1d(at.ones(1, 1, 4), 2, padding=2)
    with pytest.raises(at.ShapeError, match="a window of 5 does not fit an axis of length 4"):
        F.avg_pool1d(at.ones(1, 1, 4), 5)
    with pytest.raises(at.ShapeError, match="max_pool2d: an input of 4 axes"):
        F.max_pool2d(at.ones(4, 4), 2)
    with pytest.raises(at.ShapeError, match="adaptive_avg_pool2d: an input of 4 axes"):
        F.adaptive_avg_pool2d(at.ones(4, 4), 2)


def test_pool_layers(backend):
    x = at.reshape(at.arange(16, dtype=at.get_default_dtype()), (1, 1, 4, 4))
    assert nn.MaxPool2d(2)(x).tolist() == [[[[5.0, 7.0], [13.0, 15.0]]]]
    assert nn.AvgPool2d(2)(x).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
    assert nn.AdaptiveAvgPool2d(1)(x).item() == 7.5
    assert nn.AdaptiveMaxPool2d(1)(x).item() == 15.0
    assert nn.MaxPool1d(4)(x[0]).shape == (1, 4, 1)
    assert nn.AvgPool1d(2)(x[0]).shape == (1, 4, 2)
    assert nn.AdaptiveAvgPool1d(3)(x[0]).shape == (1, 4, 3)
    assert nn.AdaptiveMaxPool1d(3)(x[0]).shape == (1, 4, 3)
    assert repr(nn.MaxPool2d(2)) == (
        "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)"
    )
