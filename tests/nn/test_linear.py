"""Linear, Bilinear, Embedding, and the layers that only rearrange."""

import pytest

import atled as at
from atled import nn

F = nn.functional


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)])
def test_linear_is_torchs(same, shape):
    torch = pytest.importorskip("torch", reason="compares with torch")
    same(F.linear, torch.nn.functional.linear, shape, (5, 4), (5,))
    same(F.linear, torch.nn.functional.linear, shape, (5, 4))


def test_bilinear_is_torchs(same):
    torch = pytest.importorskip("torch", reason="compares with torch")
    same(F.bilinear, torch.nn.functional.bilinear, (6, 3), (6, 4), (5, 3, 4), (5,))
    same(F.bilinear, torch.nn.functional.bilinear, (2, 6, 3), (2, 6, 4), (5, 3, 4))


def test_linear_names_both_shapes():
    with pytest.raises(at.ShapeError, match=r"input has shape \(2, 3\); the weight \(5, 4\)"):
        F.linear(at.ones(2, 3), at.ones(5, 4))
    with pytest.raises(at.ShapeError, match=r"\(2, 3\) and \(2, 4\) do not fit the weight"):
        F.bilinear(at.ones(2, 3), at.ones(2, 4), at.ones(5, 4, 3))


def test_linear_draws_within_its_bounds():
    at.manual_seed(0)
    layer = nn.Linear(100, 50)
    assert layer.weight.shape == (50, 100)
    bound = 0.1
    for p in layer.parameters():
        assert at.max(at.abs(p)).item() <= bound
    assert at.max(layer.weight).item() > 0.09
    assert abs(at.mean(layer.weight).item()) < 0.005
    assert nn.Linear(2, 3, bias=False).bias is None
    assert repr(layer) == "Linear(in_features=100, out_features=50, bias=True)"


def test_layers_that_rearrange():
    x = at.zeros(2, 3, 4)
    assert nn.Flatten()(x).shape == (2, 12)
    assert nn.Flatten(0, 1)(x).shape == (6, 4)
    assert nn.Unflatten(2, (2, 2))(x).shape == (2, 3, 2, 2)
    assert nn.Identity(54, unused=True)(x) is x
    assert nn.Bilinear(3, 4, 5)(at.ones(2, 3), at.ones(2, 4)).shape == (2, 5)


@pytest.mark.parametrize("padding_idx", [None, 1, -1])
def test_embedding_is_torchs(same, padding_idx):
    torch = pytest.importorskip("torch", reason="compares with torch")
    theirs = torch.nn.functional.embedding
    same(lambda i, w: F.embedding(i, w, padding_idx),
         lambda i, w: theirs(i, w, padding_idx), [[0, 1, 1], [3, 2, 3]], (4, 5))  # fmt: skip


def test_embedding_layer(backend):
    at.manual_seed(1)
    layer = nn.Embedding(4, 3, padding_idx=-1)
    assert layer.weight.tolist()[3] == [0.0, 0.0, 0.0]
    y = layer(at.tensor([0, 3, 0]))
    y.sum().backward()
    assert layer.weight.grad.tolist() == [[2.0] * 3, [0.0] * 3, [0.0] * 3, [0.0] * 3]
    assert repr(layer) == "Embedding(4, 3, padding_idx=3)"


def test_embedding_refuses_what_is_no_index():
    table = at.ones(4, 3)
    with pytest.raises(at.DTypeError, match="indices must be integers; found float"):
        F.embedding(at.tensor([1.0]), table)
    with pytest.raises(at.IndexingError, match="index -1 is negative"):
        F.embedding(at.tensor([0, -1]), table)
    with pytest.raises(at.IndexingError, match="index 4 is out of range"):
        F.embedding(at.tensor([4]), table)
    with pytest.raises(ValueError, match="padding_idx 7 is not one of 4 rows"):
        nn.Embedding(4, 3, padding_idx=7)
