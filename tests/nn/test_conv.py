"""Convolutions against torch."""

import pytest

import atled as at
from atled import nn

F = nn.functional

OPTIONS = [
    {}, {"stride": 2}, {"padding": 1}, {"dilation": 2}, {"stride": 2, "padding": 2, "dilation": 2},
    {"groups": 2}, {"padding": "same"}, {"padding": "valid"}, {"padding": "same", "dilation": 2},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(("n", "kernel"), [(1, (3,)), (1, (2,)), (2, (3, 2)), (3, (2, 1, 3))])
def test_conv_is_torchs(same, n, kernel, options):
    torch = pytest.importorskip("torch", reason="compares with torch")
    if options.get("padding") == "same" and any(k % 2 == 0 for k in kernel):
        pytest.skip("torch warns of a copy here")
    groups = options.get("groups", 1)
    image, weight = (2, 4, *(7, 6, 8)[:n]), (6, 4 // groups, *kernel)
    ours, theirs = (getattr(f, f"conv{n}d") for f in (F, torch.nn.functional))
    same(lambda *a: ours(*a, **options), lambda *a: theirs(*a, **options), image, weight, (6,))


def test_conv_same_with_an_even_kernel_keeps_the_length():
    y = F.conv1d(at.tensor([[[1.0, 2.0, 3.0]]]), at.tensor([[[1.0, 10.0]]]), padding="same")
    assert y.tolist() == [[[21.0, 32.0, 3.0]]]


def test_conv_takes_one_sample(same):
    torch = pytest.importorskip("torch", reason="compares with torch")
    same(F.conv2d, torch.nn.functional.conv2d, (3, 5, 5), (4, 3, 2, 2))


@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2}, {"stride": 2, "padding": 1, "output_padding": 1}, {"groups": 2},
     {"dilation": 2, "stride": 3}],
)  # fmt: skip
@pytest.mark.parametrize("n", [1, 2])
def test_conv_transpose_is_torchs(same, n, options):
    torch = pytest.importorskip("torch", reason="compares with torch")
    image, weight = (2, 4, *(5, 4)[:n]), (4, 3, *(3, 2)[:n])
    outputs = 3 * options.get("groups", 1)
    ours, theirs = (getattr(f, f"conv_transpose{n}d") for f in (F, torch.nn.functional))
    same(lambda *a: ours(*a, **options), lambda *a: theirs(*a, **options), image, weight,
         (outputs,))  # fmt: skip


@pytest.mark.parametrize(
    "options", [{"kernel_size": 2}, {"kernel_size": (3, 2), "stride": 2, "padding": (1, 0)},
                {"kernel_size": 2, "dilation": 2}]
)  # fmt: skip
def test_unfold_is_torchs(same, options):
    torch = pytest.importorskip("torch", reason="compares with torch")
    same(lambda x: F.unfold(x, **options), lambda x: torch.nn.functional.unfold(x, **options),
         (2, 3, 6, 5))  # fmt: skip


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad_is_torchs(same, mode):
    torch = pytest.importorskip("torch", reason="compares with torch")
    widths = (1, 2, 2, 1)
    theirs = torch.nn.functional.pad
    same(lambda x: F.pad(x, widths, mode), lambda x: theirs(x, widths, mode), (2, 3, 4, 5))


def test_conv_errors():
    with pytest.raises(at.ShapeError, match="groups=1 takes 3"):
        F.conv2d(at.ones(1, 4, 5, 5), at.ones(2, 3, 2, 2))
    with pytest.raises(at.ShapeError, match=r"conv2d: an input of 4 axes .* found shape \(5, 5\)"):
        F.conv2d(at.ones(5, 5), at.ones(2, 3, 2, 2))
    with pytest.raises(ValueError, match="padding='same' needs a stride of 1"):
        F.conv1d(at.ones(1, 1, 5), at.ones(1, 1, 3), stride=2, padding="same")
    with pytest.raises(ValueError, match="'same' or 'valid'; found 'both'"):
        F.conv1d(at.ones(1, 1, 5), at.ones(1, 1, 3), padding="both")
    with pytest.raises(at.ShapeError, match=r"weight .* takes 3 in 1 group"):
        F.conv_transpose1d(at.ones(1, 4, 5), at.ones(3, 2, 3))
    with pytest.raises(at.ShapeError, match="stride: one number or 2 are needed"):
        nn.Conv2d(1, 1, 3, stride=(1, 2, 3))
    with pytest.raises(ValueError, match="multiples of groups=2"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(at.ShapeError, match="two numbers for each padded axis"):
        F.pad(at.ones(2, 2), (1, 2, 3))


def test_conv_layers(backend):
    at.manual_seed(0)
    layer = nn.Conv2d(2, 4, (3, 2), padding=(1, 0), groups=2)
    assert layer.weight.shape == (4, 1, 3, 2)
    assert layer(at.ones(1, 2, 4, 4)).shape == (1, 4, 4, 3)
    assert repr(layer) == (
        "Conv2d(2, 4, kernel_size=(3, 2), stride=(1, 1), padding=(1, 0), groups=2)"
    )
    assert nn.Conv1d(2, 4, 3, padding="same")(at.ones(1, 2, 6)).shape == (1, 4, 6)
    assert nn.Conv3d(1, 2, 2)(at.ones(1, 1, 3, 3, 3)).shape == (1, 2, 2, 2, 2)
    assert nn.ConvTranspose2d(2, 3, 2, stride=2)(at.ones(1, 2, 3, 3)).shape == (1, 3, 6, 6)
    assert nn.ConvTranspose1d(2, 3, 2)(at.ones(1, 2, 3)).shape == (1, 3, 4)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes_are_torchs(agree, numbers, mode):
    torch = pytest.importorskip("torch", reason="compares with torch")
    ours = nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode=mode, dtype="float64")
    theirs = torch.nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode=mode, dtype=torch.float64)
    ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    x = numbers((2, 2, 5, 6), 0)
    y, z = ours(at.tensor(x, dtype="float64")), theirs(torch.tensor(x, dtype=torch.float64))
    agree(y.tolist(), z.tolist())
