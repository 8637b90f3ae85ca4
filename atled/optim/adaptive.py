"""Steps scaled by past gradients without Adam's moments: Adagrad, Adadelta, RMSprop."""

from collections.abc import Mapping
from typing import Any

from atled.optim.decay import decayed
from atled.optim.optimizer import Optimizer

__all__ = ["Adadelta", "Adagrad", "RMSprop"]


class Adagrad(Optimizer):
    """Scale each step by all past gradients (Duchi et al. 2011).

        a ← a + g²,    w ← w - η / (1 + (t - 1) κ) · g / (√a + ε)

    Args:
        params: see `Optimizer`.
        lr: the learning rate η.
        lr_decay: κ.
        weight_decay: λ: g gets λ w added.
        initial_accumulator_value: a before the first step.
        eps: ε.
        maximize: go up instead.
    """

    def __init__(self, params: Any, lr: float = 1e-2, lr_decay: float = 0.0,
                 weight_decay: float = 0.0, initial_accumulator_value: float = 0.0,
                 eps: float = 1e-10, *, maximize: bool = False) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "eps": eps,
            "maximize": maximize,
        })  # fmt: skip

    def init_state(self, xp: Any, w: Any, group: Mapping[str, Any]) -> dict[str, Any]:
        return {"sum": xp.zeros_like(w) + group["initial_accumulator_value"]}

    def update(self, xp: Any, w: Any, g: Any, s: dict[str, Any], group: Mapping[str, Any]) -> Any:
        w, g = decayed(w, g, group)
        a = s["sum"] = s["sum"] + g * g
        rate = group["lr"] / (1 + (s["step"] - 1) * group["lr_decay"])
        return w - rate * g / (xp.sqrt(a) + group["eps"])


class Adadelta(Optimizer):
    """Scale each step by the ratio of past steps to past gradients (Zeiler 2012, arXiv:1212.5701).

        v ← ρ v + (1 - ρ) g²,    d = √(u + ε) / √(v + ε) · g,    u ← ρ u + (1 - ρ) d²
        w ← w - η d

    Args:
        params, weight_decay, maximize: as for `Adagrad`.
        lr: η; 1 in the paper.
        rho: ρ.
        eps: ε.
    """

    def __init__(self, params: Any, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6,
                 weight_decay: float = 0.0, *, maximize: bool = False) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
        })  # fmt: skip

    def init_state(self, xp: Any, w: Any, group: Mapping[str, Any]) -> dict[str, Any]:
        return {"square_avg": xp.zeros_like(w), "acc_delta": xp.zeros_like(w)}

    def update(self, xp: Any, w: Any, g: Any, s: dict[str, Any], group: Mapping[str, Any]) -> Any:
        rho, eps = group["rho"], group["eps"]
        w, g = decayed(w, g, group)
        v = s["square_avg"] = rho * s["square_avg"] + (1 - rho) * (g * g)
        d = xp.sqrt(s["acc_delta"] + eps) / xp.sqrt(v + eps) * g
        s["acc_delta"] = rho * s["acc_delta"] + (1 - rho) * (d * d)
        return w - group["lr"] * d


class RMSprop(Optimizer):
    """Scale each step by the running size of the gradient (Hinton's lecture 6e, 2012).

        v ← α v + (1 - α) g²,    d = g / (√v + ε),    b ← μ b + d,    w ← w - η b

    Args:
        params, weight_decay, maximize: as for `Adagrad`.
        lr: η.
        alpha: α.
        eps: ε.
        momentum: μ.
        centered: take the square of the running mean of g off v (Graves 2013, arXiv:1308.0850).
    """

    def __init__(self, params: Any, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
                 weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False, *,
                 maximize: bool = False) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay,
            "momentum": momentum, "centered": centered, "maximize": maximize,
        })  # fmt: skip

    def init_state(self, xp: Any, w: Any, group: Mapping[str, Any]) -> dict[str, Any]:
        names = ["square_avg"] + ["grad_avg"] * bool(group["centered"])
        names += ["momentum_buffer"] * (group["momentum"] > 0)
        return {name: xp.zeros_like(w) for name in names}

    def update(self, xp: Any, w: Any, g: Any, s: dict[str, Any], group: Mapping[str, Any]) -> Any:
        alpha = group["alpha"]
        w, g = decayed(w, g, group)
        v = s["square_avg"] = alpha * s["square_avg"] + (1 - alpha) * (g * g)
        if group["centered"]:
            mean = s["grad_avg"] = s["grad_avg"] + (1 - alpha) * (g - s["grad_avg"])
            v = v - mean * mean
        d = g / (xp.sqrt(v) + group["eps"])
        if group["momentum"]:
            d = s["momentum_buffer"] = group["momentum"] * s.get("momentum_buffer", 0.0) + d
        return w - group["lr"] * d
