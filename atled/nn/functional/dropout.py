"""Dropout: random zeros while training (Srivastava et al. 2014)."""

from atled import functions as at
from atled.core.tensor import Tensor, wrap

__all__ = ["dropout", "dropout1d", "dropout2d", "dropout3d"]


def _check(p: float, name: str) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p is a probability in [0, 1]; found {p!r}")


def _dropped(x: Tensor, p: float, shape: tuple[int, ...]) -> Tensor:
    if p == 1:
        return x * 0.0
    device = None if x.device == "cpu" else x.device
    xp = x.backend
    like = wrap(xp.zeros(shape, dtype=x.dtype, device=device))
    kept = at.astype(at.rand_like(like) >= p, x.dtype)
    return x * (kept * (1 / (1 - p)))


def dropout(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Set each element to zero with probability p, and scale the others by 1 / (1 - p).

    The numbers come from the default generator (`manual_seed`).
    """
    _check(p, "dropout")
    return _dropped(input, p, input.shape) if training and p else input


def _channels(x: Tensor, p: float, training: bool, n: int) -> Tensor:
    _check(p, f"dropout{n}d")
    if not training or not p:
        return x
    return _dropped(x, p, x.shape[: x.ndim - n] + (1,) * n)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Set whole channels of (N, C, L) to zero with probability p; see `dropout`."""
    return _channels(input, p, training, 1)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Set whole channels of (N, C, H, W) to zero with probability p; see `dropout`."""
    return _channels(input, p, training, 2)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Set whole channels of (N, C, D, H, W) to zero with probability p; see `dropout`."""
    return _channels(input, p, training, 3)
