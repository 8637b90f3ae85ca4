"""Adam and its relatives: steps scaled by running moments of the gradient.

m and v stand for the running means of g and g² (for Adamax, u for the running largest |g|);
t is the number of the step.
"""

from collections.abc import Mapping
from typing import Any

from atled.optim.decay import decayed
from atled.optim.optimizer import Optimizer

__all__ = ["Adam", "AdamW", "Adamax", "NAdam", "RAdam"]

Betas = tuple[float, float]


def _moments(xp: Any, g: Any, s: dict[str, Any], betas: Betas) -> tuple[Any, Any]:
    """Take g into the running means of g and g²; return both."""
    m, v = s["exp_avg"], s["exp_avg_sq"]
    m = s["exp_avg"] = m + (1 - betas[0]) * (g - m)
    v = s["exp_avg_sq"] = betas[1] * v + (1 - betas[1]) * (g * g)
    return m, v


def _two_zeros(xp: Any, w: Any) -> dict[str, Any]:
    return {"exp_avg": xp.zeros_like(w), "exp_avg_sq": xp.zeros_like(w)}


class Adam(Optimizer):
    """Scale each step by running moments of the gradient (Kingma and Ba 2015, arXiv:1412.6980).

        m ← β₁ m + (1 - β₁) g,    v ← β₂ v + (1 - β₂) g²
        w ← w - η (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε)

    Args:
        params: see `Optimizer`.
        lr: the learning rate η.
        betas: (β₁, β₂).
        eps: ε.
        weight_decay: λ: g gets λ w added.
        amsgrad: divide by the largest v so far (Reddi et al. 2018).
        maximize: go up instead.

    Example:
        >>> import atled as at
        >>> x = at.tensor([5.0, -3.0], requires_grad=True)
        >>> optimizer = at.optim.Adam([x], lr=0.5)
        >>> for _ in range(100):
        ...     optimizer.step((x * x).sum().gradients())
        >>> (abs(x) < 0.1).all().item()
        True
    """

    decoupled = False

    def __init__(self, params: Any, lr: float = 1e-3, betas: Betas = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.0, amsgrad: bool = False, *,
                 maximize: bool = False) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "amsgrad": amsgrad, "maximize": maximize,
        })  # fmt: skip

    def init_state(self, xp: Any, w: Any, group: Mapping[str, Any]) -> dict[str, Any]:
        largest = {"max_exp_avg_sq": xp.zeros_like(w)} if group["amsgrad"] else {}
        return _two_zeros(xp, w) | largest

    def update(self, xp: Any, w: Any, g: Any, s: dict[str, Any], group: Mapping[str, Any]) -> Any:
        (beta1, beta2), t = group["betas"], s["step"]
        w, g = decayed(w, g, group, self.decoupled)
        m, v = _moments(xp, g, s, (beta1, beta2))
        if group["amsgrad"]:
            v = s["max_exp_avg_sq"] = xp.maximum(s["max_exp_avg_sq"], v)
        # m / (√v / r + ε) with r = √(1 - β₂ᵗ), written with one pass less: r m / (√v + ε r)
        r = (1 - beta2**t) ** 0.5
        return w - (group["lr"] * r / (1 - beta1**t)) * m / (xp.sqrt(v) + group["eps"] * r)


class AdamW(Adam):
    """Adam whose weight decay shrinks the weights (Loshchilov and Hutter, arXiv:1711.05101).

        w ← w (1 - η λ), then Adam's step without decay

    Args:
        params, lr, betas, eps, amsgrad, maximize: as for `Adam`.
        weight_decay: λ.
    """

    decoupled = True

    def __init__(self, params: Any, lr: float = 1e-3, betas: Betas = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 1e-2, amsgrad: bool = False, *,
                 maximize: bool = False) -> None:  # fmt: skip
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


class Adamax(Optimizer):
    """Scale each step by the running largest gradient (Kingma and Ba 2015, §7.1).

        u ← max(β₂ u, |g| + ε),    w ← w - η / (1 - β₁ᵗ) · m / u

    Args:
        params, lr, betas, eps, weight_decay, maximize: as for `Adam`.
    """

    def __init__(self, params: Any, lr: float = 2e-3, betas: Betas = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.0, *,
                 maximize: bool = False) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "maximize": maximize,
        })  # fmt: skip

    def init_state(self, xp: Any, w: Any, group: Mapping[str, Any]) -> dict[str, Any]:
        return {"exp_avg": xp.zeros_like(w), "exp_inf": xp.zeros_like(w)}

    def update(self, xp: Any, w: Any, g: Any, s: dict[str, Any], group: Mapping[str, Any]) -> Any:
        beta1, beta2 = group["betas"]
        w, g = decayed(w, g, group)
        m = s["exp_avg"] = s["exp_avg"] + (1 - beta1) * (g - s["exp_avg"])
        u = s["exp_inf"] = xp.maximum(beta2 * s["exp_inf"], xp.abs(g) + group["eps"])
        return w - (group["lr"] / (1 - beta1 ** s["step"])) * m / u


class NAdam(Optimizer):
    """Adam with Nesterov momentum (Dozat 2016).

        μₜ = β₁ (1 - ½ · 0.96^(t ψ)),    Πₜ = μ₁ … μₜ
        w ← w - η ((1 - μₜ) g / (1 - Πₜ) + μₜ₊₁ m / (1 - Πₜ μₜ₊₁)) / (√(v / (1 - β₂ᵗ)) + ε)

    Args:
        params, lr, betas, eps, weight_decay, maximize: as for `Adam`.
        momentum_decay: ψ.
        decoupled_weight_decay: shrink the weights, as `AdamW` does.
    """

    def __init__(self, params: Any, lr: float = 2e-3, betas: Betas = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.0, momentum_decay: float = 4e-3,
                 decoupled_weight_decay: bool = False, *,
                 maximize: bool = False) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "momentum_decay": momentum_decay, "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        })  # fmt: skip

    def init_state(self, xp: Any, w: Any, group: Mapping[str, Any]) -> dict[str, Any]:
        return {"mu_product": 1.0, **_two_zeros(xp, w)}

    def update(self, xp: Any, w: Any, g: Any, s: dict[str, Any], group: Mapping[str, Any]) -> Any:
        (beta1, beta2), t, lr = group["betas"], s["step"], group["lr"]
        w, g = decayed(w, g, group, group["decoupled_weight_decay"])
        mu, following = (
            beta1 * (1 - 0.5 * 0.96 ** (n * group["momentum_decay"])) for n in (t, t + 1)
        )
        product = s["mu_product"] = s["mu_product"] * mu
        m, v = _moments(xp, g, s, (beta1, beta2))
        ahead = (lr * (1 - mu) / (1 - product)) * g
        ahead = ahead + (lr * following / (1 - product * following)) * m
        return w - ahead / (xp.sqrt(v / (1 - beta2**t)) + group["eps"])


class RAdam(Optimizer):
    """Adam whose first steps wait for a reliable variance (Liu et al. 2020, arXiv:1908.03265).

        ρ = 2 / (1 - β₂) - 1,    ρₜ = ρ - 2 t β₂ᵗ / (1 - β₂ᵗ)
        w ← w - η m̂ · r √(1 - β₂ᵗ) / (√v + ε)  if ρₜ > 5,   w ← w - η m̂  otherwise
        r = √((ρₜ - 4)(ρₜ - 2) ρ / ((ρ - 4)(ρ - 2) ρₜ)),    m̂ = m / (1 - β₁ᵗ)

    Args:
        params, lr, betas, eps, weight_decay, maximize: as for `Adam`.
        decoupled_weight_decay: shrink the weights, as `AdamW` does.
    """

    def __init__(self, params: Any, lr: float = 1e-3, betas: Betas = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.0,
                 decoupled_weight_decay: bool = False, *,
                 maximize: bool = False) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "maximize": maximize, "decoupled_weight_decay": decoupled_weight_decay,
        })  # fmt: skip

    def init_state(self, xp: Any, w: Any, group: Mapping[str, Any]) -> dict[str, Any]:
        return _two_zeros(xp, w)

    def update(self, xp: Any, w: Any, g: Any, s: dict[str, Any], group: Mapping[str, Any]) -> Any:
        (beta1, beta2), t = group["betas"], s["step"]
        w, g = decayed(w, g, group, group["decoupled_weight_decay"])
        m, v = _moments(xp, g, s, (beta1, beta2))
        rate = group["lr"] / (1 - beta1**t)
        rest = 1 - beta2**t
        limit = 2 / (1 - beta2) - 1
        length = limit - 2 * t * beta2**t / rest
        if length <= 5:
            return w - rate * m
        above = (length - 4) * (length - 2) * limit
        below = (limit - 4) * (limit - 2) * length
        return w - (rate * (rest * above / below) ** 0.5) * m / (xp.sqrt(v) + group["eps"])
