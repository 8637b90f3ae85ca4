"""Learning-rate schedules, by PyTorch's names, each a closed form of the step's number.

`step()` counts and sets every group's "lr"; the rate at step t does not depend on how t was
reached, so a schedule may be resumed or jump (`step(t)`). The rate that a group had when its first
schedule was made is kept as group["initial_lr"].
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from atled.core.mode import refuse_traced
from atled.optim.optimizer import Optimizer

__all__ = [
    "CosineAnnealingLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR",
    "OneCycleLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip


class LRScheduler:
    """A schedule that is a closed form. Abstract: subclasses bring `rate`.

    Attributes:
        optimizer: whose groups it sets.
        last_epoch: the number of the step, from 0.
        base_lrs: each group's "initial_lr".
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__} needs an Optimizer; found {optimizer!r}"[:200])
        self.optimizer = optimizer
        for group in optimizer.param_groups:
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ValueError(
                    "resuming a schedule (last_epoch != -1) needs 'initial_lr' in "
                    "each group of the optimizer; load its state_dict first"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def rate(self, t: int, base: float, group: int) -> float:
        """Return the rate of a group at step t, from the rate that it began with."""
        raise NotImplementedError("a schedule needs rate(t, base, group)")

    def rates(self, t: int) -> list[float]:
        """Return the rate of each group at step t."""
        return [self.rate(t, base, i) for i, base in enumerate(self.base_lrs)]

    def step(self, epoch: int | None = None) -> None:
        """Go to the next step (or to `epoch`) and set the groups' rates."""
        refuse_traced("step() of a schedule")
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._apply(self.last_epoch)

    def _apply(self, t: int) -> None:
        for group, lr in zip(self.optimizer.param_groups, self.rates(t), strict=True):
            group["lr"] = lr

    def get_last_lr(self) -> list[float]:
        """Return the groups' rates as they are now."""
        refuse_traced("get_last_lr()")
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule's numbers; functions and the optimizer are not among them."""
        return {k: v for k, v in self.__dict__.items() if k not in ("optimizer", "lr_lambdas")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the numbers that `state_dict` gave."""
        unknown = [k for k in state if k not in self.__dict__]
        if unknown:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: the state is of another schedule: it "
                f"has {', '.join(map(repr, unknown))}"
            )
        self.__dict__.update(state)
        self._apply(self.last_epoch)  # an optimizer loaded before this schedule was made


class LambdaLR(LRScheduler):
    """Multiply the initial rate by a function of the step: η₀ f(t).

    Args:
        optimizer: whose rates are set.
        lr_lambda: f, or one for each group.
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        groups = len(optimizer.param_groups)
        several = isinstance(lr_lambda, (list, tuple))
        self.lr_lambdas: list[Callable[[int], float]] = (
            list(lr_lambda) if several else [lr_lambda] * groups
        )
        if len(self.lr_lambdas) != groups:
            raise ValueError(f"LambdaLR got {len(self.lr_lambdas)} functions for {groups} groups")
        super().__init__(optimizer, last_epoch)

    def rate(self, t: int, base: float, group: int) -> float:
        return base * self.lr_lambdas[group](t)


class StepLR(LRScheduler):
    """Multiply the rate by γ every `step_size` steps: η₀ γ^⌊t / step_size⌋."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1,
                 last_epoch: int = -1) -> None:  # fmt: skip
        self.step_size, self.gamma = _positive("StepLR", step_size=step_size), gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, t: int, base: float, group: int) -> float:
        return base * self.gamma ** (t // self.step_size)


class MultiStepLR(LRScheduler):
    """Multiply the rate by γ at each milestone: η₀ γ^(number of milestones ≤ t)."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1,
                 last_epoch: int = -1) -> None:  # fmt: skip
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, t: int, base: float, group: int) -> float:
        return base * self.gamma ** bisect_right(self.milestones, t)


class ExponentialLR(LRScheduler):
    """Multiply the rate by γ at every step: η₀ γᵗ."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, t: int, base: float, group: int) -> float:
        return base * self.gamma**t


class LinearLR(LRScheduler):
    """Go from `start_factor` to `end_factor` of the initial rate in `total_iters` steps."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = _positive("LinearLR", total_iters=total_iters)
        super().__init__(optimizer, last_epoch)

    def rate(self, t: int, base: float, group: int) -> float:
        part = min(t, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * part)


class CosineAnnealingLR(LRScheduler):
    """Go down half a cosine in T_max steps (Loshchilov and Hutter 2017, arXiv:1608.03983).

    η_min + (η₀ - η_min) (1 + cos(π t / T_max)) / 2
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0,
                 last_epoch: int = -1) -> None:  # fmt: skip
        self.T_max, self.eta_min = _positive("CosineAnnealingLR", T_max=T_max), eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, t: int, base: float, group: int) -> float:
        part = (1 + math.cos(math.pi * t / self.T_max)) / 2
        return self.eta_min + (base - self.eta_min) * part


class OneCycleLR(LRScheduler):
    """Go up to `max_lr` and down far below, momentum the other way (Smith and Topin 2018).

    Args:
        optimizer: whose rates, and momenta or first betas, are set.
        max_lr: the largest rate.
        total_steps: the length of the cycle; or give `epochs` and `steps_per_epoch`.
        pct_start: which part of it goes up.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: whether the momentum goes from `max_momentum` to `base_momentum` and back.
        div_factor: max_lr over the first rate.
        final_div_factor: the first rate over the last.
    """

    def __init__(self, optimizer: Optimizer, max_lr: float, total_steps: int | None = None,
                 epochs: int | None = None, steps_per_epoch: int | None = None,
                 pct_start: float = 0.3, anneal_strategy: str = "cos",
                 cycle_momentum: bool = True, base_momentum: float = 0.85,
                 max_momentum: float = 0.95, div_factor: float = 25.0,
                 final_div_factor: float = 1e4, last_epoch: int = -1) -> None:  # fmt: skip
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR needs total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: anneal_strategy is 'cos' or 'linear'; found {anneal_strategy!r}"
            )
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must lie in [0, 1]; found {pct_start!r}")
        self.total_steps = _positive("OneCycleLR", total_steps=total_steps)
        self.max_lr, self.pct_start, self.anneal_strategy = max_lr, pct_start, anneal_strategy
        self.base_momentum, self.max_momentum = base_momentum, max_momentum
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        options = optimizer.param_groups[0]
        if cycle_momentum and "momentum" not in options and "betas" not in options:
            raise ValueError("OneCycleLR: cycle_momentum needs an optimizer with momentum or betas")
        self.cycle_momentum = cycle_momentum
        if last_epoch == -1:
            for group in optimizer.param_groups:
                group["initial_lr"] = max_lr / div_factor
        super().__init__(optimizer, last_epoch)

    def rate(self, t: int, base: float, group: int) -> float:
        first = self.max_lr / self.div_factor
        return self._between(t, first, self.max_lr, first / self.final_div_factor)

    def _between(self, t: int, first: float, middle: float, last: float) -> float:
        if t >= self.total_steps + 1 or t < 0:
            raise ValueError(f"OneCycleLR: step {t} of a cycle of {self.total_steps} steps")
        turn = self.pct_start * self.total_steps - 1
        if t <= turn:
            start, stop, part = first, middle, t / turn if turn else 0.0
        else:
            start, stop, part = middle, last, (t - turn) / (self.total_steps - 1 - turn or 1)
        if self.anneal_strategy == "cos":
            part = (1 - math.cos(math.pi * part)) / 2
        return start + (stop - start) * part

    def _apply(self, t: int) -> None:
        super()._apply(t)
        if not self.cycle_momentum:
            return
        m = self._between(t, self.max_momentum, self.base_momentum, self.max_momentum)
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (m, *group["betas"][1:])
            else:
                group["momentum"] = m


class SequentialLR(LRScheduler):
    """Run one schedule after another; each begins at its milestone with its own step 0.

    Args:
        optimizer: whose rates are set.
        schedulers: schedules of that optimizer.
        milestones: the step at which the second begins, the third…
    """

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler],
                 milestones: Sequence[int], last_epoch: int = -1) -> None:  # fmt: skip
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedulers need {len(schedulers) - 1} "
                f"milestones; found {len(milestones)}"
            )
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ValueError("SequentialLR: the schedulers are of another optimizer")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer, last_epoch)

    def _apply(self, t: int) -> None:
        at = bisect_right(self.milestones, t)
        self.schedulers[at].step(t - self.milestones[at - 1] if at else t)

    def state_dict(self) -> dict[str, Any]:
        """Return its own numbers and those of each schedule."""
        own = {k: v for k, v in super().state_dict().items() if k != "schedulers"}
        return {**own, "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the numbers that `state_dict` gave."""
        super().load_state_dict({k: v for k, v in state.items() if k != "schedulers"})
        for schedule, saved in zip(self.schedulers, state["schedulers"], strict=True):
            schedule.load_state_dict(saved)


class ReduceLROnPlateau:
    """Lower the rate when a metric has not become better for more than `patience` steps.

    Args:
        optimizer: whose rates are lowered.
        mode: "min" if smaller metrics are better, "max" if larger ones are.
        factor: what the rate is multiplied by.
        patience: how many steps without progress are borne.
        threshold, threshold_mode: what counts as better: by a part ("rel") or by an amount ("abs").
        cooldown: steps after a reduction in which nothing is counted.
        min_lr: the smallest rate, or one for each group.
        eps: smaller changes of a rate are not made.
    """

    def __init__(self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1,
                 patience: int = 10, threshold: float = 1e-4, threshold_mode: str = "rel",
                 cooldown: int = 0, min_lr: Any = 0.0, eps: float = 1e-8) -> None:  # fmt: skip
        if not 0 <= factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor must lie in [0, 1); found {factor!r}")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(
                "ReduceLROnPlateau: mode is 'min' or 'max' and threshold_mode 'rel' or 'abs'; "
                f"found {mode!r} and {threshold_mode!r}"
            )
        groups = len(optimizer.param_groups)
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown = threshold, threshold_mode, cooldown
        self.min_lrs = list(min_lr) if isinstance(min_lr, (list, tuple)) else [min_lr] * groups
        if len(self.min_lrs) != groups:
            raise ValueError(f"ReduceLROnPlateau: {len(self.min_lrs)} min_lr for {groups} groups")
        self.eps, self.last_epoch = eps, 0
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = 0

    def step(self, metrics: Any) -> None:
        """Take note of a metric (a number or a scalar Tensor) and lower the rates if need be."""
        refuse_traced("step() of a schedule")
        value = float(metrics)
        self.last_epoch += 1
        if self._is_better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _is_better(self, value: float) -> bool:
        if self.threshold_mode == "abs":
            margin = self.threshold
        else:
            margin = 0.0 if math.isinf(self.best) else self.best * self.threshold
        return value < self.best - margin if self.mode == "min" else value > self.best + margin

    def _reduce(self) -> None:
        for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            lr = max(group["lr"] * self.factor, least)
            if group["lr"] - lr > self.eps:
                group["lr"] = lr

    def get_last_lr(self) -> list[float]:
        """Return the groups' rates as they are now."""
        refuse_traced("get_last_lr()")
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return its numbers."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the numbers that `state_dict` gave."""
        self.__dict__.update(state)


def _positive(owner: str, **options: int) -> int:
    ((name, value),) = options.items()
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{owner}: {name} must be a positive integer; found {value!r}")
    return value
