"""Attention against torch."""

import math

import pytest

import atled as at
from atled import nn

F = nn.functional
SHAPES = (2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 7)


def test_attention_is_torchs(same):
    T = pytest.importorskip("torch", reason="compares with torch").nn.functional
    ours, theirs = F.scaled_dot_product_attention, T.scaled_dot_product_attention
    same(ours, theirs, *SHAPES)
    same(lambda *a: ours(*a, is_causal=True), lambda *a: theirs(*a, is_causal=True), *SHAPES)
    same(lambda *a: ours(*a, scale=0.3), lambda *a: theirs(*a, scale=0.3), *SHAPES)
    same(ours, theirs, *SHAPES, (4, 6))


def test_attention_under_a_mask_is_torchs(same):
    torch = pytest.importorskip("torch", reason="compares with torch")
    rows = [[True, False, True, True, False, True]] * 2 + [[False] * 6] + [[True] * 6]
    ours, theirs = F.scaled_dot_product_attention, torch.nn.functional.scaled_dot_product_attention
    same(lambda *a: ours(*a, attn_mask=at.tensor(rows)),
         lambda *a: theirs(*a, attn_mask=torch.tensor(rows)), *SHAPES)  # fmt: skip


def test_attention_errors():
    with pytest.raises(at.ShapeError, match="do not fit"):
        F.scaled_dot_product_attention(at.ones(2, 3), at.ones(2, 4), at.ones(2, 4))
    x = at.ones(2, 3)
    with pytest.raises(ValueError, match="not both"):
        F.scaled_dot_product_attention(x, x, x, at.ones(2, 2), is_causal=True)
    with pytest.raises(ValueError, match="embed_dim 5 is not a multiple"):
        nn.MultiheadAttention(5, 2)
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    with pytest.raises(at.ShapeError, match=r"must be \(N, L, 4\)"):
        layer(at.ones(1, 2, 3), at.ones(1, 2, 3), at.ones(1, 2, 3))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("masks", ["none", "bool", "float", "padding", "both"])
def test_multihead_attention_is_torchs(agree, numbers, batch_first, bias, masks):
    torch = pytest.importorskip("torch", reason="compares with torch")
    options = {"bias": bias, "batch_first": batch_first}
    ours = nn.MultiheadAttention(6, 2, dtype="float64", **options)
    theirs = torch.nn.MultiheadAttention(6, 2, dtype=torch.float64, **options)
    ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    causal = [[j > i for j in range(4)] for i in range(4)]
    given = {
        "none": {},
        "bool": {"attn_mask": causal},
        "float": {"attn_mask": [[-math.inf if m else 0.5 for m in row] for row in causal]},
        "padding": {"key_padding_mask": [[False, False, False, True]] * 3},
        "both": {"attn_mask": causal, "key_padding_mask": [[False, False, True, True]] * 3},
    }[masks]
    x = numbers((3, 4, 6) if batch_first else (4, 3, 6), 0)
    a = at.tensor(x, dtype="float64", requires_grad=True)
    t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    kind = "float64" if masks == "float" else "bool"
    mine = {k: at.tensor(v, dtype=kind) for k, v in given.items()}
    peers = {k: torch.tensor(v, dtype=getattr(torch, kind)) for k, v in given.items()}
    (y, w), (z, v) = ours(a, a, a, **mine), theirs(t, t, t, **peers)
    agree(y.tolist(), z.tolist())
    agree(w.tolist(), v.tolist())
    (y * y).sum().backward()
    (z * z).sum().backward()
    agree(a.grad.tolist(), t.grad.tolist())
    agree(ours.in_proj_weight.grad.tolist(), theirs.in_proj_weight.grad.tolist())


def test_multihead_attention_without_a_batch(backend):
    at.manual_seed(0)
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    x = at.rand(3, 4)
    y, w = layer(x, x, x, is_causal=True, average_attn_weights=False)
    assert y.shape == (3, 4)
    assert w.shape == (2, 3, 3)
    assert w[0].tolist()[0] == [1.0, 0.0, 0.0]
    z, none = layer(x[None], x[None], x[None], is_causal=True, need_weights=False)
    assert none is None
    assert z[0].tolist() == y.tolist()
    masked, _ = layer(x, x, x, is_causal=True, attn_mask=at.zeros(3, 3))
    assert at.max(at.abs(masked - y)).item() < 1e-6
