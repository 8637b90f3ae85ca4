"""Transforms of HIPS autograd; it has no `vmap`."""

from collections.abc import Callable
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
from contestants.derivatives import FUNCTIONS, Derivative
from contestants.problems import Absent, Work

__all__ = ["work"]


def _hvp(f: Any) -> Any:
    """Return the gradient of the gradient's product with v: autograd's own way, for a list."""
    gradient = autograd.grad(f)

    def along(p: Any, v: Any, *rest: Any) -> Any:
        return sum([(g * t).sum() for g, t in zip(gradient(p, *rest), v, strict=True)])

    return autograd.grad(along)


TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "value": lambda f: f,
    "gradient": autograd.grad,
    "jacobian": autograd.jacobian,
    "hessian": autograd.hessian,
    "hvp": _hvp,
}


def work(problem: Derivative, variant: str) -> Work:
    """Return the work of a row.

    Raises:
        Absent: it needs a `vmap`.
    """
    if problem.ask not in TRANSFORMS:
        raise Absent("autograd has no vmap")
    f = TRANSFORMS[problem.ask](FUNCTIONS[problem.function](anp))
    inputs = problem.inputs()

    def arrays(result: Any) -> list[np.ndarray]:
        parts = result if isinstance(result, (list, tuple)) else [result]
        return [np.asarray(part) for part in parts]

    return Work(lambda: f(*inputs), arrays)
