"""Transforms of `torch.func`, eager."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from contestants.derivatives import FUNCTIONS, Derivative, wide
from contestants.problems import Work

__all__ = ["jacobian_of_wide", "work"]


def _hvp(f: Any) -> Any:
    def product(p: Any, v: Any, *rest: Any) -> Any:
        return torch.func.jvp(torch.func.grad(lambda p: f(p, *rest)), (p,), (v,))[1]

    return product


TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "value": lambda f: f,
    "gradient": torch.func.grad,
    "jacobian": torch.func.jacrev,
    "hessian": torch.func.hessian,
    "hvp": _hvp,
    "per-sample": lambda f: torch.func.vmap(torch.func.grad(f), (None, 0, 0)),
    "vmap": torch.func.vmap,
}


def work(problem: Derivative, variant: str) -> Work:
    """Return the work of a row."""
    f = TRANSFORMS[problem.ask](FUNCTIONS[problem.function](torch))
    inputs = _given(problem.inputs())
    return Work(lambda: f(*inputs), _arrays)


def _given(nest: Any) -> Any:
    return [torch.tensor(x) if isinstance(x, np.ndarray) else _given(x) for x in nest]


def _arrays(result: Any) -> list[np.ndarray]:
    if isinstance(result, (list, tuple)):
        return [a for part in result for a in _arrays(part)]
    return [result.detach().numpy()]


def jacobian_of_wide(x: np.ndarray, c: np.ndarray, limit: int | None, forward: bool) -> np.ndarray:
    """Return the Jacobian of `wide`; there is no limit to set."""
    f = wide(torch, torch.from_numpy(c))
    transform = torch.func.jacfwd if forward else torch.func.jacrev
    return transform(f)(torch.from_numpy(x)).numpy()
