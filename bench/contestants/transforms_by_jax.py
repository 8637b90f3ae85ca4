"""Transforms of JAX, with `jit` around everything and without."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contestants.derivatives import FUNCTIONS, Derivative, lotka, wide
from contestants.problems import Absent, Work
from jax import lax

__all__ = ["jacobian_of_wide", "work"]

jax.config.update("jax_platforms", "cpu")


def _hvp(f: Any) -> Any:
    def product(p: Any, v: Any, *rest: Any) -> Any:
        return jax.jvp(jax.grad(lambda p: f(p, *rest)), (p,), (v,))[1]

    return product


def _scanned(step: Any, state: Any, times: int) -> Any:
    """Repeat a step. The gradient of a Python loop of 20 steps compiled for two minutes."""
    return lax.scan(lambda state, _: (step(*state), None), state, None, length=times)[0]


TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "value": lambda f: f,
    "gradient": jax.grad,
    "jacobian": jax.jacrev,
    "hessian": jax.hessian,
    "hvp": _hvp,
    "per-sample": lambda f: jax.vmap(jax.grad(f), (None, 0, 0)),
    "vmap": jax.vmap,
}


def work(problem: Derivative, variant: str) -> Work:
    """Return the work of a row; the variant is "jit" or "eager".

    Raises:
        Absent: a loop of thousands of operations, one by one, takes seconds.
    """
    if problem.function == "lotka" and variant == "eager":
        raise Absent("3,000 operations one by one")
    function = lotka(jnp, _scanned) if problem.function == "lotka" else None
    f = TRANSFORMS[problem.ask](function or FUNCTIONS[problem.function](jnp))
    f = jax.jit(f) if variant == "jit" else f
    inputs = jax.tree.map(jnp.array, problem.inputs())

    def arrays(result: Any) -> list[np.ndarray]:
        return [np.asarray(r) for r in jax.tree.leaves(result)]

    return Work(lambda: jax.block_until_ready(f(*inputs)), arrays)


def jacobian_of_wide(x: np.ndarray, c: np.ndarray, limit: int | None, forward: bool) -> np.ndarray:
    """Return the Jacobian of `wide`, jitted; there is no limit to set."""
    transform = jax.jacfwd if forward else jax.jacrev
    return np.asarray(jax.jit(transform(wide(jnp, jnp.array(c))))(jnp.array(x)))
