"""Normalising layers. `functional/norm.py` has the formulas."""

from collections.abc import Sequence
from typing import Any

from atled import functions as at
from atled.config import modes
from atled.core.apply import replace
from atled.core.tensor import Tensor, wrap
from atled.errors import ShapeError
from atled.nn import functional as F
from atled.nn.functional.norm import is_repeated, refuse_batched
from atled.nn.module import Module
from atled.nn.parameter import Parameter

__all__ = [
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d",
    "LayerNorm", "RMSNorm",
]  # fmt: skip


def _affine(module: Module, shape: tuple[int, ...], weight: bool, bias: bool, device: str | None,
            dtype: Any) -> None:  # fmt: skip
    """Register a weight of ones and a bias of zeros, or None in their places."""
    ones = Parameter(at.ones(shape, dtype=dtype, device=device)) if weight else None
    zeros = Parameter(at.zeros(shape, dtype=dtype, device=device)) if bias else None
    module.register_parameter("weight", ones)
    module.register_parameter("bias", zeros)


def _as_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


class LayerNorm(Module):
    """Standardise the last axes, then scale and shift by learned numbers.

    Args:
        normalized_shape: the shape of the last axes.
        eps: added to the variance.
        elementwise_affine: whether there is a weight.
        bias: whether there is a bias beside it.
    """

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5,
                 elementwise_affine: bool = True, bias: bool = True, device: str | None = None,
                 dtype: Any = None) -> None:  # fmt: skip
        super().__init__()
        self.normalized_shape = _as_shape(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        _affine(self, self.normalized_shape, elementwise_affine, elementwise_affine and bias,
                device, dtype)  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (f"{self.normalized_shape}, eps={self.eps}, "
                f"elementwise_affine={self.elementwise_affine}")  # fmt: skip


class RMSNorm(Module):
    """Divide by the root mean square of the last axes, then scale by learned numbers.

    Args:
        normalized_shape: the shape of the last axes.
        eps: added to the mean square; by default the dtype's spacing at 1.
        elementwise_affine: whether there is a weight.
    """

    def __init__(self, normalized_shape: int | Sequence[int], eps: float | None = None,
                 elementwise_affine: bool = True, device: str | None = None,
                 dtype: Any = None) -> None:  # fmt: skip
        super().__init__()
        self.normalized_shape = _as_shape(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        _affine(self, self.normalized_shape, elementwise_affine, False, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (f"{self.normalized_shape}, eps={self.eps}, "
                f"elementwise_affine={self.elementwise_affine}")  # fmt: skip


class GroupNorm(Module):
    """Standardise groups of channels of each sample, then scale and shift each channel.

    Args:
        num_groups, num_channels: the second a multiple of the first.
        eps: added to the variance.
        affine: whether there are weight and bias.
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True,
                 device: str | None = None, dtype: Any = None) -> None:  # fmt: skip
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: {num_channels} channels are not a multiple of "
                             f"{num_groups} groups")  # fmt: skip
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.affine = affine
        _affine(self, (num_channels,), affine, affine, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class _Channels(Module):
    """What batch and instance normalisation share: statistics of channels, learned or running.

    Attributes:
        weight, bias: (C,), or None.
        running_mean, running_var: (C,), or None; buffers.
        num_batches_tracked: how many batches they have seen, an int64 buffer.
    """

    ranks: tuple[int, ...]  # how many axes the input may have

    def __init__(self, num_features: int, eps: float, momentum: float | None, affine: bool,
                 track_running_stats: bool, device: str | None, dtype: Any) -> None:  # fmt: skip
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        _affine(self, (num_features,), affine, affine, device, dtype)
        tracked = track_running_stats
        zeros = at.zeros((num_features,), dtype=dtype, device=device) if tracked else None
        ones = at.ones((num_features,), dtype=dtype, device=device) if tracked else None
        count = at.zeros((), dtype="int64", device=device) if tracked else None
        self.register_buffer("running_mean", zeros)
        self.register_buffer("running_var", ones)
        self.register_buffer("num_batches_tracked", count)

    def reset_running_stats(self) -> None:
        """Forget what was seen of the data."""
        if self.track_running_stats:
            for name, value in (("running_mean", 0), ("running_var", 1)):
                buffer = getattr(self, name)
                replace(buffer, at.full_like(buffer, value))
            replace(self.num_batches_tracked, at.zeros_like(self.num_batches_tracked))

    def channel_axis(self, ndim: int) -> int:
        """Return which axis of an input holds the channels."""
        return 1

    def _check(self, x: Tensor) -> None:
        name = type(self).__name__
        if self.training:
            refuse_batched(name, x, self.running_mean)
        if x.ndim not in self.ranks:
            wanted = " or ".join(str(r) for r in self.ranks)
            raise ShapeError(
                f"{name} takes an input of {wanted} axes; found shape {x.shape}"
            )  # fmt: skip
        channels = x.shape[self.channel_axis(x.ndim)]
        if channels != self.num_features:
            raise ShapeError(
                f"{name}: {self.num_features} channels are needed; the input {x.shape} has "
                f"{channels}"
            )  # fmt: skip

    def _count_batch(self) -> Any:
        """Count a training batch; return the factor of its statistics in the running ones."""
        if self.num_batches_tracked is None or not self.training or is_repeated():
            return self.momentum or 0.0
        count = self.num_batches_tracked
        replace(count, wrap(count._value + 1))
        if self.momentum is not None:
            return self.momentum
        if modes.tracing is not None:
            return at.divide(1.0, at.astype(count, self.running_mean.dtype))
        return 1.0 / count.item()

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Channels):
    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
                 affine: bool = True, track_running_stats: bool = True, device: str | None = None,
                 dtype: Any = None) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or self.running_mean is None, self._count_batch(), self.eps,
        )  # fmt: skip


class BatchNorm1d(_BatchNorm):
    """Standardise each channel of (N, C) or (N, C, L) over the batch.

    While training, the batch's own statistics are used and the running ones follow them:
    r ← (1 - momentum) r + momentum · found. In evaluation the running ones are used.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: of the running statistics; None for the plain average of all batches.
        affine: whether there are weight and bias.
        track_running_stats: False to use the batch's statistics always.
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Standardise each channel of (N, C, H, W) over the batch; arguments as for `BatchNorm1d`."""

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Standardise each channel of (N, C, D, H, W); arguments as for `BatchNorm1d`."""

    ranks = (5,)


class _InstanceNorm(_Channels):
    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
                 affine: bool = False, track_running_stats: bool = False,
                 device: str | None = None, dtype: Any = None) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)

    def channel_axis(self, ndim: int) -> int:
        return 0 if ndim == self.ranks[0] else 1  # (C, ...) is one sample

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        alone = input.ndim == self.ranks[0]
        x = at.expand_dims(input, 0) if alone else input
        y = F.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or self.running_mean is None, self._count_batch(), self.eps,
        )  # fmt: skip
        return at.squeeze(y, 0) if alone else y


class InstanceNorm1d(_InstanceNorm):
    """Standardise each channel of each sample of (N, C, L) or (C, L).

    Args: as for `BatchNorm1d`; by default nothing is learned and nothing tracked.
    """

    ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Standardise each channel of each sample of (N, C, H, W) or (C, H, W)."""

    ranks = (3, 4)
