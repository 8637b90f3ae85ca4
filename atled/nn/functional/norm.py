"""Normalisation: over features, channels, groups, instances and batches."""

import math
from collections.abc import Sequence
from typing import Any

from atled import functions as at
from atled.config import modes
from atled.core.apply import replace
from atled.core.batch import present
from atled.core.tensor import Tensor
from atled.errors import ShapeError, TransformError

__all__ = [
    "batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "normalize",
    "rms_norm",
]  # fmt: skip

EPSILONS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}


def _standardized(x: Tensor, axes: Any, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return (x - mean) / √(var + ε) over axes, and mean and variance with their axes kept."""
    mean = at.mean(x, axis=axes, keepdims=True)
    centred = x - mean
    variance = at.mean(at.square(centred), axis=axes, keepdims=True)
    return centred * at.rsqrt(variance + eps), mean, variance


def _last_axes(x: Tensor, shape: Sequence[int] | int, name: str) -> tuple[int, ...]:
    wanted = (shape,) if isinstance(shape, int) else tuple(shape)
    if not wanted or x.shape[-len(wanted) :] != wanted:
        raise ShapeError(
            f"{name}: the input has shape {x.shape}; it must end in {wanted}"
        )  # fmt: skip
    return tuple(range(-len(wanted), 0))


def layer_norm(input: Tensor, normalized_shape: Sequence[int] | int, weight: Tensor | None = None,
               bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:  # fmt: skip
    """Standardise the last axes: (x - mean) / √(var + ε) · w + b (Ba et al. 2016).

    Args:
        input: (..., *normalized_shape).
        weight, bias: of the normalised shape.

    Example:
        >>> import atled as at
        >>> at.nn.functional.layer_norm(at.tensor([1.0, 3.0]), (2,), eps=0.0)
        tensor([-1., 1.])
    """
    y, _, _ = _standardized(input, _last_axes(input, normalized_shape, "layer_norm"), eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(input: Tensor, normalized_shape: Sequence[int] | int, weight: Tensor | None = None,
             eps: float | None = None) -> Tensor:  # fmt: skip
    """Divide by the root of the mean square over the last axes: x / √(mean x² + ε) · w.

    Args:
        eps: by default the dtype's spacing at 1 (Zhang and Sennrich 2019, arXiv:1910.07467).
    """
    axes = _last_axes(input, normalized_shape, "rms_norm")
    eps = EPSILONS[input.dtype.name] if eps is None else eps
    y = input * at.rsqrt(at.mean(at.square(input), axis=axes, keepdims=True) + eps)
    return y if weight is None else y * weight


def _by_channel(p: Tensor, ndim: int) -> Tensor:
    return at.reshape(p, (1, -1, *[1] * (ndim - 2)))


def _scaled(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None:
        y = y * _by_channel(weight, y.ndim)
    return y if bias is None else y + _by_channel(bias, y.ndim)


def _track(running: Tensor | None, found: Tensor, momentum: float) -> None:
    """Move a running statistic towards what was found, as a value: no derivative passes it."""
    if running is not None and not is_repeated():
        value = at.reshape(found.detach(), running.shape)
        replace(running, (1 - momentum) * running.detach() + momentum * value)


def is_repeated() -> bool:
    """Say whether a checkpoint runs a layer again, which has seen this batch in its first run."""
    now = modes.recomputing
    if modes.tracing is not None:
        modes.tracing.guard(lambda: modes.recomputing is now, "recomputing")
    return now


def refuse_batched(name: str, input: Tensor, running: Tensor | None) -> None:
    """Refuse to keep statistics of the examples of a `vmap` in one buffer for all of them.

    Raises:
        TransformError: the input is batched and the running statistics are not.
    """
    if running is None:
        return
    found = present(input._value) - present(running._value)
    for batch in sorted(found, key=lambda batch: batch.number):
        raise TransformError(
            f"{name} in training mode inside {batch.name}: its running statistics would be other "
            f"ones for each of {batch.size} examples, and there is one buffer for all. Make the "
            "layer with track_running_stats=False, call eval() on it, or map over its buffers too "
            "(at.nn.functional_call)"
        )


def batch_norm(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None,
               weight: Tensor | None = None, bias: Tensor | None = None, training: bool = False,
               momentum: float = 0.1, eps: float = 1e-5) -> Tensor:  # fmt: skip
    """Standardise each channel over the batch (Ioffe and Szegedy 2015, arXiv:1502.03167).

    Args:
        input: (N, C, ...).
        running_mean, running_var: (C,); used when not training, and given new values when
            training: r ← (1 - momentum) r + momentum · (mean, or unbiased variance).
        weight, bias: (C,).
        training: use the batch's own statistics.

    Raises:
        ShapeError: training with one value per channel.
    """
    if input.ndim < 2:
        raise ShapeError(f"batch_norm: (N, C, ...) is needed; found {input.shape}")
    if not training and running_mean is not None and running_var is not None:
        mean = _by_channel(running_mean, input.ndim)
        variance = _by_channel(running_var, input.ndim)
        return _scaled((input - mean) * at.rsqrt(variance + eps), weight, bias)
    count = input.size // max(input.shape[1], 1)
    if count <= 1:
        raise ShapeError(
            f"batch_norm: training needs more than one value per channel; found {input.shape}"
        )  # fmt: skip
    refuse_batched("batch_norm", input, running_mean)
    axes = (0, *range(2, input.ndim))
    y, mean, variance = _standardized(input, axes, eps)
    _track(running_mean, mean, momentum)
    _track(running_var, variance * (count / (count - 1)), momentum)
    return _scaled(y, weight, bias)


def instance_norm(input: Tensor, running_mean: Tensor | None = None,
                  running_var: Tensor | None = None, weight: Tensor | None = None,
                  bias: Tensor | None = None, use_input_stats: bool = True,
                  momentum: float = 0.1, eps: float = 1e-5) -> Tensor:  # fmt: skip
    """Standardise each channel of each sample (Ulyanov et al. 2016, arXiv:1607.08022).

    Args:
        input: (N, C, L, ...).
        use_input_stats: False to use the running statistics.
        running_mean, running_var, weight, bias, momentum: as for `batch_norm`.
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    count = math.prod(input.shape[2:])
    if input.ndim < 3 or count <= 1:
        raise ShapeError(
            f"instance_norm: (N, C, L, ...) with more than one value per channel is needed; "
            f"found {input.shape}"
        )  # fmt: skip
    refuse_batched("instance_norm", input, running_mean)
    y, mean, variance = _standardized(input, tuple(range(2, input.ndim)), eps)
    _track(running_mean, at.mean(mean, axis=0), momentum)
    _track(running_var, at.mean(variance, axis=0) * (count / (count - 1)), momentum)
    return _scaled(y, weight, bias)


def group_norm(input: Tensor, num_groups: int, weight: Tensor | None = None,
               bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:  # fmt: skip
    """Standardise groups of channels of each sample (Wu and He 2018, arXiv:1803.08494).

    Args:
        input: (N, C, ...).
        num_groups: into how many groups the channels are split.
        weight, bias: (C,).
    """
    if input.ndim < 2 or input.shape[1] % num_groups:
        raise ShapeError(
            f"group_norm: (N, C, ...) with C a multiple of {num_groups} is needed; found "
            f"{input.shape}"
        )  # fmt: skip
    grouped = at.reshape(input, (input.shape[0], num_groups, -1))
    y, _, _ = _standardized(grouped, (2,), eps)
    return _scaled(at.reshape(y, input.shape), weight, bias)


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75,
                        k: float = 1.0) -> Tensor:  # fmt: skip
    """Divide by (k + α · mean of x² over `size` neighbouring channels)^β.

    Args:
        input: (N, C, ...).
    """
    channels = input.shape[1]
    widths = [(0, 0)] * input.ndim
    widths[1] = (size // 2, (size - 1) // 2)
    squares = at.pad(at.square(input), widths)
    total = squares[:, :channels]
    for i in range(1, size):
        total = total + squares[:, i : i + channels]
    return input / at.pow(total * (alpha / size) + k, beta)


def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    """Divide by the p-norm over axes, or by ε where that is larger."""
    return input / at.clip(at.norm(input, p, axis=dim, keepdims=True), eps)
