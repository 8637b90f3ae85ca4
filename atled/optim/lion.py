"""Lion: steps of one size, in the direction of a momentum's sign."""

from collections.abc import Mapping
from typing import Any

from atled.optim.decay import decayed
from atled.optim.optimizer import Optimizer

__all__ = ["Lion"]


class Lion(Optimizer):
    """Step by the sign of an interpolated momentum (Chen et al. 2023, arXiv:2302.06675).

        w ← w (1 - η λ) - η sign(β₁ m + (1 - β₁) g),    m ← β₂ m + (1 - β₂) g

    Args:
        params: see `Optimizer`.
        lr: the learning rate η; about a tenth of Adam's.
        betas: (β₁, β₂).
        weight_decay: λ, always decoupled.
        maximize: go up instead.
    """

    def __init__(self, params: Any, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99),
                 weight_decay: float = 0.0, *, maximize: bool = False) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize,
        })  # fmt: skip

    def init_state(self, xp: Any, w: Any, group: Mapping[str, Any]) -> dict[str, Any]:
        return {"exp_avg": xp.zeros_like(w)}

    def update(self, xp: Any, w: Any, g: Any, s: dict[str, Any], group: Mapping[str, Any]) -> Any:
        beta1, beta2 = group["betas"]
        w, g = decayed(w, g, group, decoupled=True)
        m = s["exp_avg"]
        s["exp_avg"] = beta2 * m + (1 - beta2) * g
        return w - group["lr"] * xp.sign(beta1 * m + (1 - beta1) * g)
