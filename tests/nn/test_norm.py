"""Normalisation against torch; running statistics."""

import pytest

import atled as at
from atled import nn

F = nn.functional


def test_layer_and_rms_norm_are_torchs(same):
    torch = pytest.importorskip("torch", reason="compares with torch")
    T = torch.nn.functional
    for shape in ((5,), (4, 5)):
        same(
            lambda x, w, b, s=shape: F.layer_norm(x, s, w, b),
            lambda x, w, b, s=shape: T.layer_norm(x, s, w, b),
            (3, 4, 5),
            shape,
            shape,
        )
        same(lambda x, w, s=shape: F.rms_norm(x, s, w), lambda x, w, s=shape: T.rms_norm(x, s, w),
             (3, 4, 5), shape)  # fmt: skip


def test_group_and_instance_norm_are_torchs(same):
    torch = pytest.importorskip("torch", reason="compares with torch")
    T = torch.nn.functional
    same(lambda x, w, b: F.group_norm(x, 2, w, b), lambda x, w, b: T.group_norm(x, 2, w, b),
         (3, 4, 5), (4,), (4,))  # fmt: skip
    same(
        lambda x, w, b: F.instance_norm(x, weight=w, bias=b),
        lambda x, w, b: T.instance_norm(x, weight=w, bias=b),
        (3, 4, 5, 2),
        (4,),
        (4,),
    )
    same(lambda x: F.local_response_norm(x, 3), lambda x: T.local_response_norm(x, 3), (2, 5, 3, 3))
    same(lambda x: F.local_response_norm(x, 2), lambda x: T.local_response_norm(x, 2), (2, 5, 3, 3))


def test_normalize_and_distances_are_torchs(same):
    torch = pytest.importorskip("torch", reason="compares with torch")
    T = torch.nn.functional
    for p in (1.0, 2.0, 3.0):
        same(lambda x, p=p: F.normalize(x, p), lambda x, p=p: T.normalize(x, p), (3, 4))
        same(lambda x, y, p=p: F.pairwise_distance(x, y, p),
             lambda x, y, p=p: T.pairwise_distance(x, y, p), (3, 4), (3, 4))  # fmt: skip
    same(F.cosine_similarity, T.cosine_similarity, (3, 4, 2), (3, 4, 2))


@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 4), (5, 3, 2, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_is_torchs(same, shape, training):
    torch = pytest.importorskip("torch", reason="compares with torch")
    T = torch.nn.functional
    mean, var = [0.1, 0.2, 0.3], [1.0, 2.0, 0.5]
    same(
        lambda x, w, b: F.batch_norm(x, at.tensor(mean, dtype="float64"),
                                     at.tensor(var, dtype="float64"), w, b, training),
        lambda x, w, b: T.batch_norm(x, torch.tensor(mean, dtype=torch.float64),
                                     torch.tensor(var, dtype=torch.float64), w, b, training),
        shape, (3,), (3,),
    )  # fmt: skip


@pytest.mark.parametrize("momentum", [0.1, 0.3, None])
def test_running_statistics_are_torchs(agree, numbers, momentum):
    torch = pytest.importorskip("torch", reason="compares with torch")
    ours = nn.BatchNorm1d(3, momentum=momentum, dtype="float64")
    theirs = torch.nn.BatchNorm1d(3, momentum=momentum, dtype=torch.float64)
    for seed in range(4):
        data = numbers((6, 3), seed)
        ours(at.tensor(data, dtype="float64"))
        theirs(torch.tensor(data, dtype=torch.float64))
    for name, value in theirs.state_dict().items():
        agree(ours.state_dict()[name].tolist(), value.tolist())
    before = ours.running_mean
    ours.eval(), theirs.eval()
    x = numbers((2, 3), 9)
    y, z = ours(at.tensor(x, dtype="float64")), theirs(torch.tensor(x, dtype=torch.float64))
    agree(y.tolist(), z.tolist())
    assert ours.running_mean is before
    ours.reset_running_stats()
    assert ours.running_var.tolist() == [1.0, 1.0, 1.0]
    assert ours.num_batches_tracked.item() == 0


def test_instance_norm_tracks_as_torch_does(agree, numbers):
    torch = pytest.importorskip("torch", reason="compares with torch")
    options = {"affine": True, "track_running_stats": True}
    ours = nn.InstanceNorm1d(3, dtype="float64", **options)
    theirs = torch.nn.InstanceNorm1d(3, dtype=torch.float64, **options)
    for seed in range(3):
        data = numbers((2, 3, 5), seed)
        ours(at.tensor(data, dtype="float64"))
        theirs(torch.tensor(data, dtype=torch.float64))
    agree(ours.running_mean.tolist(), theirs.running_mean.tolist())
    agree(ours.running_var.tolist(), theirs.running_var.tolist())
    ours.eval(), theirs.eval()
    data = numbers((3, 5), 7)
    y, z = ours(at.tensor(data, dtype="float64")), theirs(torch.tensor(data, dtype=torch.float64))
    agree(y.tolist(), z.tolist())


def test_what_was_saved_of_the_statistics_stays():
    layer = nn.BatchNorm1d(2)
    state = layer.state_dict()
    layer(at.tensor([[1.0, 2.0], [3.0, 5.0]]))
    assert state["running_mean"].tolist() == [0.0, 0.0]
    assert layer.running_mean.tolist() != [0.0, 0.0]


def test_norm_layers(backend):
    x = at.tensor([[[1.0, 2.0], [3.0, 5.0]], [[0.0, 1.0], [2.0, 7.0]]])
    for layer in (
        nn.LayerNorm(2),
        nn.LayerNorm((2, 2), bias=False),
        nn.RMSNorm(2),
        nn.GroupNorm(1, 2),
        nn.BatchNorm1d(2),
        nn.InstanceNorm1d(2, affine=True),
    ):
        assert layer(x).shape == (2, 2, 2)
    image = at.reshape(x, (1, 2, 2, 2))
    assert nn.BatchNorm2d(2)(image).shape == (1, 2, 2, 2)
    assert nn.InstanceNorm2d(2)(image).shape == (1, 2, 2, 2)
    assert nn.InstanceNorm2d(2)(image[0]).shape == (2, 2, 2)
    assert abs(at.mean(nn.LayerNorm(2)(x)).item()) < 1e-6
    assert repr(nn.LayerNorm(2)) == "LayerNorm((2,), eps=1e-05, elementwise_affine=True)"
    assert repr(nn.BatchNorm1d(2)).startswith("BatchNorm1d(2, eps=1e-05, momentum=0.1")


def test_norm_errors():
    with pytest.raises(at.ShapeError, match=r"layer_norm: the input has shape \(2, 3\); it must"):
        F.layer_norm(at.ones(2, 3), (4,))
    with pytest.raises(at.ShapeError, match="more than one value per channel"):
        nn.BatchNorm1d(3)(at.ones(1, 3))
    with pytest.raises(at.ShapeError, match=r"BatchNorm2d takes an input of 4 axes"):
        nn.BatchNorm2d(3)(at.ones(2, 3))
    with pytest.raises(at.ShapeError, match=r"3 channels are needed; the input .* has 4"):
        nn.BatchNorm1d(3)(at.ones(2, 4))
    with pytest.raises(ValueError, match="5 channels are not a multiple of 2 groups"):
        nn.GroupNorm(2, 5)
    with pytest.raises(at.ShapeError, match="C a multiple of 2"):
        F.group_norm(at.ones(2, 3), 2)
    with pytest.raises(at.ShapeError, match="instance_norm"):
        F.instance_norm(at.ones(2, 3, 1))
    with pytest.raises(at.ShapeError, match="batch_norm"):
        F.batch_norm(at.ones(3), None, None, training=True)
