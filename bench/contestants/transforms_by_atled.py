"""Transforms of atled, compiled and eager."""

from collections.abc import Callable
from typing import Any

import numpy as np
from contestants.derivatives import FUNCTIONS, Derivative, wide
from contestants.problems import Work

import atled as at

__all__ = ["jacobian_of_wide", "work"]

TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "value": lambda f: f,
    "gradient": at.grad,
    "jacobian": at.jacobian,
    "hessian": at.hessian,
    "hvp": lambda f: lambda p, v, *rest: at.hvp(lambda p: f(p, *rest), p, v),
    "per-sample": lambda f: at.vmap(at.grad(f), (None, 0, 0)),
    "vmap": at.vmap,
}


def work(problem: Derivative, variant: str) -> Work:
    """Return the work of a row; the variant is "eager" or "compile"."""
    f = TRANSFORMS[problem.ask](FUNCTIONS[problem.function](at))
    f = at.compile(f) if variant == "compile" else f
    inputs = _given(problem.inputs())

    def note() -> str:
        stats = f.stats() if hasattr(f, "stats") else None
        return f"{stats.eager} of {stats.calls} calls ran eagerly" if stats and stats.eager else ""

    return Work(lambda: f(*inputs), _arrays, note)


def _given(nest: Any) -> Any:
    return [at.asarray(x) if isinstance(x, np.ndarray) else _given(x) for x in nest]


def _arrays(result: Any) -> list[np.ndarray]:
    if isinstance(result, (list, tuple)):
        return [a for part in result for a in _arrays(part)]
    return [np.asarray(result.detach().numpy())]


def jacobian_of_wide(x: np.ndarray, c: np.ndarray, limit: int | None, forward: bool) -> np.ndarray:
    """Return the Jacobian of `wide`; `limit` is `max_bytes`."""
    mode = "forward" if forward else "reverse"
    f = at.jacobian(wide(at, at.asarray(c)), mode=mode, max_bytes=limit)
    return f(at.asarray(x)).numpy()
