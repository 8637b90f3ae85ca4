"""Interpolation and pixel shuffling against torch."""

import pytest

import atled as at
from atled.nn import functional as F


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((2, 3, 5), {"size": 8}), ((2, 3, 5), {"scale_factor": 1.7}),
        ((2, 3, 4, 5), {"size": (7, 3)}), ((2, 3, 4, 5), {"scale_factor": 2}),
        ((2, 3, 5), {"size": 9, "mode": "linear"}),
        ((2, 3, 4, 5), {"size": (7, 3), "mode": "bilinear"}),
        ((2, 3, 4, 5), {"scale_factor": 2.5, "mode": "bilinear"}),
        ((2, 3, 4, 5), {"size": (7, 3), "mode": "bilinear", "align_corners": True}),
        ((1, 2, 2, 3, 2), {"size": (3, 5, 4), "mode": "trilinear"}),
    ],
)  # fmt: skip
def test_interpolate_is_torchs(same, shape, options):
    T = pytest.importorskip("torch", reason="compares with torch").nn.functional
    same(lambda x: F.interpolate(x, **options), lambda x: T.interpolate(x, **options), shape)


def test_pixel_shuffle_is_torchs(same):
    T = pytest.importorskip("torch", reason="compares with torch").nn.functional
    same(lambda x: F.pixel_shuffle(x, 2), lambda x: T.pixel_shuffle(x, 2), (2, 8, 3, 4))
    same(lambda x: F.pixel_unshuffle(x, 2), lambda x: T.pixel_unshuffle(x, 2), (2, 3, 4, 6))


def test_vision_errors():
    with pytest.raises(at.ShapeError, match="either size or scale_factor"):
        F.interpolate(at.ones(1, 1, 3))
    with pytest.raises(ValueError, match="mode 'bilinear' does not fit 1 spatial axes"):
        F.interpolate(at.ones(1, 1, 3), size=2, mode="bilinear")
    with pytest.raises(at.ShapeError, match="3 channels are no multiple of 2²"):
        F.pixel_shuffle(at.ones(1, 3, 2, 2), 2)
    with pytest.raises(at.ShapeError, match="not multiples of 2"):
        F.pixel_unshuffle(at.ones(1, 3, 3, 2), 2)
