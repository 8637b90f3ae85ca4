"""What every optimizer does to the gradient first: its sign, and weight decay."""

from collections.abc import Mapping
from typing import Any

__all__ = ["decayed"]


def decayed(w: Any, g: Any, group: Mapping[str, Any], decoupled: bool = False) -> tuple[Any, Any]:
    """Return weights and gradient after `maximize` and `weight_decay`.

    Args:
        decoupled: shrink the weights by η λ instead of adding λ w to the gradient (Loshchilov
            and Hutter 2019, arXiv:1711.05101).
    """
    if group["maximize"]:
        g = -g
    decay = group["weight_decay"]
    if decay and decoupled:
        w = w * (1 - group["lr"] * decay)
    elif decay:
        g = g + decay * w
    return w, g
