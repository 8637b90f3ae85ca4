"""Stochastic gradient descent, plain, with momentum, and Nesterov's."""

from collections.abc import Mapping
from typing import Any

from atled.config import modes
from atled.core.tensor import Tensor
from atled.optim.decay import decayed
from atled.optim.optimizer import Optimizer

__all__ = ["SGD"]


class SGD(Optimizer):
    """Go down the gradient.

        b ← μ b + (1 - τ) g,    w ← w - η b            (g + μ b in place of b for Nesterov)

    Args:
        params: see `Optimizer`.
        lr: the learning rate η.
        momentum: μ; the first step starts with b = g.
        dampening: τ.
        weight_decay: λ: g gets λ w added.
        nesterov: look ahead by one step of momentum (Sutskever et al. 2013).
        maximize: go up instead.

    Example:
        >>> import atled as at
        >>> x = at.tensor(5.0, requires_grad=True)
        >>> optimizer = at.optim.SGD([x], lr=0.1)
        >>> for _ in range(50):
        ...     optimizer.zero_grad()
        ...     (x * x).backward()
        ...     optimizer.step()
        >>> abs(x.item()) < 1e-4
        True
    """

    def __init__(self, params: Any, lr: float = 1e-3, momentum: float = 0.0,
                 dampening: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False, *,
                 maximize: bool = False) -> None:  # fmt: skip
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("SGD: nesterov needs a momentum above 0 and a dampening of 0; found "
                             f"momentum={momentum!r}, dampening={dampening!r}")  # fmt: skip
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize,
        })  # fmt: skip

    def _initial(self, p: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        made = super()._initial(p, group)
        if modes.tracing is not None and group["momentum"] and not group["dampening"]:
            # From zeros the first step is the same, and the second needs no program of its own.
            made["momentum_buffer"] = p.backend.zeros_like(p._value)
        return made

    def update(self, xp: Any, w: Any, g: Any, s: dict[str, Any], group: Mapping[str, Any]) -> Any:
        w, g = decayed(w, g, group)
        momentum = group["momentum"]
        if momentum:
            b = s.get("momentum_buffer")
            b = g if b is None else momentum * b + (1 - group["dampening"]) * g
            s["momentum_buffer"] = b
            g = g + momentum * b if group["nesterov"] else b
        return w - group["lr"] * g
